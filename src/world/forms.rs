//! The forms in which programs print a text: quoted by a shell, escaped as JSON, YAML, SQL, HTML, C or Python do it,
//! encoded for a URL, in base64 or hex. One expression finds them all, also in mixtures and one inside the other: which
//! characters a program escapes differs from program to program.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// What a shorter text is in base64 or hex turns up by chance in checksums and ids.
const SHORTEST_ENCODED: usize = 6;

/// Before a character that is escaped; more of them where something escaped is escaped again.
const ESCAPES: &str = r"\\*";

/// An expression for every form of `text`. The longer alternative comes first.
pub fn expression(text: &str) -> String {
    let mut forms = if text.len() < SHORTEST_ENCODED { Vec::new() } else { encoded(text) };
    forms.push(text.chars().map(|c| format!("(?:{}|{})", numbers(c), character(c))).collect());
    format!("(?:{})", forms.join("|"))
}

/// The whole text in base64 and hex.
fn encoded(text: &str) -> Vec<String> {
    let mut forms = base64(text.as_bytes());
    // Inside a file that is encoded as a whole it may be escaped already.
    let json = serde_json::Value::from(text).to_string();
    let json = json.get(1..json.len() - 1).unwrap_or_default();
    if json != text {
        forms.extend(base64(json.as_bytes()));
    }
    forms.push(text.bytes().map(|byte| hex_digits(byte.into(), 2)).collect::<Vec<_>>().join("[: -]?"));
    forms
}

/// The longest form of a text of so many bytes, about.
pub fn longest(bytes: usize) -> usize {
    bytes * 12 + 16
}

/// A character as itself, or as those who mind it write it.
fn character(c: char) -> String {
    match c {
        '\\' => r"\\+".into(),
        // Python's shlex, shells and SQL, everybody else.
        '\'' => r#"'"'"'|'\\+''|\\+'|''|'|&(?:amp;)*apos;"#.into(),
        '"' => r#"\\+"|""|"|&(?:amp;)*quot;"#.into(),
        '&' => format!("{ESCAPES}&(?:amp;)*"),
        '<' => format!("{ESCAPES}<|&(?:amp;)*lt;"),
        '>' => format!("{ESCAPES}>|&(?:amp;)*gt;"),
        // Doubled by Compose, printf and templates.
        '$' | '%' | '{' | '}' => format!(r"{ESCAPES}\{c}\{c}?"),
        ' ' => format!(r"{ESCAPES} |\+|&(?:amp;)*nbsp;"),
        '\n' => r"\r?\n|\\+n".into(),
        '\r' => r"\r|\\+r".into(),
        '\t' => r"\t|\\+t".into(),
        c if c.is_alphanumeric() => c.into(),
        c => format!("{ESCAPES}{}", regex::escape(&c.to_string())),
    }
}

/// A character as a number: its bytes (`%C3%BC`, `\xc3\xbc`, `\303\274`, `=C3=BC`) or its code point (`\u00fc`, `\xfc`,
/// `&#252;`, `%u00FC`, a pair of surrogates).
fn numbers(c: char) -> String {
    let code = u32::from(c);
    let hex = hex_digits(code, 1);
    let byte = |byte: u8| {
        let hex = hex_digits(byte.into(), 2);
        format!(r"(?:%(?:25)*{hex}|\\+x{hex}|\\+{byte:03o}|={hex})")
    };
    let mut forms = vec![
        c.to_string().bytes().map(byte).collect::<String>(),
        format!(r"\\+[uUx]\{{?0*{hex}\}}?"),
        format!(r"&(?:amp;)*#(?:0*{code}|[xX]0*{hex});"),
        format!("%(?:25)*u0*{hex}"),
    ];
    if (0x80..0x100).contains(&code) {
        forms.push(format!("%(?:25)*{hex}"));
    }
    let mut units = [0; 2];
    if let [high, low] = c.encode_utf16(&mut units) {
        forms.push(format!(r"\\+u{}\\+u{}", hex_digits((*high).into(), 4), hex_digits((*low).into(), 4)));
    }
    forms.join("|")
}

/// A number in hexadecimal digits of either case.
fn hex_digits(number: u32, width: usize) -> String {
    let class = |c: char| if c.is_ascii_digit() { c.to_string() } else { format!("[{c}{}]", c.to_ascii_uppercase()) };
    format!("{number:0width$x}").chars().map(class).collect()
}

/// Base64 of something that contains `bytes`: what comes before them (`user:`) shifts them by 0, 1 or 2 bytes.
/// Characters in which they share bits with their neighbours belong to it.
fn base64(bytes: &[u8]) -> Vec<String> {
    let mut forms = Vec::new();
    for shift in 0..3 {
        let shifted = [vec![0; shift], bytes.to_vec()].concat();
        let (shared, whole) = ((shift * 8).div_ceil(6), shifted.len() * 8 / 6);
        for alphabet in [&STANDARD, &URL_SAFE] {
            let encoded = alphabet.encode(&shifted);
            let core: String = encoded.get(shared..whole).unwrap_or_default().chars().map(base64_character).collect();
            let form = format!("{BASE64}{{0,{shared}}}{core}{BASE64}{{0,2}}(?:=|%3[dD]){{0,2}}");
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
    }
    forms
}

const BASE64: &str = "[A-Za-z0-9+/_-]";

/// Those that are no letters are escaped in JSON and in URLs.
fn base64_character(c: char) -> String {
    match c {
        '+' | '/' => format!(r"(?:\\*\{c}|%{}|\\+u00{0})", hex_digits(c.into(), 2)),
        c => c.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ODD: &str = "it's a $ecret \"pass\\word\" <ü&😀>%";

    /// What `form` leaves of the text when the expression of `text` is taken out.
    fn left(text: &str, form: &str) -> String {
        let expression = regex::Regex::new(&expression(text)).unwrap();
        expression.replace_all(form, "•").into_owned()
    }

    #[test]
    fn a_text_in_each_form_is_found_whole() {
        let forms = [
            ODD.to_owned(),
            // sh, bash's %q and $'..', Python's shlex.quote and repr
            r#"'it'\''s a $ecret "pass\word" <ü&😀>%'"#.into(),
            r#"it\'s\ a\ \$ecret\ \"pass\\word\"\ \<ü\&😀\>%"#.into(),
            r#"$'it\'s a $ecret "pass\\word" <\303\274&\360\237\230\200>%'"#.into(),
            r#"'it'"'"'s a $ecret "pass\word" <ü&😀>%'"#.into(),
            r#"'it\'s a $ecret "pass\\word" <ü&😀>%'"#.into(),
            r#"b'it\'s a $ecret "pass\\word" <\xc3\xbc&\xf0\x9f\x98\x80>%'"#.into(),
            // Inside double quotes, of a shell and of Compose
            r#""it's a \$ecret \"pass\\word\" <ü&😀>%""#.into(),
            r#""it's a $$ecret \"pass\\word\" <ü&😀>%%""#.into(),
            // JSON: plain, ASCII only, of Go, and in JSON again
            r#""it's a $ecret \"pass\\word\" <ü&😀>%""#.into(),
            r#""it's a $ecret \"pass\\word\" <\u00fc&\ud83d\ude00>%""#.into(),
            r#""it\u0027s a $ecret \"pass\\word\" \u003cü\u0026😀\u003e%""#.into(),
            r#""{\"p\":\"it's a $ecret \\\"pass\\\\word\\\" <\\u00FC&\\uD83D\\uDE00>%\"}""#.into(),
            // SQL and YAML, quoted identifiers and CSV
            r#"'it''s a $ecret "pass\word" <ü&😀>%'"#.into(),
            r#""it's a $ecret ""pass\word"" <ü&😀>%""#.into(),
            r#""it's a $ecret \"pass\\word\" <\xFC&\U0001F600>%""#.into(),
            // HTML and XML
            "it&#39;s a $ecret &quot;pass\\word&quot; &lt;ü&amp;😀&gt;%".into(),
            "it&#x27;s a $ecret &quot;pass\\word&quot; &lt;&#252;&amp;&#x1F600;&gt;%".into(),
            "it&apos;s a $ecret \"pass\\word\" &lt;ü&amp;amp;😀&gt;%".into(),
            // URLs: paths, forms, as few characters as possible, twice
            "it%27s%20a%20%24ecret%20%22pass%5Cword%22%20%3C%C3%BC%26%F0%9F%98%80%3E%25".into(),
            "it's+a+%24ecret+%22pass%5cword%22+%3c%c3%bc%26%f0%9f%98%80%3e%25".into(),
            "it%2527s%2520a%2520%2524ecret%2520%2522pass%255Cword%2522%2520%253C\
             %25C3%25BC%2526%25F0%259F%2598%2580%253E%2525"
                .into(),
            ODD.bytes().map(|byte| format!("{byte:02x}")).collect(),
            ODD.bytes().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":"),
        ];
        for form in forms {
            let rest = left(ODD, &form);
            assert!(rest.contains('•') && !rest.contains("ecret") && !rest.contains("word"), "{form} leaves {rest}");
            let rest = rest.trim_matches(['"', '\'', '$', 'b']).trim_start_matches(r#"{\"p\":\""#);
            assert_eq!(rest.trim_end_matches(r#"\"}"#), "•", "{form}");
        }
    }

    #[test]
    fn base64_is_found_wherever_in_it_the_text_is() {
        for text in ["pw4242", "hunter22", ODD, "üüü>>>???", "x".repeat(200).as_str()] {
            for before in ["", "a", "user:", "primero:"] {
                for after in ["", "\n", "@h", "@host/db"] {
                    for alphabet in [&STANDARD, &URL_SAFE] {
                        let encoded = alphabet.encode(format!("{before}{text}{after}"));
                        let rest = left(text, &format!("Authorization: Basic {encoded} ."));
                        let kept = encoded.len() - text.len() * 4 / 3;
                        assert!(rest.contains('•') && rest.chars().count() <= kept + 26, "{encoded}: {rest}");
                        let json = alphabet.encode(serde_json::json!({ before: format!("{text}{after}") }).to_string());
                        assert!(left(text, &json).contains('•'), "{json}");
                        let url = encoded.replace('+', "%2B").replace('/', "%2f").replace('=', "%3D");
                        assert!(left(text, &url).contains('•'), "{url}");
                    }
                }
            }
        }
    }

    #[test]
    fn other_texts_stay() {
        for other in ["it's a secret", "password", "6465", "aGVsbG8gd29ybGQ=", "hunter 22", "HUNTER22"] {
            assert_eq!(left("hunter22", other), other);
        }
        assert_eq!(left("abcd", "61626364 YWJjZA== %61bcd"), "61626364 YWJjZA== •");
    }
}
