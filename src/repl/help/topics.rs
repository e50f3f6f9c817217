//! What is peculiar about the language, a screen each. Lines that are indented are code: a test checks them.

/// A page about the language.
pub struct Topic {
    pub name: &'static str,
    /// What it is about, in a few words.
    pub line: &'static str,
    pub text: &'static str,
}

pub const TOPICS: [Topic; 5] = [
    Topic {
        name: "steps",
        line: "what is journalled, resumed and put back",
        text: r#"What changes something outside belongs in a step: it is journalled, it does not run twice, and it can
be put back.
  step("stop the application", || app.stop(), #{ undo: || app.start() });
Its value is that of the body: plain data or handles, no functions and no secrets. Say what you need of it:
  let old = step("look", || docker::inspect(app));
Here, each input that changes something is a step by itself. `help step` has the options."#,
    },
    Topic {
        name: "strings",
        line: "quotes, back-ticks, values in texts",
        text: r#""…" is one line, with \n, \t, \" and \\ in it. Between back-ticks a text may have several lines, and
takes in values:
  let line = `${app.name} is ${app.state}`;
'x' is a single character. A text is put together by `+`; `.len`, `.contains`, `.split`, `.sub_string` and `.trim` ask
and cut.
Values don't belong in the text of SQL; psql binds them:
  let options = #{ values: #{ id: 7 } };
  psql::query(server, `SELECT * FROM cases WHERE id = :'id'`, options);"#,
    },
    Topic {
        name: "maps",
        line: "options and rows, and keys that may be missing",
        text: r#"A map is `#{ key: value }`. Reading a key that it does not have is an error, so that a slip is not
taken for nothing:
  let options = #{ timeout: 30 };
  options.timeout + 1;
Where a key may be missing, say so:
  let level = options.get("level") ?? 1;
  if "level" in options { ui::say("there is one"); }
A key is added or changed by
  options.set("level", 3);"#,
    },
    Topic {
        name: "errors",
        line: "catching and raising them",
        text: r#"An error has a `code` that stays the same, a `message` for people, and a `hint` (`()` where there is
none):
  try { app.stop(); } catch (e) { ui::warn(`${e.code}: ${e.message}`); }
  if !docker::exists("web") { fail("site.no_web", "there is no web"); }
`refuse` is for checks that come before the work; `throw e` passes a caught error on. Ctrl-C can't be caught."#,
    },
    Topic {
        name: "guards",
        line: "what is refused without proof",
        text: r#"What would lose data is refused until this run has proved that it is somewhere else: a volume is
removed only after
  volume::verify(volume::backup(volume, "/backups/one.tar.zst"));
  volume.remove();
So it is with a database's container, with the last copy of a backup or dump, and with an application whose database was
put aside. The error (`volume.unproven`, `guard.…`) says what to do first. No script gets around that; only whoever
starts pgscript does, by naming the one thing to lose: --allow-data-loss volume:NAME, container:NAME, artefact:PATH or
fence:PROJECT."#,
    },
];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::Silent;
    use crate::script::check::Checker;
    use crate::script::engine::Language;
    use crate::script::loader::Places;
    use crate::script::source::{Origin, Source};

    #[test]
    fn the_code_of_each_topic_passes_the_check() {
        for topic in TOPICS {
            let code: Vec<_> = topic.text.lines().filter(|line| line.starts_with("  ")).collect();
            assert!(!code.is_empty(), "{}", topic.name);
            let given = "let app = docker::container(\"app\");\nlet server = psql::server(app);\n\
                         let volume = volume::inspect(\"data\");\n";
            let text = format!("{given}{}\n", code.join("\n"));
            let source =
                Source { id: "topic".into(), name: "topic".into(), origin: Origin::BuiltIn, text: text.into() };
            let language = Language::new(Places::new(None).unwrap(), Arc::new(Silent), None);
            let findings = Checker::new(&language).check(&source);
            let errors: Vec<_> = findings.iter().filter(|f| !f.is_warning).map(|f| f.report.render()).collect();
            assert!(errors.is_empty(), "{}: {}", topic.name, errors.join("\n"));
        }
    }

    #[test]
    fn what_is_said_of_maps_is_true() {
        let language = Language::new(Places::new(None).unwrap(), Arc::new(Silent), None);
        let eval = |script: &str| language.engine.eval::<i64>(script).ok();
        assert_eq!(eval("let options = #{ timeout: 30 }; options.level"), None);
        assert_eq!(eval("let options = #{}; options.set(\"level\", 3); options.level"), Some(3));
        assert_eq!(eval("let options = #{}; options.get(\"level\") ?? 1"), Some(1));
    }
}
