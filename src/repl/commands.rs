//! Short forms of what a session can do: `.undo deploy` for `session::undo("deploy")`.

/// A command, and the plain Rhai it stands for.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// With its dot: `.undo`.
    pub name: &'static str,
    /// What the operator is to fill in: `STEP`, `[LINES]`; empty without any.
    pub arguments: &'static str,
    /// What it does; lists show the first sentence.
    pub help: &'static str,
    /// `session::undo(STEP)`
    pub rhai: &'static str,
}

const fn command(name: &'static str, arguments: &'static str, rhai: &'static str, help: &'static str) -> Command {
    Command { name, arguments, help, rhai }
}

/// All of them, in the order in which an operator needs them.
pub const ALL: [Command; 21] = [
    command(".status", "", "session::status()", "Where the run stands: is the data safe, where is it, what to type."),
    command(".copies", "", "session::copies()", "Where complete copies of the data are, and what was proved of them."),
    command(".steps", "", "session::steps()", "The steps that have begun, and what became of them."),
    command(".next", "", "session::next()", "What resume would do first."),
    command(
        ".plan",
        "",
        "session::plan()",
        "All steps of the script: what is done, what is to come, what has a way back.",
    ),
    command(".journal", "[LINES]", "session::journal(20)", "The last lines of the journal, in plain words."),
    command(".step", "", "session::step()", "Goes on by one step of the script, and stops before the next one."),
    command(
        ".retry",
        "[STEP]",
        "session::retry(\"STEP\")",
        "Runs a failed or cut off step again, and stops before the next one.",
    ),
    command(
        ".skip",
        "STEP",
        "session::skip(\"STEP\")",
        "Decides that a failed or cut off step need not happen; half way back, that it was put back by hand. Nothing \
         is run yet.",
    ),
    command(
        ".accept",
        "STEP = VALUE",
        "session::accept(\"STEP\", VALUE)",
        "Decides that a cut off step has happened, and what it gave; nothing is run yet.",
    ),
    command(
        ".resume",
        "[--accept-changes | --as-recorded]",
        "session::resume()",
        "Goes on with the script to its end.",
    ),
    command(".undo", "[STEP]", "session::undo(\"STEP\")", "Puts back the last step, and nothing before it."),
    command(".rollback", "", "session::rollback()", "Puts back everything, as `pgscript rollback` does."),
    command(".edit", "", "session::edit()", "Opens the run's script in your editor, else your last input."),
    command(
        ".sql",
        "CONTAINER [DATABASE]",
        "psql::terminal(psql::server(docker::container(\"CONTAINER\")))",
        "An interactive psql in a container.",
    ),
    command(".sh", "CONTAINER", "docker::terminal(docker::container(\"CONTAINER\"))", "A shell in a container."),
    command(
        ".logs",
        "CONTAINER [LINES]",
        "docker::logs(docker::container(\"CONTAINER\"), 100)",
        "The last lines that a container has written.",
    ),
    command(".save", "FILE", "session::save(\"FILE\")", "Writes this session as a script that can be run."),
    command(".run", "RUN", "session::open(\"RUN\")", "Goes to another run."),
    command(".help", "[TOPIC]", "session::help(\"TOPIC\")", "Explains a function, a namespace, a type, a command."),
    command(".exit", "", "session::exit()", "Leaves, and says what is unfinished. Ctrl-D does too."),
];

/// The command that a line begins with, if it is one; `help` and `exit` need no dot.
pub fn find(line: &str) -> Option<(Result<&'static Command, String>, &str)> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let is_command = word.starts_with('.') && word[1..].starts_with(|c: char| c.is_ascii_alphabetic());
    let name = match word {
        "exit" | "quit" if rest.is_empty() => ".exit",
        "help" | "?" => ".help",
        ".quit" => ".exit",
        word if is_command => word,
        _ => return None,
    };
    let known = ALL.iter().find(|command| command.name == name);
    Some((known.ok_or_else(|| name.to_owned()), rest.trim()))
}

/// The plain Rhai that a command with these arguments stands for.
pub fn rhai(command: &Command, rest: &str) -> String {
    let function = command.rhai.split('(').next().unwrap_or(command.rhai);
    let words: Vec<_> = rest.split_whitespace().collect();
    if let (".sql" | ".sh" | ".logs", [container, further @ ..]) = (command.name, &words[..]) {
        return at_container(command.name, container, further.first().copied());
    }
    let arguments = match command.name {
        ".resume" => match rest {
            "--accept-changes" => "#{ accept_changes: true }".into(),
            "--as-recorded" => "#{ as_recorded: true }".into(),
            other => text(other),
        },
        ".accept" => match unquoted(rest).split_once('=') {
            Some((step, value)) => format!("{}, {}", text(step), value.trim()),
            None => text(rest),
        },
        ".journal" => rest.to_owned(),
        _ => text(rest),
    };
    format!("{function}({arguments})")
}

/// What is done at a container that is named; how a terminal's program ended is nothing to show.
fn at_container(command: &str, container: &str, further: Option<&str>) -> String {
    let container = format!("docker::container({})", text(container));
    match (command, further) {
        (".sql", None) => format!("psql::terminal(psql::server({container})); ()"),
        (".sql", Some(database)) => {
            format!("psql::terminal(psql::server({container}), #{{ database: {} }}); ()", text(database))
        }
        (".sh", _) => format!("docker::terminal({container}); ()"),
        (_, lines) => format!("docker::logs({container}, {})", lines.unwrap_or("100")),
    }
}

/// A text in which the commands of the shell that drive `run` have their short forms: in the session they are typed so.
pub fn in_session(text: &str, run: &str) -> String {
    let long = |command: &str| format!("pgscript {command} {run}");
    let decided = [("resume", "retry"), ("resume", "skip"), ("resume", "accept"), ("rollback", "skip")];
    let text = decided.iter().fold(text.to_owned(), |text, (command, decision)| {
        text.replace(&format!("{} --{decision} ", long(command)), &format!(".{decision} "))
    });
    ["resume", "rollback", "status"]
        .iter()
        .fold(text, |text, command| replace_word(&text, &long(command), &format!(".{command}")))
}

/// Not in `upgrade-70` where `upgrade-7` is meant.
fn replace_word(text: &str, from: &str, to: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let after = &rest[at + from.len()..];
        out.push_str(&rest[..at]);
        out.push_str(if after.starts_with(|c: char| c.is_alphanumeric()) { from } else { to });
        rest = after;
    }
    out + rest
}

/// A text as Rhai writes it; nothing where there is none. Quotes around it may be left out.
fn text(given: &str) -> String {
    match unquoted(given) {
        "" => String::new(),
        bare => format!("\"{}\"", bare.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

fn unquoted(given: &str) -> &str {
    let given = given.trim();
    ['"', '\'', '`'].iter().find_map(|quote| given.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_typed_is_told_as_it_is_typed_here() {
        let text = "pgscript resume upgrade-7 --retry 'dump'\nor pgscript rollback upgrade-7\n\
             pgscript resume upgrade-70\npgscript rollback upgrade-7 --skip 'dump'";
        let told = ".retry 'dump'\nor .rollback\npgscript resume upgrade-70\n.skip 'dump'";
        assert_eq!(in_session(text, "upgrade-7"), told);
    }

    fn translated(line: &str) -> Option<String> {
        let (command, rest) = find(line)?;
        Some(rhai(command.unwrap(), rest))
    }

    #[test]
    fn every_command_is_plain_rhai() {
        for (line, expected) in [
            (".undo deploy the new version", r#"session::undo("deploy the new version")"#),
            (".undo 'deploy'", r#"session::undo("deploy")"#),
            (".undo", "session::undo()"),
            (r#".skip say "hi""#, r#"session::skip("say \"hi\"")"#),
            (".accept count the rows = 17", r#"session::accept("count the rows", 17)"#),
            (".accept 'count = \"x\"'", r#"session::accept("count", "x")"#),
            (".resume --accept-changes", "session::resume(#{ accept_changes: true })"),
            (".journal 50", "session::journal(50)"),
            (".sql db", r#"psql::terminal(psql::server(docker::container("db"))); ()"#),
            (".sql db app", r#"psql::terminal(psql::server(docker::container("db")), #{ database: "app" }); ()"#),
            (".sh db", r#"docker::terminal(docker::container("db")); ()"#),
            (".logs db", r#"docker::logs(docker::container("db"), 100)"#),
            (".logs db 7", r#"docker::logs(docker::container("db"), 7)"#),
            ("help docker::stop", r#"session::help("docker::stop")"#),
            ("exit", "session::exit()"),
        ] {
            assert_eq!(translated(line).as_deref(), Some(expected), "{line}");
        }
        assert!(find(".5 + 1").is_none() && find("exit()").is_none() && find("let help = 1").is_none());
        assert_eq!(find(".nonsense 1").unwrap().0.unwrap_err(), ".nonsense");
    }
}
