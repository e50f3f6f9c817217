//! `docs/adapting.md`, done as it is written: what the page puts into files is put there, what it types is typed, and
//! what it says is said, on a real stack that differs from the reference as the page says.

use std::collections::VecDeque;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::stack::{Run, Stack, answered, run};

const PAGE: &str = include_str!("../../docs/adapting.md");
/// Where the page has the site's scripts, its deployment, and what it calls the project.
const SCRIPTS: &str = "/etc/pgscript";
const DEPLOYMENT: &str = "/srv/cims";
const PROJECT: &str = "cims";
/// What the page's deployment has beside the reference's tables.
const CONTENT: &str = "
    CREATE TABLE public.imports (id bigserial PRIMARY KEY, begun_at timestamptz DEFAULT now(), finished_at timestamptz);
    INSERT INTO public.imports (finished_at) SELECT now() FROM generate_series(1, 20);
    CREATE MATERIALIZED VIEW public.figures AS SELECT pg_catalog.count(*) AS imports FROM public.imports;";

/// A fenced block of the page, with this site's names in it.
struct Block {
    kind: String,
    text: String,
}

struct Walk {
    stack: Stack,
    scripts: PathBuf,
}

impl Walk {
    fn new() -> Self {
        let stack = Stack::with(13, &["--service", "db"]);
        let scripts = stack.dir.join("pgscript");
        std::fs::create_dir(&scripts).unwrap();
        stack.sql("primero_production", CONTENT);
        Self { stack, scripts }
    }

    fn named(&self, text: &str) -> String {
        let (scripts, deployment) = (self.scripts.display().to_string(), self.stack.dir.display().to_string());
        // What is put in for one of them has none of the others in it.
        text.replace(SCRIPTS, &scripts).replace(DEPLOYMENT, &deployment).replace(PROJECT, &self.stack.name)
    }

    fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut parts = PAGE.split("\n```");
        parts.next();
        while let (Some(block), Some(_)) = (parts.next(), parts.next()) {
            let (kind, text) = block.split_once('\n').unwrap();
            blocks.push(Block { kind: kind.to_owned(), text: self.named(&format!("{text}\n")) });
        }
        blocks
    }

    /// A file says in its first line, or below `#!`, where it is.
    fn write(&self, text: &str) {
        let is_comment = |line: &&str| line.starts_with("# /") || line.starts_with("// /");
        let place = text.lines().take(2).find(is_comment).unwrap_or_else(|| panic!("whose content is this?\n{text}"));
        let path = Path::new(place.split_whitespace().nth(1).unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// An edit: lines that are there, with `-` those that go, with `+` those that come; `@@` before another place.
    fn edit(&self, text: &str) {
        let (name, edits) = text.strip_prefix("--- ").and_then(|rest| rest.split_once('\n')).unwrap();
        let path = self.scripts.join(name);
        let mut script = std::fs::read_to_string(&path).unwrap();
        for edit in edits.split("@@\n") {
            let side = |left_out: char| -> String {
                let lines = edit.lines().filter(|line| !line.starts_with(left_out));
                lines.map(|line| format!("{}\n", line.get(1..).unwrap_or_default())).collect()
            };
            let (before, after) = (side('+'), side('-'));
            assert_eq!(script.matches(&before).count(), 1, "{name} is to have once:\n{before}");
            script = script.replace(&before, &after);
        }
        std::fs::write(path, script).unwrap();
    }

    /// Types each command, and compares what it says with the lines below it.
    fn type_in(&self, text: &str) {
        for typed in text.split("$ ").skip(1) {
            let (line, said) = typed.split_once('\n').unwrap();
            let (line, code) = line.split_once("# exit code ").unwrap_or((line, "0"));
            let ask = || self.shell(line);
            let done = if line.contains("status") { answered(ask) } else { ask() };
            let done = done.expect(code.parse().unwrap(), &[]);
            in_order(&done.text, said, line);
        }
    }

    fn shell(&self, line: &str) -> Run {
        let program = self.stack.pgscript(&[]);
        let beside = Path::new(program.get_program()).parent().unwrap();
        let path = format!("{}:{}", beside.display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(&self.scripts).env("PATH", path);
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.env("PGSCRIPT_SITE", &self.scripts).env("NO_COLOR", "1").stdin(std::process::Stdio::null());
        run(&mut shell)
    }
}

/// All that stands in `wanted` was said in that order; at `…` something is left out.
#[track_caller]
fn in_order(said: &str, wanted: &str, by: &str) {
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let whole = squeezed(said);
    let mut rest = whole.as_str();
    let parts = wanted.lines().flat_map(|line| line.split('…')).map(squeezed);
    for part in parts.filter(|part| !part.is_empty()) {
        let Some((_, after)) = rest.split_once(&part) else { panic!("`{by}` does not say {part:?} there:\n{said}") };
        rest = after;
    }
}

#[test]
fn adapting_a_procedure_goes_as_the_page_says() {
    let walk = Walk::new();
    let blocks = walk.blocks();
    assert!(blocks.len() > 10, "the page has {} blocks", blocks.len());
    let mut blocks = VecDeque::from(blocks);
    while let Some(block) = blocks.pop_front() {
        match block.kind.as_str() {
            "toml" | "rhai" | "yaml" | "sh" => walk.write(&block.text),
            "diff" => walk.edit(&block.text),
            "console" => walk.type_in(&block.text),
            other => panic!("what is a block of {other:?} to do?\n{}", block.text),
        }
    }
    assert_eq!(walk.stack.major(), "15");
    walk.stack.writes();
    walk.stack.no_helpers_left();
}
