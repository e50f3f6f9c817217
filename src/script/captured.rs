//! Variables that a step's body changes though they live outside it.
//!
//! On resume a finished step's body does not run again, so such a variable keeps the value it had before the step.

use std::collections::HashSet;

use rhai::Position;

use super::flow::{Flow, Met, Step, Unit};

/// A variable that would be wrong on resume.
pub struct Lost<'s, 'f> {
    pub variable: &'f str,
    pub step: &'s Step<'f>,
    /// Where the body changes it.
    pub position: Position,
}

/// The function that a variable belongs to; `None` for the top level of its file.
type Owner = Option<usize>;

/// Each variable once, in the order of the steps.
pub fn lost<'s, 'f>(flow: &'s Flow<'f>, met: &[Met<'s, 'f>]) -> Vec<Lost<'s, 'f>> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for met in met {
        let unit = &flow.units[met.step.unit];
        let Some((_, Some(body))) = met.step.body else { continue };
        let inside = inside(unit, body);
        let changes = unit.file.tree.changes.iter().filter(|c| c.owner.is_some_and(|o| inside.contains(&o)));
        for change in changes {
            let name = change.name.as_str();
            let is_returned = met.step.call.assigned_to.as_deref() == Some(name);
            let is_shared = comes_from_outside(unit, name, change.owner, body);
            if is_returned || !is_shared || seen.contains(&(met.step.unit, home(unit, name, body), name)) {
                continue;
            }
            if is_read(unit, name, met.step, body, &inside) {
                seen.insert((met.step.unit, home(unit, name, body), name));
                found.push(Lost { variable: name, step: met.step, position: change.position });
            }
        }
    }
    found
}

/// A body with the closures in it that run with it.
fn inside(unit: &Unit<'_>, body: usize) -> HashSet<usize> {
    let mut inside = HashSet::from([body]);
    let mut open = vec![body];
    while let Some(owner) = open.pop() {
        let inner = unit.closures.iter().filter(|(_, closure)| closure.owner == Some(owner)).map(|(index, _)| *index);
        let inner: Vec<_> = inner.filter(|index| !unit.aside.contains(index) && inside.insert(*index)).collect();
        open.extend(inner);
    }
    inside
}

fn declares(unit: &Unit<'_>, owner: Owner, name: &str) -> bool {
    unit.file.tree.declared.iter().any(|(o, n)| *o == owner && n == name)
}

/// The function around a closure, if the closure shares a variable of this name with it and has none of its own.
fn shared_with(unit: &Unit<'_>, closure: usize, name: &str) -> Option<Owner> {
    let closure_of = unit.closures.get(&closure)?;
    let shares = closure_of.captures.iter().any(|captured| captured == name) && !declares(unit, Some(closure), name);
    shares.then_some(closure_of.owner)
}

/// Whether a variable of a closure in `body` is one from outside the body.
fn comes_from_outside(unit: &Unit<'_>, name: &str, owner: Owner, body: usize) -> bool {
    let mut at = owner;
    while let Some(closure) = at {
        let Some(outer) = shared_with(unit, closure, name) else { return false };
        if closure == body {
            return true;
        }
        at = outer;
    }
    false
}

/// The function that declares a variable which a closure uses.
fn home(unit: &Unit<'_>, name: &str, closure: usize) -> Owner {
    let mut at = Some(closure);
    while let Some(outer) = at.and_then(|closure| shared_with(unit, closure, name)) {
        at = outer;
    }
    at
}

/// Whether anything outside the body reads the variable after the step, or may.
fn is_read(unit: &Unit<'_>, name: &str, step: &Step<'_>, body: usize, inside: &HashSet<usize>) -> bool {
    let home = home(unit, name, body);
    // In a loop what stands before the step is read after it, the next time round.
    let begin = step.call.loop_begin.unwrap_or(step.call.position).min(step.call.position);
    let is_repeated = runs_elsewhere(unit, step.call.owner, home);
    let mut reads = unit.file.tree.variables.iter().filter(|v| v.is_read && v.namespace.is_empty() && v.name == name);
    reads.any(|read| {
        let is_inside = read.owner.is_some_and(|owner| inside.contains(&owner));
        let is_same = read.owner == home || read.owner.is_some_and(|owner| self::home(unit, name, owner) == home);
        let is_later = read.position > begin || is_repeated || runs_elsewhere(unit, read.owner, home);
        !is_inside && is_same && is_later
    })
}

/// Whether a closure of `home` may run at another time than where it is written. A step's body does not.
fn runs_elsewhere(unit: &Unit<'_>, owner: Owner, home: Owner) -> bool {
    let mut at = owner;
    while at != home {
        let Some(closure) = at.and_then(|index| Some((index, unit.closures.get(&index)?))) else { return false };
        if !unit.bodies.contains(&closure.0) {
            return true;
        }
        at = closure.1.owner;
    }
    false
}
