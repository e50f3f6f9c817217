//! The line editor of the recovery shell: reads one complete input, of several lines where need be, with completion,
//! hints, colours and a history.
//!
//! `scan` reads text that is not finished; `cursor` says where in it the cursor stands, `known` what the names there
//! stand for. `complete`, `hint` and `highlight` build on these and know no terminal; `helper` hands them to rustyline.
//! `history` is the file; `plain` serves terminals that can't be edited on, and pipes.

mod candidate;
mod complete;
mod cursor;
mod files;
mod highlight;
mod hint;
mod known;
mod names;
mod options;
pub mod scan;

/// What is known around the cursor beside the language itself. Asked while a line is edited, one list at a time, so it
/// must answer at once; what has to be fetched may take a moment the first time.
pub trait Surroundings {
    /// The session's variables.
    fn variables(&self) -> Vec<Variable>;
    /// The keys of a variable that is a map.
    fn keys(&self, variable: &str) -> Vec<String>;
    /// Signatures of the session's own functions: `check(site, to)`.
    fn functions(&self) -> Vec<String>;
    /// Aliases of imported modules, with the signatures of their functions.
    fn modules(&self) -> Vec<(String, Vec<String>)>;
    /// Names of the run's steps.
    fn steps(&self) -> Vec<String>;
    fn containers(&self) -> Vec<String>;
    fn volumes(&self) -> Vec<String>;
    fn databases(&self) -> Vec<String>;
    /// What begins with a dot.
    fn commands(&self) -> Vec<CommandShape>;
    /// What `help` knows beside the language and the commands.
    fn topics(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A variable of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    /// As the reference has it: `Container`, `string`, `Map` …
    pub type_name: String,
}

/// A command of the shell and what may follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandShape {
    /// With its dot: `.undo`.
    pub name: String,
    pub arguments: Vec<ArgumentKind>,
}

/// What an argument of a command is. Arguments are separated by blanks; the last one may hold blanks, as names of steps do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgumentKind {
    Step,
    Container,
    Volume,
    Database,
    /// A path of this machine.
    File,
    /// What `help` takes.
    Topic,
    /// One of the session's variables.
    Variable,
    /// One of these words.
    Word(Vec<String>),
    Number,
    Text,
}

#[cfg(test)]
mod testing {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::sync::Arc;

    use super::known::Known;
    use super::*;
    use crate::script::api;

    /// A session with a few things in it, which notes what it was asked for.
    #[derive(Default)]
    pub struct Session {
        pub asked: RefCell<Vec<&'static str>>,
    }

    impl Session {
        fn note(&self, what: &'static str, names: &[&str]) -> Vec<String> {
            self.asked.borrow_mut().push(what);
            names.iter().map(|name| (*name).to_owned()).collect()
        }
    }

    impl Surroundings for Session {
        fn variables(&self) -> Vec<Variable> {
            self.asked.borrow_mut().push("variables");
            let variables =
                [("c", "Container"), ("data", "Volume"), ("row", "Map"), ("db", "Server"), ("site", "string")];
            variables.map(|(name, type_name)| Variable { name: name.into(), type_name: type_name.into() }).into()
        }

        fn keys(&self, variable: &str) -> Vec<String> {
            if variable == "row" { self.note("keys", &["id", "name", "two words"]) } else { Vec::new() }
        }

        fn functions(&self) -> Vec<String> {
            self.note("functions", &["check(site, to)", "clean()"])
        }

        fn modules(&self) -> Vec<(String, Vec<String>)> {
            vec![("primero".into(), self.note("modules", &["stop(project)", "sites()"]))]
        }

        fn steps(&self) -> Vec<String> {
            self.note("steps", &["stop the application", "back up"])
        }

        fn containers(&self) -> Vec<String> {
            self.note("containers", &["primero-app-1", "primero-postgres-1", "odd\"name\u{1b}"])
        }

        fn volumes(&self) -> Vec<String> {
            self.note("volumes", &["primero_data", "primero_files"])
        }

        fn databases(&self) -> Vec<String> {
            self.note("databases", &["primero", "postgres"])
        }

        fn commands(&self) -> Vec<CommandShape> {
            let command = |name: &str, arguments: &[ArgumentKind]| CommandShape {
                name: name.into(),
                arguments: arguments.to_vec(),
            };
            use ArgumentKind::*;
            vec![
                command(".steps", &[]),
                command(".undo", &[Step]),
                command(".save", &[File]),
                command(".logs", &[Container, Number]),
                command(".help", &[Topic]),
                command(".format", &[Word(vec!["table".into(), "json".into()])]),
            ]
        }

        fn topics(&self) -> Vec<String> {
            vec!["guards".into()]
        }
    }

    pub fn known() -> (Known, Rc<Session>) {
        let session = Rc::new(Session::default());
        let reference = Arc::new(api::register(&mut rhai::Engine::new(), None));
        (Known { reference, surroundings: session.clone() }, session)
    }
}
