//! A scanner of Rhai text that also copes with text that is not finished yet: its tokens with their places, which
//! bracket belongs to which, and whether an input is complete.
//!
//! Rhai's own tokenizer gives no ends of tokens and stops at the first error; here every text has tokens. The rules
//! are those of `tokenizer.rs` of rhai 1.27, and a test compares both on the shipped scripts.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Comment,
    /// A string or a character; of a back-tick string with `${…}` the part before the first one.
    Text,
    /// What follows a `${…}` in a back-tick string, up to its end or to the next one.
    Rest,
    Number,
    Word,
    Keyword,
    /// `(`, `[`, `{`, `#{`, `?[`, and the `${` of a back-tick string.
    Open,
    Close,
    /// Something must follow: `=`, `+`, `,`, `.`, `::`, `|` …
    Operator,
    Semicolon,
    /// Nothing that could become Rhai: `@`, `++`, letters that are not ASCII.
    Stray,
}

/// A token's kind and its bytes in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
    /// Whether it has ended: not a string or comment in which the text ends.
    pub closed: bool,
}

/// The tokens of a text.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    pub tokens: Vec<Token>,
    /// For a bracket, the index of the one that belongs to it.
    pub partners: Vec<Option<usize>>,
    /// Indexes of the brackets that are open at the end, outermost first.
    pub open: Vec<usize>,
    /// Whether no continuation can make it right: a bracket too many, or a `"…"` with a line break in it.
    pub broken: bool,
}

/// Longest first. Those that Rhai reserves stand here so that `i++` is an error and not the beginning of something.
const STRAY: &[&str] = &["===", "!==", "...", "::<", "++", "--", "->", "<-", ":=", ":;", "!.", "|>", "<|", "*)"];
const OPERATORS: &[&str] = &[
    "**=", "<<=", ">>=", "..=", "::", "..", "?.", "??", "=>", "==", "!=", "<=", ">=", "&&", "||", "+=", "-=", "*=",
    "/=", "%=", "&=", "|=", "^=", "**", "<<", ">>", "+", "-", "*", "/", "%", "=", "<", ">", "&", "|", "^", "!", ",",
    ".", ":",
];
pub const KEYWORDS: &[&str] = &[
    "as", "break", "catch", "const", "continue", "do", "else", "export", "false", "fn", "for", "if", "import", "in",
    "let", "loop", "private", "return", "switch", "this", "throw", "true", "try", "until", "while",
];
/// Keywords after which a statement may end.
const MAY_END: &[&str] = &["break", "continue", "false", "return", "this", "throw", "true"];
/// Keywords that want a `{` before the statement can end.
const WANT_BODY: &[&str] = &["catch", "do", "else", "fn", "for", "if", "loop", "switch", "try", "until", "while"];

/// How a literal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    /// The text ends inside.
    Open,
    /// A line break where none may be.
    Broken,
    /// Before a `${`.
    Interpolation,
}

/// Whether an input can be evaluated as it stands: brackets, strings and comments are closed and nothing else is
/// plainly missing. What is wrong in a way that more lines can't cure counts as complete, so that the error is shown.
pub fn is_complete(text: &str) -> bool {
    is_command(text) || Scan::new(text).is_complete(text)
}

/// Whether an input is not Rhai but a word to the shell: `.undo`, `help …`, `exit`.
pub fn is_command(text: &str) -> bool {
    let text = text.trim_start();
    let is_word = |word| {
        text.strip_prefix(word).is_some_and(|rest: &str| rest.is_empty() || rest.starts_with(char::is_whitespace))
    };
    text.starts_with('.') || is_word("help") || is_word("exit")
}

impl Token {
    pub fn text<'t>(&self, text: &'t str) -> &'t str {
        &text[self.start..self.end]
    }

    pub fn is_string(&self) -> bool {
        matches!(self.kind, Kind::Text | Kind::Rest)
    }
}

impl Scan {
    pub fn new(text: &str) -> Self {
        let mut scan = Self::default();
        scan.extend(text);
        scan
    }

    /// Takes in a text that begins with the one scanned so far. Only what is new is scanned, so that an input that
    /// comes line by line is not scanned again for every line.
    pub fn extend(&mut self, text: &str) {
        let mut at = self.tokens.last().map_or(0, |token| token.end);
        // The last token may go on in what is new; a bracket can't.
        if let Some(token) = self.tokens.pop_if(|token| !matches!(token.kind, Kind::Open | Kind::Close)) {
            self.partners.pop();
            at = token.start;
        }
        loop {
            if !self.is_in_string(text) {
                at += text[at..].len() - text[at..].trim_start().len();
                if at == text.len() {
                    return;
                }
            }
            at = self.next(text, at);
        }
    }

    /// Whether the last token is the `}` of a `${…}`, so that its string goes on.
    fn is_in_string(&self, text: &str) -> bool {
        let partner = self.partners.last().copied().flatten();
        let is_close = self.tokens.last().is_some_and(|token| token.kind == Kind::Close);
        is_close && partner.is_some_and(|open| self.tokens[open].text(text) == "${")
    }

    /// Scans the token that begins at `at`; gives where it ends.
    fn next(&mut self, text: &str, at: usize) -> usize {
        let bytes = text.as_bytes();
        let rest = &text[at..];
        let two = rest.get(..2).unwrap_or_default();
        match (bytes.get(at).copied().unwrap_or_default(), two) {
            _ if self.is_in_string(text) => self.string(Kind::Rest, at, ticked(bytes, at)),
            (b'`', _) => self.string(Kind::Text, at, ticked(bytes, at + 1)),
            (b'"' | b'\'', _) => self.string(Kind::Text, at, quoted(bytes, at)),
            (b'#', "#\"" | "##") => self.raw(text, at),
            (_, "//") => {
                let end = rest.find('\n').map(|length| at + length);
                self.push(Kind::Comment, at, end.unwrap_or(text.len()), end.is_some())
            }
            (_, "/*") => {
                let (end, closed) = comment(bytes, at);
                self.push(Kind::Comment, at, end, closed)
            }
            (b'0'..=b'9', _) => self.push(Kind::Number, at, number(bytes, at), true),
            (b'a'..=b'z' | b'A'..=b'Z' | b'_', _) => self.word(text, at),
            (_, "#{" | "?[") => self.open(at, at + 2),
            (b'(' | b'[' | b'{', _) => self.open(at, at + 1),
            (b')' | b']' | b'}', _) => self.close(text, at),
            (b';', _) => self.push(Kind::Semicolon, at, at + 1, true),
            _ => self.symbol(rest, at),
        }
    }

    fn push(&mut self, kind: Kind, start: usize, end: usize, closed: bool) -> usize {
        self.tokens.push(Token { kind, start, end, closed });
        self.partners.push(None);
        end
    }

    fn string(&mut self, kind: Kind, start: usize, (end, how): (usize, End)) -> usize {
        self.broken |= how == End::Broken;
        self.push(kind, start, end, how != End::Open);
        // The bracket comes along at once, for what it is can only be told from here.
        if how == End::Interpolation { self.open(end, end + 2) } else { end }
    }

    /// `#"…"#`, with any number of `#`.
    fn raw(&mut self, text: &str, at: usize) -> usize {
        let hashes = text[at..].bytes().take_while(|byte| *byte == b'#').count();
        let inside = at + hashes + 1;
        match text.as_bytes().get(inside - 1) {
            Some(b'"') => {
                let terminator = format!("\"{}", "#".repeat(hashes));
                match text[inside..].find(&terminator) {
                    Some(length) => self.push(Kind::Text, at, inside + length + terminator.len(), true),
                    None => self.push(Kind::Text, at, text.len(), false),
                }
            }
            _ => self.push(Kind::Stray, at, inside - 1, true),
        }
    }

    fn word(&mut self, text: &str, at: usize) -> usize {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let end = at + text.as_bytes()[at..].iter().take_while(|byte| is_part(byte)).count();
        let is_property = self.tokens.last().is_some_and(|token| matches!(token.text(text), "." | "?."));
        let is_keyword = !is_property && KEYWORDS.contains(&&text[at..end]);
        self.push(if is_keyword { Kind::Keyword } else { Kind::Word }, at, end, true)
    }

    fn open(&mut self, start: usize, end: usize) -> usize {
        self.open.push(self.tokens.len());
        self.push(Kind::Open, start, end, true)
    }

    fn close(&mut self, text: &str, at: usize) -> usize {
        let closes = |open: &mut usize| {
            let open = self.tokens[*open].text(text);
            matches!(
                (open.as_bytes().last(), text.as_bytes()[at]),
                (Some(b'('), b')') | (Some(b'['), b']') | (Some(b'{'), b'}')
            )
        };
        let partner = self.open.pop_if(closes);
        self.broken |= partner.is_none();
        let index = self.tokens.len();
        let end = self.push(Kind::Close, at, at + 1, true);
        self.partners[index] = partner;
        if let Some(open) = partner {
            self.partners[open] = Some(index);
        }
        end
    }

    fn symbol(&mut self, rest: &str, at: usize) -> usize {
        let find =
            |symbols: &[&str]| symbols.iter().find(|symbol| rest.starts_with(**symbol)).map(|symbol| symbol.len());
        if let Some(length) = find(STRAY) {
            return self.push(Kind::Stray, at, at + length, true);
        }
        match find(OPERATORS) {
            Some(length) => self.push(Kind::Operator, at, at + length, true),
            None => self.push(Kind::Stray, at, at + rest.chars().next().map_or(1, char::len_utf8), true),
        }
    }

    /// The token in which the text ends, if it is a string or a comment.
    pub fn unfinished(&self) -> Option<&Token> {
        self.tokens.last().filter(|token| !token.closed)
    }

    /// As [`is_complete`], for a text that is no command.
    pub fn is_complete(&self, text: &str) -> bool {
        if self.broken {
            return true;
        }
        let is_inside = self.unfinished().is_some_and(|token| !token.text(text).starts_with("//") || token.is_string());
        if !self.open.is_empty() || is_inside {
            return false;
        }
        let last = self.tokens.iter().rfind(|token| token.kind != Kind::Comment);
        let wants_more = last.is_some_and(|token| match token.kind {
            // Outside of a map a colon is an error, whatever follows.
            Kind::Operator => token.text(text) != ":",
            Kind::Keyword => !MAY_END.contains(&token.text(text)),
            _ => false,
        });
        !wants_more && !self.wants_body(text)
    }

    /// Whether a statement outside of all brackets still wants its `{ … }`, or what belongs to it: `if x`, `fn f(a)`,
    /// `try { … }` without `catch`.
    fn wants_body(&self, text: &str) -> bool {
        let mut wanted = None;
        let mut index = 0;
        while let Some(token) = self.tokens.get(index) {
            let word = token.text(text);
            match (token.kind, wanted) {
                (Kind::Keyword, Some("{do}")) if matches!(word, "while" | "until") => wanted = None,
                (Kind::Keyword, _) if WANT_BODY.contains(&word) => wanted = Some(word),
                (Kind::Open, Some("do")) if word == "{" => wanted = Some("{do}"),
                (Kind::Open, Some("try")) if word == "{" => wanted = Some("{try}"),
                (Kind::Open, _) if word == "{" => wanted = None,
                // After `do { … }` and `try { … }` anything else is an error.
                (Kind::Semicolon, _) | (Kind::Word | Kind::Keyword | Kind::Operator, Some("{do}" | "{try}")) => {
                    wanted = None
                }
                _ => {}
            }
            index = self.after(index);
        }
        wanted.is_some()
    }

    /// The index of the token after this one; after its partner, where this one opens a bracket.
    pub fn after(&self, index: usize) -> usize {
        let is_open = self.tokens[index].kind == Kind::Open;
        self.partners[index].filter(|_| is_open).unwrap_or(index) + 1
    }
}

/// `"…"` and `'…'` from the opening quote on: a backslash takes the next character along (in `"…"` a line break too),
/// and a doubled quote stands for itself.
fn quoted(bytes: &[u8], start: usize) -> (usize, End) {
    let quote = bytes[start];
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'\n' => return (at, End::Broken),
            byte if *byte == quote && bytes.get(at + 1) == Some(&quote) => at += 2,
            byte if *byte == quote => return (at + 1, End::Closed),
            _ => at += 1,
        }
    }
    (bytes.len(), End::Open)
}

/// The inside of a back-tick string. Only `\${` is an escape in it.
fn ticked(bytes: &[u8], start: usize) -> (usize, End) {
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if bytes[at..].starts_with(b"\\${") => at += 3,
            b'$' if bytes.get(at + 1) == Some(&b'{') => return (at, End::Interpolation),
            b'`' if bytes.get(at + 1) == Some(&b'`') => at += 2,
            b'`' => return (at + 1, End::Closed),
            _ => at += 1,
        }
    }
    (bytes.len(), End::Open)
}

/// `/* … */`, which may hold others.
fn comment(bytes: &[u8], start: usize) -> (usize, bool) {
    let mut level = 0;
    let mut at = start;
    while let Some(two) = bytes.get(at..at + 2) {
        match two {
            b"/*" => level += 1,
            b"*/" => level -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if level == 0 {
            return (at, true);
        }
    }
    (bytes.len(), false)
}

/// Where a number ends. A point belongs to it when digits follow, or something that can't be a property's name.
fn number(bytes: &[u8], start: usize) -> usize {
    let is_at = |at: usize, test: fn(&u8) -> bool| bytes.get(at).is_some_and(test);
    let skip = |mut at: usize, test: fn(&u8) -> bool| {
        while is_at(at, test) {
            at += 1;
        }
        at
    };
    let is_digit = |byte: &u8| byte.is_ascii_digit() || *byte == b'_';
    if bytes[start] == b'0' && is_at(start + 1, |byte| b"xXoObB".contains(byte)) {
        return skip(start + 2, |byte| byte.is_ascii_hexdigit() || *byte == b'_');
    }
    let mut at = skip(start, is_digit);
    if is_at(at, |byte| *byte == b'.') {
        if is_at(at + 1, u8::is_ascii_digit) {
            at = skip(at + 1, is_digit);
        } else if is_at(at + 1, |byte| !byte.is_ascii_alphabetic() && !b"._".contains(byte)) {
            return at + 1;
        }
    }
    if is_at(at, |byte| b"eE".contains(byte)) {
        let digits = if is_at(at + 1, |byte| b"+-".contains(byte)) { at + 2 } else { at + 1 };
        if is_at(digits, u8::is_ascii_digit) {
            return skip(digits, is_digit);
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use rhai::ParseErrorType;

    use super::*;
    use crate::event::Silent;
    use crate::script::engine::Language;

    /// Tokens as `kind:text`, kinds by their first letter (`T` text, `R` rest, `O` open, `C` close, `#` comment).
    fn shown(text: &str) -> String {
        let letter = |token: &Token| match token.kind {
            Kind::Comment => '#',
            Kind::Text => 'T',
            Kind::Rest => 'R',
            Kind::Number => 'N',
            Kind::Word => 'W',
            Kind::Keyword => 'K',
            Kind::Open => 'O',
            Kind::Close => 'C',
            Kind::Operator => '+',
            Kind::Semicolon => ';',
            Kind::Stray => '?',
        };
        let scan = Scan::new(text);
        let unfinished = |token: &Token| if token.closed { "" } else { "~" };
        let tokens = scan.tokens.iter().map(|t| format!("{}:{}{}", letter(t), t.text(text), unfinished(t)));
        tokens.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn tokens_are_those_of_the_language() {
        let cases = [
            ("docker::stop(c)", "W:docker +::: W:stop O:( W:c C:)"),
            ("let x=1+0x1F_a;", "K:let W:x +:= N:1 +:+ N:0x1F_a ;:;"),
            ("1.5 1.len() 1..2 1.e 2. ", "N:1.5 N:1 +:. W:len O:( C:) N:1 +:.. N:2 N:1 +:. W:e N:2."),
            ("1e5 1e+5 1e", "N:1e5 N:1e+5 N:1 W:e"),
            (r#""a\"b" "c""d" 'x' '\''"#, r#"T:"a\"b" T:"c""d" T:'x' T:'\''"#),
            ("\"a\\\nb\" c", "T:\"a\\\nb\" W:c"),
            (r##"#"raw " here"# x"##, r##"T:#"raw " here"# W:x"##),
            (r###"##"a"# b"##"###, r###"T:##"a"# b"##"###),
            ("`a${b}c${`in${1}`}` d", "T:`a O:${ W:b C:} R:c O:${ T:`in O:${ N:1 C:} R:` C:} R:` W:d"),
            (r"`a\${b}` c", r"T:`a\${b}` W:c"),
            ("`${#{a: 1}.a}`", "T:` O:${ O:#{ W:a +:: N:1 C:} +:. W:a C:} R:`"),
            ("a /* b /* c */ d */ e // f", "W:a #:/* b /* c */ d */ W:e #:// f~"),
            ("a // b\nc", "W:a #:// b W:c"),
            ("x?.y ?? z?[0] a!=b", "W:x +:?. W:y +:?? W:z O:?[ N:0 C:] W:a +:!= W:b"),
            ("i++ a->b é @", "W:i ?:++ W:a ?:-> W:b ?:é ?:@"),
            ("m.loop if", "W:m +:. W:loop K:if"),
            ("\"open", "T:\"open~"),
            ("`a${b", "T:`a O:${ W:b"),
            ("`a${b}", "T:`a O:${ W:b C:} R:~"),
            ("/* a", "#:/* a~"),
            ("#\"raw", "T:#\"raw~"),
        ];
        for (text, tokens) in cases {
            assert_eq!(shown(text), tokens, "{text}");
        }
    }

    #[test]
    fn brackets_know_their_partners() {
        let scan = Scan::new("f([a, #{b: 1}], `${c}`");
        let pairs: Vec<_> = scan.partners.iter().map(|p| p.map_or(99, |p| p)).collect();
        let opened: Vec<_> = scan.open.iter().map(|i| scan.tokens[*i].start).collect();
        assert_eq!(opened, [1]);
        assert_eq!((pairs[2], pairs[10], pairs[5], pairs[9]), (10, 2, 9, 5));
        assert!(Scan::new("a)").broken && Scan::new("(]").broken && !Scan::new("(").broken);
    }

    #[test]
    fn an_input_is_complete_when_nothing_is_plainly_missing() {
        let complete = [
            "",
            "  ",
            "docker::containers()",
            "let x = 1",
            "// a note",
            "/* a */ b",
            "x == 1 // and (more",
            "f()\n",
            "`a ${b} c`",
            "\"(\"",
            "'('",
            "#\"(\"#",
            "if x { 1 }",
            "if x { 1 } else { 2 }",
            "fn f(a) { a }",
            "do { x() } while y",
            "do { x() } until y",
            "try { x() } catch { y() }",
            "try { x() } catch (e) { y() }",
            "for x in y { }",
            "switch x { 1 => 2 }",
            "loop { break; }",
            "return",
            "throw",
            "|x| x",
            "let y = if a { 1 } else { 2 };",
            "e.do",
            ".undo",
            ".steps (",
            "  .undo \"",
            "help",
            "help docker::stop(",
            "exit",
            // Errors that more lines can't cure.
            "f())",
            "(]",
            "}",
            "i++",
            "a:",
            "f(\"two\nlines\"",
            "do { } x",
            "é",
        ];
        for text in complete {
            assert!(is_complete(text), "{text:?} is complete");
        }
        let incomplete = [
            "f(",
            "f([",
            "#{",
            "{",
            "f(#{ a: 1 }",
            "\"abc",
            "\"abc\\\n",
            "`abc",
            "`abc\n",
            "`${",
            "`${a}",
            "`${a} ${",
            "'a",
            "#\"abc\"",
            "/* a",
            "/* a /* b */",
            "1 +",
            "1 + // one",
            "x =",
            "x ==",
            "a,",
            "a.",
            "docker::",
            "a ??",
            "a &&",
            "|x|",
            "||",
            "!",
            "let",
            "const",
            "import",
            "import \"a\" as",
            "if",
            "if x",
            "if x == f(1)",
            "if x { 1 } else",
            "if x { 1 } else if y",
            "while x",
            "for x in y",
            "for x in",
            "loop",
            "do",
            "do { 1 }",
            "do { 1 } while",
            "fn f",
            "fn f(a)",
            "private fn f(a)",
            "try",
            "try { 1 }",
            "try { 1 } catch",
            "try { 1 } catch (e)",
            "switch x",
            "helper(",
            "exits(",
        ];
        for text in incomplete {
            assert!(!is_complete(text), "{text:?} is incomplete");
        }
    }

    /// The beginnings of all shipped scripts, line by line: what Rhai takes must not wait for more, and what waits Rhai
    /// must refuse. (It takes a text that ends inside a back-tick string or a comment, which is of no use here.)
    #[test]
    fn no_beginning_of_a_shipped_script_waits_for_nothing() {
        let places = crate::script::loader::Places::new(None).unwrap();
        let engine = Language::new(places, std::sync::Arc::new(Silent), None).engine;
        let (mut taken, mut waiting) = (0, 0);
        for (name, text) in scripts() {
            assert!(Scan::new(&text).is_complete(&text), "{name} is complete");
            for (end, _) in text.match_indices('\n') {
                let beginning = &text[..end];
                let scan = Scan::new(beginning);
                let is_complete = scan.is_complete(beginning);
                if scan.unfinished().is_some_and(|token| token.is_string() || token.text(beginning).starts_with("/*")) {
                    assert!(!is_complete, "{name}: {beginning}");
                    continue;
                }
                let compiled = engine.compile(beginning);
                let compiles = compiled.is_ok();
                assert!(!compiles || is_complete, "{name}: waits for nothing after\n{beginning}");
                let wants = compiled.err().is_some_and(|error| match *error.0 {
                    ParseErrorType::UnexpectedEOF => true,
                    ParseErrorType::MissingToken(_, _) => error.1.line() >= Some(beginning.lines().count()),
                    _ => false,
                });
                assert!(!wants || !is_complete, "{name}: does not wait after\n{beginning}");
                taken += usize::from(compiles);
                waiting += usize::from(!is_complete);
            }
        }
        assert!(taken > 100 && waiting > 100, "{taken} {waiting}");
    }

    fn scripts() -> Vec<(String, String)> {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = ["scripts", "stdlib"].iter().flat_map(|dir| std::fs::read_dir(root.join(dir)).unwrap());
        let paths = files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "rhai"));
        paths.map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap())).collect()
    }

    #[test]
    fn a_text_that_grows_has_the_tokens_of_the_whole() {
        let (_, text) = scripts().remove(0);
        let odd =
            "`a${f(\"x\\\n\")}b\\${c}``${1}` /* x /* */ */ #\"r\"# 'c' a..=b ?[ i++ // é\n \"broken\n)".to_owned();
        for text in [text, odd] {
            let mut grown = Scan::default();
            let ends = (0..=text.len()).filter(|end| text.is_char_boundary(*end)).take(3000);
            for end in ends {
                grown.extend(&text[..end]);
                let whole = Scan::new(&text[..end]);
                assert_eq!((&grown.tokens, &grown.open), (&whole.tokens, &whole.open), "{}", &text[..end]);
                assert_eq!((&grown.partners, grown.broken), (&whole.partners, whole.broken), "{}", &text[..end]);
            }
        }
    }

    /// Would take minutes if it were scanned again for each line.
    #[test]
    fn a_long_input_that_comes_line_by_line_is_scanned_once() {
        let (mut text, mut scan) = ("if true {\n".to_owned(), Scan::default());
        for line in 0..100_000 {
            text.push_str(&format!("    say([{line}, `${{x}}`]);\n"));
            scan.extend(&text);
            assert!(!scan.is_complete(&text));
        }
        text.push('}');
        scan.extend(&text);
        assert!(scan.is_complete(&text));
    }
}
