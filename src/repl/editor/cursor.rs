//! Where the cursor stands in the text: what is being typed there, and which call it belongs to.

use std::rc::Rc;

use super::scan::{Kind, Scan, Token};

/// The text before the cursor, scanned, and what comes after it.
pub struct Cursor<'t> {
    pub text: &'t str,
    pub after: &'t str,
    pub scan: Rc<Scan>,
}

/// What is being typed. `start` is the byte where it begins; it ends at the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'t> {
    /// A comment, a number, a name that is only being given.
    Nowhere,
    /// A name of the language, a variable, the beginning of anything.
    Word { start: usize },
    /// After `namespace::`.
    Path { start: usize, namespace: &'t str },
    /// After the `.` of a value, which ends with the token `object`.
    Member { start: usize, object: usize },
    /// Inside a string that opened with `quote`; `start` is where its content begins.
    Text { start: usize, quote: char },
    /// The key of a map literal.
    Key { start: usize },
}

/// A function as a call names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Callee<'t> {
    pub name: &'t str,
    pub of: Of<'t>,
}

/// Where a called function is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of<'t> {
    Nothing,
    Namespace(&'t str),
    /// A method of the value that ends with this token.
    Object(usize),
}

/// What a value at the cursor would be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role<'t> {
    Free,
    /// The argument of this number, counted from 0, as it is written (a method's object does not count).
    Argument(Callee<'t>, usize),
    /// The value of this key of a map literal.
    Value(&'t str),
    /// The index or key of the value that ends with this token.
    Index(usize),
}

impl<'t> Cursor<'t> {
    pub fn new(line: &'t str, position: usize) -> Self {
        let (text, after) = line.split_at(position);
        Self { text, after, scan: Rc::new(Scan::new(text)) }
    }

    /// The cursor at the end of a text that is scanned already.
    pub fn at_end(text: &'t str, scan: Rc<Scan>) -> Self {
        Self { text, after: "", scan }
    }

    /// A token's text.
    pub fn of(&self, token: &Token) -> &'t str {
        &self.text[token.start..token.end]
    }

    /// The text of the token with this index.
    pub fn word(&self, index: usize) -> Option<&'t str> {
        self.scan.tokens.get(index).map(|token| self.of(token))
    }

    fn is(&self, index: Option<usize>, texts: &[&str]) -> bool {
        index.and_then(|index| self.word(index)).is_some_and(|word| texts.contains(&word))
    }

    fn kind(&self, index: usize) -> Option<Kind> {
        self.scan.tokens.get(index).map(|token| token.kind)
    }

    pub fn place(&self) -> Place<'t> {
        if let Some(token) = self.scan.unfinished() {
            return self.in_text(token);
        }
        let touched = self.scan.tokens.last().filter(|token| token.end == self.text.len());
        let (start, before) = match touched.map(|token| (token.kind, token.start)) {
            Some((Kind::Word | Kind::Keyword, start)) => (start, self.scan.tokens.len() - 1),
            Some((Kind::Number, _)) => return Place::Nowhere,
            _ => (self.text.len(), self.scan.tokens.len()),
        };
        let Some(last) = before.checked_sub(1) else { return Place::Word { start } };
        let namespace = last.checked_sub(1).filter(|index| self.kind(*index) == Some(Kind::Word));
        match self.word(last).unwrap_or_default() {
            "::" => match namespace.and_then(|index| self.word(index)) {
                Some(namespace) => Place::Path { start, namespace },
                None => Place::Nowhere,
            },
            "." | "?." => last.checked_sub(1).map_or(Place::Nowhere, |object| Place::Member { start, object }),
            "let" | "const" | "fn" | "import" | "as" | "for" => Place::Nowhere,
            "#{" | "," if self.is(self.scan.open.last().copied(), &["#{"]) => Place::Key { start },
            _ => Place::Word { start },
        }
    }

    fn in_text(&self, token: &Token) -> Place<'t> {
        let typed = self.of(token);
        let start = |length: usize| token.start + length;
        match (token.kind, typed.chars().next()) {
            (Kind::Rest, _) => Place::Text { start: start(0), quote: '`' },
            (Kind::Text, Some(quote @ ('"' | '`'))) => Place::Text { start: start(1), quote },
            (Kind::Text, Some('#')) => match typed.find('"') {
                Some(length) => Place::Text { start: start(length + 1), quote: '#' },
                None => Place::Nowhere,
            },
            _ => Place::Nowhere,
        }
    }

    /// What a value that begins here would be for.
    pub fn role(&self) -> Role<'t> {
        self.role_within(self.scan.open.len())
    }

    /// What the map literal is for in which the cursor directly stands.
    pub fn role_of_map(&self) -> Role<'t> {
        self.role_within(self.scan.open.len().saturating_sub(1))
    }

    /// The call in whose argument list the cursor directly stands, with the number of the argument.
    pub fn call(&self) -> Option<(Callee<'t>, usize)> {
        let open = self.scan.open.last().copied()?;
        Some((self.callee(open)?, self.commas(open)))
    }

    /// What something is for that stands within the outermost `depth` open brackets.
    fn role_within(&self, depth: usize) -> Role<'t> {
        let Some(outer) = depth.checked_sub(1) else { return Role::Free };
        let open = self.scan.open[outer];
        match self.word(open).unwrap_or_default() {
            "(" => self.callee(open).map_or(Role::Free, |callee| Role::Argument(callee, self.commas(open))),
            "#{" => self.key(open).map_or(Role::Free, Role::Value),
            // An array's items are for what the array is for.
            "[" | "?[" => match self.indexed(open) {
                Some(object) => Role::Index(object),
                None => self.role_within(outer),
            },
            _ => Role::Free,
        }
    }

    /// The function whose argument list this bracket opens.
    pub fn callee(&self, open: usize) -> Option<Callee<'t>> {
        let name = open.checked_sub(1).filter(|index| self.kind(*index) == Some(Kind::Word))?;
        if self.word(open) != Some("(") {
            return None;
        }
        let before = name.checked_sub(1);
        let of = match before.and_then(|index| self.word(index)) {
            Some("::") => Of::Namespace(name.checked_sub(2).and_then(|index| self.word(index))?),
            Some("." | "?.") => Of::Object(name.checked_sub(2)?),
            Some("fn") => return None,
            _ => Of::Nothing,
        };
        Some(Callee { name: self.word(name)?, of })
    }

    /// Whether this token is a property or a method, not a variable.
    pub fn is_member(&self, index: usize) -> bool {
        self.is(index.checked_sub(1), &[".", "?."])
    }

    /// Whether the string in which the cursor stands names a module.
    pub fn is_import(&self) -> bool {
        self.is(self.scan.tokens.len().checked_sub(2), &["import"])
    }

    /// Whether this bracket opens an index, not an array literal.
    pub fn is_index(&self, open: usize) -> bool {
        self.indexed(open).is_some()
    }

    /// The value whose index this bracket opens; `None` for an array literal.
    fn indexed(&self, open: usize) -> Option<usize> {
        let before = open.checked_sub(1)?;
        let token = self.scan.tokens[before];
        (matches!(token.kind, Kind::Word | Kind::Close | Kind::Text | Kind::Rest)
            && token.end == self.scan.tokens[open].start)
            .then_some(before)
    }

    /// The tokens that stand directly in this bracket, up to the cursor or to the bracket in which the cursor stands.
    fn inside(&self, open: usize) -> Vec<usize> {
        let mut inside = Vec::new();
        let mut index = open + 1;
        while index < self.scan.tokens.len() {
            inside.push(index);
            if self.kind(index) == Some(Kind::Open) && self.scan.partners[index].is_none() {
                break;
            }
            index = self.scan.after(index);
        }
        inside
    }

    /// How many arguments are complete in an argument list. A closure's own parameters don't count.
    fn commas(&self, open: usize) -> usize {
        let (mut commas, mut is_parameter, mut before) = (0, false, open);
        for index in self.inside(open) {
            match self.word(index) {
                Some("|") if is_parameter => is_parameter = false,
                Some("|") => is_parameter = before == open || self.is(Some(before), &[",", "="]),
                Some(",") if !is_parameter => commas += 1,
                _ => {}
            }
            before = index;
        }
        commas
    }

    /// The key whose value is being written in a map literal.
    fn key(&self, open: usize) -> Option<&'t str> {
        let tokens = self.inside(open);
        let begin = tokens.iter().rposition(|index| self.is(Some(*index), &[","])).map_or(0, |comma| comma + 1);
        let key = tokens.get(begin).filter(|_| self.is(tokens.get(begin + 1).copied(), &[":"]))?;
        self.word(*key).map(|key| key.trim_matches('"'))
    }

    /// The keys that the map literal has already in which the cursor directly stands.
    pub fn keys(&self) -> Vec<&'t str> {
        let Some(open) = self.scan.open.last().copied() else { return Vec::new() };
        let tokens = self.inside(open);
        let pairs = tokens.windows(2).filter(|pair| self.is(Some(pair[1]), &[":"]));
        pairs.filter_map(|pair| self.word(pair[0])).map(|key| key.trim_matches('"')).collect()
    }

    /// Names that this very text declares before the cursor.
    pub fn declared(&self) -> Vec<&'t str> {
        let tokens = &self.scan.tokens;
        let names = tokens.windows(2).filter(|pair| {
            pair[1].kind == Kind::Word
                && matches!(self.of(&pair[0]), "let" | "const" | "for")
                && pair[1].end < self.text.len()
        });
        names.map(|pair| self.of(&pair[1])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `<>` is the cursor; without one it is at the end.
    fn with(marked: &str, show: impl Fn(&Cursor<'_>) -> String) -> String {
        let position = marked.find("<>").unwrap_or(marked.len());
        let line = marked.replacen("<>", "", 1);
        show(&Cursor::new(&line, position))
    }

    fn place(marked: &str) -> String {
        with(marked, |cursor| {
            let from = |start: usize| &cursor.text[start..];
            match cursor.place() {
                Place::Nowhere => "nowhere".into(),
                Place::Word { start } => format!("word {}", from(start)),
                Place::Path { start, namespace } => format!("path {namespace} {}", from(start)),
                Place::Member { start, object } => format!("member {} {}", cursor.word(object).unwrap(), from(start)),
                Place::Text { start, quote } => format!("text {quote} {}", from(start)),
                Place::Key { start } => format!("key {}", from(start)),
            }
        })
    }

    #[test]
    fn the_place_is_what_is_being_typed() {
        let cases = [
            ("", "word "),
            ("dock", "word dock"),
            ("dock<>er", "word dock"),
            ("let x = do", "word do"),
            ("f(a, b", "word b"),
            ("f(", "word "),
            ("docker::", "path docker "),
            ("docker::st", "path docker st"),
            ("x = docker::st<>op(c)", "path docker st"),
            ("c.", "member c "),
            ("c.na", "member c na"),
            ("f(x).na", "member ) na"),
            ("c?.na", "member c na"),
            ("f(\"ab", "text \" ab"),
            ("f(\"ab<>cd\")", "text \" ab"),
            ("f(`ab", "text ` ab"),
            ("f(`ab${c}d", "text ` d"),
            ("f(`ab${c", "word c"),
            ("f(#\"ab", "text # ab"),
            ("f(#{ ti", "key ti"),
            ("f(#{ a: 1, ti", "key ti"),
            ("f(#{ a: ti", "word ti"),
            ("f(#{ a: g(1, ti", "word ti"),
            ("let na", "nowhere"),
            ("import ", "nowhere"),
            ("1.5", "nowhere"),
            ("::", "nowhere"),
            (".", "nowhere"),
            ("x // no", "nowhere"),
            ("x /* no", "nowhere"),
            ("'a", "nowhere"),
            ("x /* no */ y", "word y"),
            ("\"é\".le", "member \"é\" le"),
        ];
        for (marked, expected) in cases {
            assert_eq!(place(marked), expected, "{marked}");
        }
    }

    fn role(marked: &str) -> String {
        with(marked, |cursor| {
            let of = |callee: Callee<'_>| match callee.of {
                Of::Nothing => callee.name.to_owned(),
                Of::Namespace(namespace) => format!("{namespace}::{}", callee.name),
                Of::Object(object) => format!("{}.{}", cursor.word(object).unwrap(), callee.name),
            };
            match cursor.role() {
                Role::Free => "free".into(),
                Role::Argument(callee, index) => format!("{} {index}", of(callee)),
                Role::Value(key) => format!("value of {key}"),
                Role::Index(object) => format!("index of {}", cursor.word(object).unwrap()),
            }
        })
    }

    #[test]
    fn the_role_is_what_a_value_would_be_for() {
        let cases = [
            ("", "free"),
            ("(", "free"),
            ("f(", "f 0"),
            ("f(a, g(b, c), [d, e], ", "f 3"),
            ("docker::stop(c, ", "docker::stop 1"),
            ("a.b(c, ", "a.b 1"),
            ("f(\"x", "f 0"),
            ("f(1)[", "index of )"),
            ("row[\"", "index of row"),
            ("f([\"a\", \"", "f 0"),
            ("let x = [", "free"),
            ("f(#{ a: \"", "value of a"),
            ("f(#{ a: 1, \"b\": [", "value of b"),
            ("f(#{ a: 1, ", "free"),
            ("f(|a, b| a, ", "f 1"),
            ("f(|| a, ", "f 1"),
            ("f(1 | 2, ", "f 1"),
            ("f(|a, ", "f 0"),
            ("step(\"x\", || { stop(", "stop 0"),
            ("step(\"x\", || { ", "free"),
            ("fn f(", "free"),
            ("f(a)", "free"),
            ("f(`${g(", "g 0"),
        ];
        for (marked, expected) in cases {
            assert_eq!(role(marked), expected, "{marked}");
        }
    }

    #[test]
    fn keys_that_are_there_are_known() {
        let keys = |marked: &str| with(marked, |cursor| cursor.keys().join(" "));
        assert_eq!(keys("f(#{ a: g(1, 2), \"b\": #{ c: 1 }, "), "a b");
        assert_eq!(keys("f(#{ "), "");
        assert_eq!(with("let a = 1; for b in c { let d", |cursor| cursor.declared().join(" ")), "a b");
    }
}
