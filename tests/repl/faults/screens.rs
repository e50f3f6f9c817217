//! Terminals that are narrow, old, or change.
use super::*;

#[test]
fn explore() {
    let place = crate::failed();
    let narrow = |arguments: &[&str]| seat(&place, arguments).size(40, 60);
    let (mut shell, greeting) = Shell::open(narrow(&["--run", "1"]), "main-1 (failed)> ");
    eprintln!("{greeting}\n~~~~");
    for line in ["help", "help docker::create", ".steps", ".plan", ".next", ".journal", "run::list()", "host::read(\"nothing/that/is/there/at/all/in/this/place\")", "let some_variable = 1 + docker::container(\"x\").name + nothing_of_this_name", ".resume", ".nonsense", "host::run([\"echo\", \"a long line that does not fit into forty columns\"])", "#{a: \"some words that are many and many\", b: [1,2,3]}"] {
        let said = shell.enter(line, &[]);
        eprintln!("> {line}\n{said}");
    }
    shell.terminal.type_keys("docker::c\t");
    std::thread::sleep(std::time::Duration::from_secs(1));
    eprintln!("{}", shell.terminal.screen());
}
