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

/// A text whose lines have at most `width` characters, as far as there are blanks: what has none, such as a path, is
/// left whole. Lines that fit stay as they are; others go on below, two blanks further in.
pub fn fold(text: &str, width: usize) -> String {
    text.split('\n').map(|line| fold_line(line, width.max(1))).collect::<Vec<_>>().join("\n")
}

fn fold_line(line: &str, width: usize) -> String {
    let indent = line.chars().take_while(|c| *c == ' ').count();
    let further = " ".repeat((indent + 2).min(width / 2));
    let (mut out, mut rest, mut room) = (String::new(), line, width);
    while rest.chars().count() > room {
        let begin = rest.chars().take_while(|c| *c == ' ').count();
        let blanks = || rest.char_indices().enumerate().filter(|(at, (_, c))| *at > begin && *c == ' ');
        let fitting = blanks().take_while(|(at, _)| *at <= room).last();
        let Some((_, (end, _))) = fitting.or_else(|| blanks().next()) else { break };
        out += rest[..end].trim_end();
        out.push('\n');
        out += &further;
        rest = rest[end..].trim_start();
        room = width - further.len();
    }
    out + rest
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

    #[test]
    fn what_fits_is_left_alone_and_what_does_not_goes_on_below() {
        assert_eq!(fold("a  b\n\n  c\n", 4), "a  b\n\n  c\n");
        assert_eq!(fold("  .resume     goes on where", 20), "  .resume     goes\n    on where");
        assert_eq!(fold("one two three four", 7), "one two\n  three\n  four");
        assert_eq!(fold(" --> /a/long/path:1", 8), " -->\n   /a/long/path:1");
        assert_eq!(fold("/a/long/path it is", 8), "/a/long/path\n  it is");
        assert_eq!(fold("ä ö ü", 3), "ä ö\n ü");
    }
}
