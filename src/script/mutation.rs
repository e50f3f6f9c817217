//! Which variable an expression certainly changes, read off the syntax tree.

use rhai::{ASTFlags, ASTNode, Expr, FnCallExpr, Position, Stmt};

/// Methods of arrays, maps and strings that change what they are called on, with the arguments they take.
const MUTATORS: [(&str, &[usize]); 24] = [
    ("append", &[1]),
    ("chop", &[1]),
    ("clear", &[0]),
    ("crop", &[1, 2]),
    ("dedup", &[0, 1]),
    ("drain", &[1, 2]),
    ("fill_with", &[1]),
    ("insert", &[2]),
    ("make_lower", &[0]),
    ("make_upper", &[0]),
    ("mixin", &[1]),
    ("pad", &[2]),
    ("pop", &[0]),
    ("push", &[1]),
    ("remove", &[1]),
    ("replace", &[2]),
    ("retain", &[1, 2]),
    ("reverse", &[0]),
    ("set", &[2]),
    ("shift", &[0]),
    ("sort", &[0, 1]),
    ("splice", &[3]),
    ("trim", &[0]),
    ("truncate", &[1]),
];

/// Whether a method of this name changes the array, map or string it is called on. With a map as its argument
/// `remove` is a handle's: `container.remove(#{ force: true })`.
pub fn is_mutator(name: &str, arity: usize, takes_map: bool) -> bool {
    let is_known = MUTATORS.iter().any(|(known, counts)| *known == name && counts.contains(&arity));
    is_known && !(name == "remove" && takes_map)
}

/// The variable that an assignment to `target` changes, and where it is named: `x` for `x`, `x.y` and `x[0].y`.
pub fn root(target: &Expr) -> Option<(&str, Position)> {
    match target {
        Expr::Variable(variable, _, position) if variable.2.is_empty() => Some((variable.1.as_str(), *position)),
        Expr::Dot(parts, ..) | Expr::Index(parts, ..) => {
            let is_place = !matches!(last(target), Last::OfAnother);
            root(&parts.lhs).filter(|_| is_place && matches!(parts.lhs, Expr::Variable(..)))
        }
        _ => None,
    }
}

/// The variable that a chain like `x.y[0].push(1)` changes. `path` leads to the chain.
pub fn by_method<'e>(chain: &'e Expr, path: &[ASTNode<'_>]) -> Option<(&'e str, Position)> {
    let Last::Method(call) = last(chain) else { return None };
    let takes_map = matches!(call.args.first(), Some(Expr::Map(..)));
    let changes = is_mutator(&call.name, call.args.len(), takes_map) && !begins_with_index(path);
    if changes { root(chain) } else { None }
}

/// Whether the variable that a path leads to is only given a new value there, or something in it is.
pub fn is_overwritten(path: &[ASTNode<'_>]) -> bool {
    let (assignment, target) = match path {
        [.., ASTNode::Stmt(Stmt::Assignment(parts)), ASTNode::Expr(target)] => (parts, target),
        [.., ASTNode::Stmt(Stmt::Assignment(parts)), ASTNode::Expr(target), ASTNode::Expr(variable)]
            if begins_with(target, variable) =>
        {
            (parts, target)
        }
        _ => return false,
    };
    !assignment.0.is_op_assignment() && std::ptr::eq(&raw const assignment.1.lhs, *target)
}

/// Whether a path such as `x.y` begins with this very `x`.
fn begins_with(path: &Expr, variable: &Expr) -> bool {
    let (Expr::Dot(chain, ..) | Expr::Index(chain, ..)) = path else { return false };
    std::ptr::eq(&raw const chain.lhs, variable)
}

/// What stands at the end of `x.y[0].z`.
enum Last<'e> {
    /// A property, or what an index gives: a part of the variable the chain begins with.
    Part,
    Method(&'e FnCallExpr),
    /// Something of a value that a method on the way gave.
    OfAnother,
}

/// Chains lean to the right: `x.y.z` is `x.(y.z)`, and `x[0].z` is `x[(0.z)]` without the mark that ends an index.
fn last(chain: &Expr) -> Last<'_> {
    match chain {
        Expr::Index(_, flags, _) if flags.contains(ASTFlags::BREAK) => Last::Part,
        Expr::Index(parts, ..) => last(&parts.rhs),
        Expr::Dot(parts, ..) => match &parts.rhs {
            Expr::Property(..) => Last::Part,
            Expr::MethodCall(call, _) => Last::Method(call),
            rest @ (Expr::Dot(next, ..) | Expr::Index(next, ..)) if matches!(next.lhs, Expr::Property(..)) => {
                last(rest)
            }
            _ => Last::OfAnother,
        },
        _ => Last::OfAnother,
    }
}

/// In `x[y].pop()`, which is `x[(y.pop())]`, it is not `y` that changes.
fn begins_with_index(path: &[ASTNode<'_>]) -> bool {
    match path {
        [.., ASTNode::Expr(Expr::Index(parts, flags, _)), ASTNode::Expr(chain)] => {
            !flags.contains(ASTFlags::BREAK) && std::ptr::eq(&raw const parts.rhs, *chain)
        }
        _ => false,
    }
}
