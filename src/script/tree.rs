//! What a compiled script says about itself without being run: its calls, imports and functions.
//!
//! The engine's walk goes through statements and function bodies one after another; this keeps apart which
//! function (or closure) a call stands in, and which closures are arguments of a call.

use std::collections::{BTreeSet, HashMap};

use rhai::{AST, ASTFlags, ASTNode, Dynamic, Expr, FnCallExpr, FnPtr, Module, Position, Stmt};

use super::mutation;

/// A call, wherever it stands.
#[derive(Debug)]
pub struct Call {
    /// Index of the function it stands in; `None` at top level.
    pub owner: Option<usize>,
    /// `["primero"]` for `primero::stop()`.
    pub namespace: Vec<String>,
    pub name: String,
    /// Arguments between the parentheses.
    pub arity: usize,
    pub is_method: bool,
    /// Where the call begins, its namespace included.
    pub position: Position,
    pub arguments: Vec<Argument>,
    /// Names of the closures among its arguments, `anon$…`.
    pub closures: Vec<String>,
    /// The list of statements it stands in: the same number for neighbours.
    pub block: usize,
    /// Where the outermost loop around it begins.
    pub loop_begin: Option<Position>,
    /// The variable that is given its value: `x = step(…)`.
    pub assigned_to: Option<String>,
}

/// An argument as far as it can be known without running.
#[derive(Debug)]
pub enum Argument {
    Literal(Dynamic),
    /// A map literal. A map in it is a literal or computed.
    Map(Vec<(String, Argument)>),
    /// The name of a closure written here, `anon$…`.
    Closure(String),
    Variable(String),
    Computed,
}

impl Argument {
    pub fn text(&self) -> Option<String> {
        self.literal()?.clone().into_string().ok()
    }

    pub fn literal(&self) -> Option<&Dynamic> {
        match self {
            Self::Literal(value) => Some(value),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub struct Import {
    /// `None` where the name is computed.
    pub name: Option<String>,
    pub alias: String,
    pub position: Position,
}

#[derive(Debug)]
pub struct Function {
    pub name: String,
    pub parameters: Vec<String>,
    pub is_private: bool,
    /// Its `///` lines, without the slashes.
    pub doc: String,
}

impl Function {
    pub fn is_closure(&self) -> bool {
        self.name.starts_with("anon$")
    }

    pub fn signature(&self) -> String {
        format!("{}({})", self.name, self.parameters.join(", "))
    }
}

/// A variable where it is used: `limit`, or one of a module, `primero::PORT`.
#[derive(Debug)]
pub struct Variable {
    pub owner: Option<usize>,
    /// Empty for a plain variable.
    pub namespace: Vec<String>,
    pub name: String,
    pub position: Position,
    /// Whether its value is asked for here. It is not where it, or something in it, is given a new one (`x = 1`,
    /// `x.y = 1`), nor where a closure only takes it along.
    pub is_read: bool,
}

/// A closure where it is written.
#[derive(Debug)]
pub struct Closure {
    pub name: String,
    /// The function it is written in.
    pub owner: Option<usize>,
    /// The variables around it that it shares.
    pub captures: Vec<String>,
}

/// A variable that gets another value, or other contents: `x = 1`, `x.y += 1`, `x.push(1)`.
#[derive(Debug)]
pub struct Change {
    pub owner: Option<usize>,
    pub name: String,
    pub position: Position,
}

/// Everything found in one source.
#[derive(Debug, Default)]
pub struct Tree {
    /// The `//!` text, without the slashes.
    pub doc: String,
    pub functions: Vec<Function>,
    /// In the order they stand in the text.
    pub calls: Vec<Call>,
    pub imports: Vec<Import>,
    pub variables: Vec<Variable>,
    pub closures: Vec<Closure>,
    /// In the order they stand in the text.
    pub changes: Vec<Change>,
    /// Names given by `let`, `const`, `for` and `catch`, with the function they are given in.
    pub declared: BTreeSet<(Option<usize>, String)>,
    /// Variables that importers may use.
    pub exports: BTreeSet<String>,
    /// Keys of map literals and assigned properties: any of them may hold a function.
    pub keys: BTreeSet<String>,
}

impl Tree {
    pub fn new(ast: &AST) -> Self {
        let mut tree = Self { doc: doc_text(ast.doc(), "//!"), ..Self::default() };
        tree.functions = ast.iter_functions().map(|f| function(&f)).collect();
        tree.collect(&ast.clone_statements_only(), None);
        for (index, definition) in ast.iter_fn_def().enumerate() {
            // The engine walks whole scripts only: to it, each function is one of its own.
            let mut alone = Module::new();
            alone.set_script_fn(definition.clone());
            tree.collect(&AST::new_from_module(alone), Some(index));
        }
        tree.calls.sort_by_key(|call| call.position);
        tree.changes.sort_by_key(|change| change.position);
        tree
    }

    /// The function of that closure name or, for other names, the first of that name.
    pub fn function(&self, name: &str) -> Option<usize> {
        self.functions.iter().position(|f| f.name == name)
    }

    fn collect(&mut self, part: &AST, owner: Option<usize>) {
        let mut seen = HashMap::new();
        part.walk(&mut |path| {
            match path.last() {
                Some(ASTNode::Expr(expr)) => self.expression(expr, path, owner, &mut seen),
                Some(ASTNode::Stmt(statement)) => self.statement(statement, path, owner, &mut seen),
                _ => {}
            }
            true
        });
    }

    fn expression(&mut self, expr: &Expr, path: &[ASTNode<'_>], owner: Option<usize>, seen: &mut Seen) {
        match expr {
            Expr::FnCall(call, position) => self.call(call, *position, false, path, owner, seen),
            Expr::MethodCall(call, position) => self.call(call, *position, true, path, owner, seen),
            Expr::DynamicConstant(value, _) => self.closure(value, path, owner, seen),
            Expr::Dot(..) | Expr::Index(..) => self.change(mutation::by_method(expr, path), owner),
            Expr::Map(map, _) => self.keys.extend(map.0.iter().map(|(key, _)| key.as_str().to_owned())),
            Expr::Property(names, _) => {
                self.keys.insert(names.2.to_string());
            }
            Expr::Variable(variable, _, position) => {
                let namespace = variable.2.path.iter().map(|part| part.as_str().to_owned()).collect();
                let name = variable.1.to_string();
                let is_read = !captures(path) && !mutation::is_overwritten(path);
                self.variables.push(Variable { owner, namespace, name, position: *position, is_read });
            }
            _ => {}
        }
    }

    fn statement(&mut self, statement: &Stmt, path: &[ASTNode<'_>], owner: Option<usize>, seen: &mut Seen) {
        match statement {
            Stmt::Var(variable, ..) => _ = self.declared.insert((owner, variable.0.as_str().to_owned())),
            Stmt::For(parts, _) => {
                let names = [Some(&parts.0), parts.1.as_ref()].into_iter().flatten();
                self.declared.extend(names.map(|name| (owner, name.as_str().to_owned())));
            }
            Stmt::Assignment(parts) => self.change(mutation::root(&parts.1.lhs), owner),
            _ => {}
        }
        match statement {
            Stmt::FnCall(call, position) => self.call(call, *position, false, path, owner, seen),
            Stmt::Import(..) => self.imports.extend(import(statement)),
            Stmt::Var(variable, flags, _) if flags.contains(ASTFlags::EXPORTED) => {
                self.exports.insert(variable.0.as_str().to_owned());
            }
            Stmt::Export(names, _) => {
                let alias = if names.1.is_empty() { &names.0 } else { &names.1 };
                self.exports.insert(alias.as_str().to_owned());
            }
            _ => {}
        }
    }

    fn call(
        &mut self,
        call: &FnCallExpr,
        position: Position,
        is_method: bool,
        path: &[ASTNode<'_>],
        owner: Option<usize>,
        seen: &mut Seen,
    ) {
        seen.insert(std::ptr::from_ref(call), self.calls.len());
        let namespace: Vec<_> = call.namespace.path.iter().map(|part| part.as_str().to_owned()).collect();
        let begin = if namespace.is_empty() { position } else { call.namespace.position() };
        self.calls.push(Call {
            owner,
            namespace,
            name: call.name.to_string(),
            arity: call.args.len(),
            is_method,
            position: if begin.is_none() { position } else { begin },
            arguments: call.args.iter().map(argument).collect(),
            closures: Vec::new(),
            block: block(path),
            loop_begin: loop_begin(path),
            assigned_to: assigned_to(path),
        });
    }

    fn change(&mut self, changed: Option<(&str, Position)>, owner: Option<usize>) {
        self.changes.extend(changed.map(|(name, position)| Change { owner, name: name.to_owned(), position }));
    }

    /// A closure belongs to every call whose argument it is part of.
    fn closure(&mut self, value: &Dynamic, path: &[ASTNode<'_>], owner: Option<usize>, seen: &Seen) {
        let Some(function) = value.read_lock::<FnPtr>() else { return };
        let captures = match path {
            [.., ASTNode::Expr(Expr::FnCall(call, _)), _] if is_capture(call) => captured(call),
            _ => Vec::new(),
        };
        self.closures.push(Closure { name: function.fn_name().to_owned(), owner, captures });
        let calls = path.iter().filter_map(|node| match node {
            ASTNode::Expr(Expr::FnCall(call, _) | Expr::MethodCall(call, _)) | ASTNode::Stmt(Stmt::FnCall(call, _)) => {
                seen.get(&std::ptr::from_ref::<FnCallExpr>(call))
            }
            _ => None,
        });
        for index in calls {
            self.calls[*index].closures.push(function.fn_name().to_owned());
        }
    }
}

/// Where each call node of the part being walked is kept.
type Seen = HashMap<*const FnCallExpr, usize>;

/// Neighbours share the nearest enclosing statement that holds statements; top level is 0.
fn block(path: &[ASTNode<'_>]) -> usize {
    let holders = path[..path.len().saturating_sub(1)].iter().rev();
    let holder = holders.into_iter().find_map(|node| match node {
        // Both branches of an `if` are one node, and only one of them runs.
        ASTNode::Stmt(statement @ (Stmt::If(..) | Stmt::Switch(..) | Stmt::TryCatch(..))) => {
            Some(Holder::Branches(std::ptr::from_ref::<Stmt>(statement) as usize))
        }
        ASTNode::Stmt(statement @ (Stmt::Block(..) | Stmt::For(..) | Stmt::While(..) | Stmt::Do(..))) => {
            Some(Holder::List(std::ptr::from_ref::<Stmt>(statement) as usize))
        }
        _ => None,
    });
    match holder {
        None => 0,
        Some(Holder::List(address)) => address,
        // Never the same for two calls.
        Some(Holder::Branches(address)) => address ^ path.last().map_or(0, node_address),
    }
}

/// Where the outermost loop around a node begins.
fn loop_begin(path: &[ASTNode<'_>]) -> Option<Position> {
    path.iter().find_map(|node| match node {
        ASTNode::Stmt(Stmt::For(_, position) | Stmt::While(_, position) | Stmt::Do(_, _, position)) => Some(*position),
        _ => None,
    })
}

/// The variable of `x = f()`, for the path of `f`.
fn assigned_to(path: &[ASTNode<'_>]) -> Option<String> {
    match path {
        [.., ASTNode::Stmt(Stmt::Assignment(parts)), _] => match &parts.1.lhs {
            Expr::Variable(variable, ..) => Some(variable.1.to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// A closure that uses variables around it is a call too: `curry(closure, x, y)`.
fn is_capture(call: &FnCallExpr) -> bool {
    call.name == "curry" && matches!(call.args.first(), Some(Expr::DynamicConstant(..)))
}

/// Whether the last node of a path is a variable that a closure takes along.
fn captures(path: &[ASTNode<'_>]) -> bool {
    matches!(path, [.., ASTNode::Expr(Expr::FnCall(call, _)), _] if is_capture(call))
}

fn captured(call: &FnCallExpr) -> Vec<String> {
    let names = call.args.iter().filter_map(|argument| match argument {
        Expr::Variable(variable, ..) => Some(variable.1.to_string()),
        _ => None,
    });
    names.collect()
}

enum Holder {
    List(usize),
    Branches(usize),
}

fn node_address(node: &ASTNode<'_>) -> usize {
    match node {
        ASTNode::Stmt(statement) => std::ptr::from_ref::<Stmt>(statement) as usize,
        ASTNode::Expr(expr) => std::ptr::from_ref::<Expr>(expr) as usize,
        _ => 0,
    }
}

fn argument(expr: &Expr) -> Argument {
    if let Expr::Map(map, _) = expr {
        return Argument::Map(map.0.iter().map(|(key, value)| (key.as_str().to_owned(), simple(value))).collect());
    }
    simple(expr)
}

fn simple(expr: &Expr) -> Argument {
    if let Some(closure) = closure_name(expr) {
        return Argument::Closure(closure);
    }
    match expr {
        Expr::Variable(variable, ..) if variable.2.is_empty() => Argument::Variable(variable.1.to_string()),
        _ => expr.get_literal_value(None).map_or(Argument::Computed, Argument::Literal),
    }
}

/// The name of the closure that an expression is, with or without variables that it takes along.
fn closure_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::DynamicConstant(value, _) => Some(value.read_lock::<FnPtr>()?.fn_name().to_owned()),
        Expr::FnCall(call, _) if is_capture(call) => closure_name(call.args.first()?),
        Expr::Stmt(block) => match block.statements() {
            [Stmt::Share(_), Stmt::Expr(curried)] => closure_name(curried),
            _ => None,
        },
        _ => None,
    }
}

fn function(metadata: &rhai::ScriptFnMetadata<'_>) -> Function {
    Function {
        name: metadata.name.to_owned(),
        parameters: metadata.params.iter().map(|p| (*p).to_owned()).collect(),
        is_private: metadata.access.is_private(),
        doc: doc_text(&metadata.comments.join("\n"), "///"),
    }
}

/// The imports of a script, wherever they stand.
pub fn imports(ast: &AST) -> Vec<Import> {
    let mut imports = Vec::new();
    ast.walk(&mut |path| {
        if let Some(ASTNode::Stmt(statement)) = path.last() {
            imports.extend(import(statement));
        }
        true
    });
    imports
}

fn import(statement: &Stmt) -> Option<Import> {
    let Stmt::Import(import, position) = statement else { return None };
    Some(Import {
        name: import.0.get_literal_value(None).and_then(|value| value.into_string().ok()),
        alias: import.1.as_str().to_owned(),
        position: if import.0.position().is_none() { *position } else { import.0.position() },
    })
}

/// Comment lines without their marks.
fn doc_text(text: &str, mark: &str) -> String {
    let lines = text.lines().map(|line| line.trim_start().trim_start_matches(mark));
    let lines: Vec<_> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    lines.join("\n").trim().to_owned()
}
