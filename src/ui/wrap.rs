//! Prose within a width.

/// The text's lines, each at most `width` characters long where its words are; a longer word is broken. A line that
/// is indented keeps its indent, also where it goes on.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    text.lines().flat_map(|line| wrap_line(line, width.max(1))).collect()
}

fn wrap_line(line: &str, width: usize) -> Vec<String> {
    let indent: String = line.chars().take_while(|c| *c == ' ').take(width / 2).collect();
    let (mut lines, mut current) = (Vec::new(), indent.clone());
    let mut room = width - indent.len();
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        let (begun, length) = (room < width - indent.len(), word.chars().count());
        if begun && length < room {
            current.push(' ');
            current.push_str(word);
            room -= length + 1;
            continue;
        }
        if begun {
            lines.push(std::mem::replace(&mut current, indent.clone()));
        }
        room = width - indent.len();
        for c in word.chars() {
            if room == 0 {
                lines.push(std::mem::replace(&mut current, indent.clone()));
                room = width - indent.len();
            }
            current.push(c);
            room -= 1;
        }
    }
    lines.push(current.trim_end().to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_filled_and_never_longer() {
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh i", 3), ["abc", "def", "gh", "i"]);
        assert_eq!(wrap("", 5), Vec::<String>::new());
        assert_eq!(wrap("a\n\nb", 5), ["a", "", "b"]);
    }

    #[test]
    fn what_is_indented_stays_so() {
        assert_eq!(wrap("  let a = 1;", 8), ["  let a", "  = 1;"]);
    }
}
