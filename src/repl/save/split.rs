//! An input taken apart into its statements, by the language's own tokens.

use rhai::{ASTNode, Engine, Expr, Position, Stmt, Token};

/// A statement at the top of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub kind: Kind,
    /// As it was typed, without the semicolon.
    pub text: String,
    /// Comments that belong to it.
    pub comments: Vec<String>,
    /// The words of its code, for a name. Texts are left out, but for those that name a thing which is looked up.
    pub words: String,
    /// Whether `return` in it leaves the input.
    pub returns: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Import,
    Export,
    /// Name and number of parameters: what a later definition takes the place of.
    Function(String),
    /// `let name = value`; `head` is all up to the value, which is empty where there is none.
    Declaration {
        name: String,
        head: String,
        value: String,
    },
    /// `x.y += value`; `head` is all up to the value.
    Assignment {
        head: String,
        value: String,
    },
    /// It ends in a brace of its own: `if`, `for`, `{ … }`.
    Block,
    Expression,
    /// Comments after the last statement.
    Comments,
}

impl Statement {
    /// An input that can't be taken apart.
    pub fn whole(text: &str) -> Self {
        let (text, comments, words) = (text.trim().to_owned(), Vec::new(), String::new());
        Self { kind: Kind::Block, text, comments, words, returns: false }
    }

    /// Adds a statement that must not run without this one.
    pub fn append(&mut self, next: Self) {
        self.text = format!("{};\n    {}", self.text, next.text);
        self.words = format!("{} {}", self.words, next.words).trim().to_owned();
        self.comments.extend(next.comments);
    }
}

/// The statements of an input; `None` where it is none that the engine compiles. The engine must not be strict about
/// variables, which are those of other inputs.
pub fn split(engine: &Engine, is_lookup: impl Fn(&str) -> bool, text: &str) -> Option<Vec<Statement>> {
    let compiled = engine.compile(text).ok()?;
    let tokens = tokens(engine, text)?;
    let statements: Vec<_> = cut(&tokens).into_iter().map(|part| statement(engine, &is_lookup, text, part)).collect();
    let is_code = |s: &&Statement| !matches!(s.kind, Kind::Function(_) | Kind::Comments);
    (statements.iter().filter(is_code).count() == compiled.statements().len()).then_some(statements)
}

/// A token and where it begins and the next one does, in bytes.
struct Lexed {
    token: Token,
    from: usize,
    to: usize,
    line: usize,
}

impl Lexed {
    fn is_comment(&self) -> bool {
        matches!(self.token, Token::Comment(_))
    }
}

/// `None` where a line is so long that the engine has no positions in it.
fn tokens(engine: &Engine, text: &str) -> Option<Vec<Lexed>> {
    let starts: Vec<_> = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    if starts.len() >= usize::from(u16::MAX) || text.lines().any(|line| line.len() >= usize::from(u16::MAX)) {
        return None;
    }
    let offset = |position: Position| {
        let start = *starts.get(position.line()? - 1)?;
        let rest = &text[start..];
        let at = rest.char_indices().nth(position.position().unwrap_or(1) - 1).map_or(rest.len(), |(at, _)| at);
        Some(start + at)
    };
    let inputs = [text];
    let (mut lexer, control) = engine.lex(&inputs);
    lexer.state.include_comments = true;
    let mut tokens: Vec<Lexed> = Vec::new();
    // Of each brace that is open, whether it stands in a text: `${ … }`.
    let (mut braces, mut is_in_text) = (Vec::new(), false);
    loop {
        let (token, position) = lexer.next()?;
        if token == Token::EOF {
            break;
        }
        match token {
            Token::LexError(_) => return None,
            Token::InterpolatedString(_) => is_in_text = true,
            Token::LeftBrace | Token::MapStart => braces.push(std::mem::take(&mut is_in_text)),
            // Else the rest of the text would be read as code.
            Token::RightBrace => control.borrow_mut().is_within_text = braces.pop()?,
            _ => {}
        }
        let before = tokens.last().map(|last| (last.from + 1, last.line));
        // What goes on behind `${ … }` has no position.
        let (from, line) = match position.line() {
            Some(line) => (offset(position)?, line),
            None => before?,
        };
        if let Some(last) = tokens.last_mut() {
            last.to = from;
        }
        tokens.push(Lexed { token, from, to: text.len(), line });
    }
    Some(tokens)
}

/// The tokens of each statement, comments first.
fn cut(tokens: &[Lexed]) -> Vec<&[Lexed]> {
    let (mut parts, mut begin, mut depth) = (Vec::new(), 0, 0_usize);
    // Of each bracket that is open, whether it is that of a map.
    let mut maps = Vec::new();
    for (at, lexed) in tokens.iter().enumerate() {
        let next = tokens[at + 1..].iter().find(|lexed| !lexed.is_comment()).map(|lexed| &lexed.token);
        let is_end = match lexed.token {
            Token::LeftParen | Token::LeftBracket | Token::QuestionBracket | Token::LeftBrace | Token::MapStart => {
                depth += 1;
                maps.push(lexed.token == Token::MapStart);
                false
            }
            Token::RightParen | Token::RightBracket | Token::RightBrace => {
                depth = depth.saturating_sub(1);
                let is_map = maps.pop().unwrap_or_default();
                let is_block = depth == 0 && lexed.token == Token::RightBrace && !is_map;
                is_block && is_self_terminated(&tokens[begin..=at], next)
            }
            Token::SemiColon => depth == 0,
            _ => false,
        };
        if is_end {
            // A comment on the same line is about what stands before it.
            let line = lexed.line;
            let after = tokens[at + 1..].iter().take_while(|lexed| lexed.is_comment() && lexed.line == line).count();
            parts.push(&tokens[begin..=at + after]);
            begin = at + after + 1;
        }
    }
    parts.push(&tokens[begin.min(tokens.len())..]);
    parts.retain(|part| part.iter().any(|lexed| lexed.token != Token::SemiColon));
    parts
}

/// Whether the brace at the end of these tokens ends a statement.
fn is_self_terminated(tokens: &[Lexed], next: Option<&Token>) -> bool {
    match tokens.iter().find(|lexed| !lexed.is_comment()).map(|lexed| &lexed.token) {
        Some(Token::If) => next != Some(&Token::Else),
        Some(Token::Try) => next != Some(&Token::Catch),
        Some(Token::LeftBrace | Token::While | Token::Loop | Token::For | Token::Switch) => true,
        Some(Token::Fn | Token::Private) => true,
        _ => false,
    }
}

fn statement(engine: &Engine, is_lookup: &impl Fn(&str) -> bool, text: &str, part: &[Lexed]) -> Statement {
    let code: Vec<_> = part.iter().filter(|lexed| !lexed.is_comment() && lexed.token != Token::SemiColon).collect();
    let is_doc = |lexed: &Lexed| matches!(&lexed.token, Token::Comment(c) if c.starts_with("///"));
    let is_function = matches!(code.first().map(|lexed| &lexed.token), Some(Token::Fn | Token::Private));
    let comment = |lexed: &Lexed| {
        let Token::Comment(comment) = &lexed.token else { return None };
        // `//!` would be the saved script's own.
        let comment = comment.trim_end().replacen("//!", "//", 1);
        (is_function || !is_doc(lexed)).then_some(comment)
    };
    let Some((first, last)) = code.first().zip(code.last()) else {
        let comments = part.iter().filter_map(comment).collect();
        let (text, words) = (String::new(), String::new());
        return Statement { kind: Kind::Comments, text, comments, words, returns: false };
    };
    // Those inside are part of the text.
    let outer = part.iter().filter(|lexed| lexed.from < first.from || lexed.from > last.from);
    let comments = outer.filter_map(comment).collect();
    let end = part.iter().find(|lexed| lexed.from > last.from).map_or(last.to, |lexed| lexed.from);
    let whole = text[first.from..end].trim_end().to_owned();
    let kind = kind(text, &code, end);
    let words = words(&code, is_lookup);
    let returns = !is_function && engine.compile(&whole).is_ok_and(|ast| leaves(&ast));
    Statement { kind, text: whole, comments, words, returns }
}

fn kind(text: &str, code: &[&Lexed], end: usize) -> Kind {
    let first = code[0];
    let rest = |at: usize| text[code[at].from..end].trim_end().to_owned();
    let head = |at: usize| text[first.from..code[at].from].trim_end().to_owned();
    match first.token {
        Token::Import => Kind::Import,
        Token::Export => Kind::Export,
        Token::Fn | Token::Private => Kind::Function(function(text, code)),
        Token::Let | Token::Const => {
            let name = code.get(1).map(|lexed| lexed.token.to_string()).unwrap_or_default();
            match code.len() > 3 && code[2].token == Token::Equals {
                true => Kind::Declaration { name, head: head(3), value: rest(3) },
                false => {
                    Kind::Declaration { name, head: text[first.from..end].trim_end().to_owned(), value: String::new() }
                }
            }
        }
        Token::LeftBrace | Token::If | Token::While | Token::Loop | Token::For | Token::Switch | Token::Try => {
            Kind::Block
        }
        _ => match assignment(code) {
            Some(at) => Kind::Assignment { head: head(at + 1), value: rest(at + 1) },
            None => Kind::Expression,
        },
    }
}

/// The operator that assigns to what stands before it; nothing is called there.
fn assignment(code: &[&Lexed]) -> Option<usize> {
    let at = code.iter().position(|lexed| lexed.token == Token::Equals || lexed.token.is_op_assignment())?;
    let is_plain = |token: &Token| {
        matches!(token, Token::Identifier(_) | Token::Period | Token::LeftBracket | Token::RightBracket)
            || matches!(token, Token::IntegerConstant(_) | Token::StringConstant(_))
    };
    (at > 0 && at + 1 < code.len() && code[..at].iter().all(|lexed| is_plain(&lexed.token))).then_some(at)
}

/// Name and number of parameters.
fn function(text: &str, code: &[&Lexed]) -> String {
    let begin = code.iter().position(|lexed| lexed.token == Token::Fn).map_or(0, |at| at + 1);
    let until = |token: &Token| code.iter().position(|lexed| lexed.token == *token);
    let Some(open) = until(&Token::LeftParen) else {
        // `fn f() {}`: the parentheses are one token.
        let end = until(&Token::Unit).unwrap_or(begin);
        return format!("{}/0", code.get(begin).map_or("", |first| text[first.from..code[end].from].trim()));
    };
    let close = code[open..].iter().position(|lexed| lexed.token == Token::RightParen).map_or(open, |at| open + at);
    let parameters = code[open..close].iter().filter(|lexed| matches!(lexed.token, Token::Identifier(_))).count();
    format!("{}/{parameters}", text[code[begin].from..code[open].from].trim())
}

/// Whether `return`, or `exit()`, leaves the input. Those of closures and functions stay in them.
fn leaves(ast: &rhai::AST) -> bool {
    let mut leaves = false;
    ast.clone_statements_only().walk(&mut |path| {
        leaves |= match path.last() {
            // `throw` is the same node with a flag.
            Some(ASTNode::Stmt(Stmt::Return(_, flags, _))) => !flags.contains(rhai::ASTFlags::BREAK),
            Some(ASTNode::Stmt(Stmt::FnCall(call, _)) | ASTNode::Expr(Expr::FnCall(call, _))) => call.name == "exit",
            _ => false,
        };
        true
    });
    leaves
}

fn words(code: &[&Lexed], is_lookup: &impl Fn(&str) -> bool) -> String {
    // `let x =` is no part of what happens.
    let value = match code {
        [first, _, equals, ..] if matches!(first.token, Token::Let | Token::Const) && equals.token == Token::Equals => {
            3
        }
        _ => assignment(code).map_or(0, |at| at + 1),
    };
    let mut words = Vec::new();
    for (at, lexed) in code.iter().enumerate().skip(value) {
        match &lexed.token {
            Token::Identifier(name) => words.push(name.to_string()),
            Token::IntegerConstant(number) => words.push(number.to_string()),
            Token::If | Token::For | Token::In | Token::While | Token::Else => words.push(lexed.token.to_string()),
            Token::Bang => words.push("not".into()),
            Token::StringConstant(text) if is_named(code, at, is_lookup) && is_plain(text) => {
                words.push(text.to_string())
            }
            _ => {}
        }
    }
    words.join(" ")
}

/// Whether the text at this place is what a function looks up: `container("web")`.
fn is_named(code: &[&Lexed], at: usize, is_lookup: &impl Fn(&str) -> bool) -> bool {
    let [.., name, open] = &code[..at] else { return false };
    matches!(&name.token, Token::Identifier(name) if is_lookup(name)) && open.token == Token::LeftParen
}

fn is_plain(text: &str) -> bool {
    text.len() <= 40 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'))
}

#[cfg(test)]
mod tests;
