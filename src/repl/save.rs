//! A session as a script: what it did, in the order in which it did it, to be run again, and to be made a procedure of.

mod draft;
mod split;
mod steps;
mod write;

use self::draft::{Draft, Form};
use crate::script::loader::Places;

/// One input of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    pub text: String,
    /// Whether it changed something outside, or had begun to.
    pub had_effect: bool,
    /// Why it failed.
    pub error: Option<String>,
    /// `.undo STEP` and the like.
    pub is_command: bool,
    /// When it was typed, for people; empty where that is not known.
    pub when: String,
}

/// The session as a script that passes `pgscript check` and does the same when it is run.
///
/// Imports come first, then functions (of two with one name and as many parameters the last), then the inputs. What
/// changes something outside is a step; a variable that is declared or changed there is what the step gives, so that a
/// resumed run has it too. What failed, and commands, are comments; but a variable, function or module that an input
/// left behind before it failed is kept where a later one uses it. What would keep the script from being read is a
/// comment as well, with the reason. Modules are looked for in `places` and in the working directory.
pub fn script(inputs: &[Saved], places: &Places) -> String {
    let mut draft = Draft::new(inputs, places);
    // As it was typed; then with everything in a step, to see what changes something.
    draft.put_right(Form::Typed);
    draft.put_right(Form::Probed);
    draft.make_steps();
    draft.put_right(Form::Saved);
    draft.render(Form::Saved).text
}

#[cfg(test)]
mod tests;
