//! What a program of the site prints of a secret.

use super::*;

const SECRET: &str = "it's a $ecret \"p/ss\\word\"";

/// A deploy that prints its environment as shells, Compose, JSON, URLs and base64 have it.
const PRINTS: &str = r#"
let password = param("password", #{ help: "the password", type: "secret" });
step("deploy", || host::run(["sh", "print.sh"], #{ env: #{ P: password }, stream: true }).stdout.len(),
    #{ repeatable: true });
"#;

const PRINT: &str = r#"
printf 'plain %s\n' "$P"
printf "quoted '%s'\n" "$(printf %s "$P" | sed "s/'/'\\\\\\\\''/g")"
printf 'escaped %s\n' "$(printf %s "$P" | sed 's/[^a-z]/\\&/g')"
printf 'json "%s"\n' "$(printf %s "$P" | sed 's/["\\]/\\&/g; s,/,\\/,g')"
printf 'compose "%s"\n' "$(printf %s "$P" | sed 's/["\\]/\\&/g; s/[$]/$$/g')"
printf 'sql %s\n' "$(printf %s "$P" | sed "s/'/''/g")"
echo 'url it%27s%20a%20%24ecret%20%22p%2Fss%5Cword%22 it%27s+a+%24ecret+%22p%2fss%5cword%22'
printf 'base64 %s\n' "$(printf %s "$P" | base64)"
printf 'basic %s\n' "$(printf 'primero:%s' "$P" | base64)"
head -c 65520 /dev/zero | tr '\0' . ; printf '%s\n' "$P"
"#;

#[test]
fn secret_in_another_form() {
    let place = Place::new(PRINTS);
    place.write("work/print.sh", PRINT);
    let ran = place.with_env(&["run", "../main.rhai"], &[("PGSCRIPT_PASSWORD", SECRET), ("LC_ALL", "C.UTF-8")]);
    let shown = ran.stdout.replace(&"....".repeat(10), "");
    for form in
        ["plain D", "quoted 'D'", "escaped D", "json \"D\"", "compose \"D\"", "sql D", "url D D", "base64 D", "basic "]
    {
        let form = form.replace('D', "••••••");
        assert!(shown.contains(&form), "{form} is not in {shown}{}", ran.stderr);
    }
    let log = place.read("runs/main-1/log.jsonl");
    for text in [&ran.stdout, &ran.stderr, &log, &place.read("runs/main-1/journal.jsonl")] {
        for part in ["ecret", "ss\\word", "p%2", "JGVjcmV0", "IgYSAkZWNy", "BhICRlY3JldC"] {
            assert!(!text.contains(part), "{part} in {}", text.replace(&"....".repeat(10), ""));
        }
    }
}
