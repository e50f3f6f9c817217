//! Reads a playbook's output line by line, as any of the usual stdout callbacks prints it.
//!
//! The recap at the end is the authority on which host failed; the lines before it tell where and why.
//! The callbacks "minimal" and "oneline" print no recap: their result lines are counted instead.

use super::{message, recap};
use crate::world::ansible::Recap;

/// A task that failed on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub host: String,
    /// Empty where the callback doesn't print tasks.
    pub task: String,
    pub unreachable: bool,
    /// The play went on (`ignore_errors`).
    pub ignored: bool,
    pub message: String,
}

/// What was understood of the output so far.
#[derive(Debug, Default)]
pub struct Transcript {
    pub recap: Recap,
    pub recap_seen: bool,
    /// Counted from result lines, for callbacks without a recap.
    pub tally: Recap,
    pub failures: Vec<Failure>,
    /// "skipping: no hosts matched"
    pub no_hosts_matched: bool,
    /// Host patterns that matched nothing, from the warnings.
    pub unmatched: Vec<String>,
    /// The text of `ERROR! …` or `[ERROR]: …`, the last one.
    pub error: String,
    task: String,
    /// The result whose lines still come, per stream: failures may go to stderr (`display_failed_stderr`).
    open: [Option<Block>; 2],
    in_error: [bool; 2],
    /// The callback "debug" prints `MSG:` and the text below the result.
    section: Option<String>,
}

#[derive(Debug)]
struct Block {
    /// Index into `failures`.
    failure: usize,
    text: String,
    /// Bare text of the callback "minimal": everything to the next result belongs to it.
    bare: bool,
    /// The line before was cut for its length; the next one continues it.
    cut: bool,
}

/// Lines are handed on in pieces of 64 KiB; one piece is about that long.
const CUT: usize = 60 * 1024;

/// Longest text of one result that is kept for its message.
const LONGEST_BLOCK: usize = 256 * 1024;
const LONGEST_ERROR: usize = 1200;

impl Transcript {
    /// Takes one line, without its end.
    pub fn feed(&mut self, stderr: bool, line: &str) {
        let (stream, line) = (usize::from(stderr), line.trim_end());
        if self.error_line(stream, line) || self.continues(stream, line) {
            return;
        }
        self.close(stream);
        self.start(stream, line);
    }

    /// No more lines come.
    pub fn finish(&mut self) {
        self.close(0);
        self.close(1);
    }

    /// Takes warnings and errors, which recent releases print among the results, older ones on stderr.
    fn error_line(&mut self, stream: usize, line: &str) -> bool {
        if let Some(pattern) = line.strip_prefix("[WARNING]: Could not match supplied host pattern, ignoring: ") {
            self.unmatched.push(pattern.trim().to_owned());
        }
        if let Some(text) = line.strip_prefix("ERROR! ").or_else(|| line.strip_prefix("[ERROR]: ")) {
            self.in_error[stream] = true;
            text.clone_into(&mut self.error);
            return true;
        }
        if line.starts_with("[WARNING]") || default_result(line).is_some() || is_heading(line) {
            self.in_error[stream] = false;
        }
        if self.in_error[stream] && self.error.len() < LONGEST_ERROR {
            self.error.push('\n');
            self.error.push_str(line);
        }
        self.in_error[stream] || line.starts_with("[WARNING]")
    }

    /// Adds the line to the result that is still open, if it belongs there.
    fn continues(&mut self, stream: usize, line: &str) -> bool {
        let Some(block) = &mut self.open[stream] else { return self.section_line(line) };
        let belongs =
            if block.bare { bar_result(line).is_none() } else { line.starts_with([' ', '\t', '}', ']']) || block.cut };
        if belongs && block.text.len() < LONGEST_BLOCK {
            if !block.cut {
                block.text.push('\n');
            }
            block.text.push_str(line);
            block.cut = line.len() >= CUT;
        }
        belongs
    }

    /// The sections below a result that the callback "debug" prints.
    fn section_line(&mut self, line: &str) -> bool {
        if let Some(text) = &mut self.section {
            let ends = is_heading(line) || (line.is_empty() && !text.is_empty());
            if !ends {
                text.push_str(line);
                return true;
            }
            let text = std::mem::take(text);
            self.section = None;
            if let Some(failure) = self.failures.last_mut() {
                failure.message = message::from_result(&text);
            }
        }
        if line == "MSG:" && !self.failures.is_empty() {
            self.section = Some(String::new());
            return true;
        }
        false
    }

    /// The open result is whole: its message can be read.
    fn close(&mut self, stream: usize) {
        if let Some(block) = self.open[stream].take() {
            self.failures[block.failure].message = message::from_result(&block.text);
        }
    }

    fn start(&mut self, stream: usize, line: &str) {
        if recap::is_heading(line) {
            self.recap_seen = true;
            self.recap.clear();
        } else if let Some(name) = task_name(line) {
            self.task = name;
        } else if line == "skipping: no hosts matched" {
            self.no_hosts_matched = true;
        } else if line == "...ignoring" {
            self.ignore_last();
        } else if self.recap_seen
            && let Some((host, counts)) = recap::host_line(line)
        {
            self.recap.insert(host, counts);
        } else if let Some((host, unreachable, rest)) = default_result(line).or_else(|| unixy_result(line)) {
            self.begin(stream, host, unreachable, rest, false);
        } else if let Some((host, state, rest)) = bar_result(line) {
            self.count(host, state);
            if state.starts_with("FAILED") || state.starts_with("UNREACHABLE") {
                self.begin(stream, host, state.starts_with("UNREACHABLE"), rest, !rest.starts_with('{'));
            }
        }
    }

    fn begin(&mut self, stream: usize, host: &str, unreachable: bool, text: &str, bare: bool) {
        // "alpha -> localhost": the task was delegated, the failure is alpha's.
        let host = host.split(" -> ").next().unwrap_or(host).to_owned();
        let task = self.task.clone();
        self.failures.push(Failure { host, task, unreachable, ignored: false, message: String::new() });
        self.open[stream] =
            Some(Block { failure: self.failures.len() - 1, text: text.to_owned(), bare, cut: text.len() >= CUT });
    }

    /// `...ignoring` speaks of the result just printed, with all its items.
    fn ignore_last(&mut self) {
        let Some(last) = self.failures.last().cloned() else { return };
        for failure in self.failures.iter_mut().rev() {
            if failure.host != last.host || failure.task != last.task {
                break;
            }
            failure.ignored = true;
        }
    }

    fn count(&mut self, host: &str, state: &str) {
        let counts = self.tally.entry(host.to_owned()).or_default();
        match state.trim_end_matches('!') {
            "CHANGED" => {
                counts.ok += 1;
                counts.changed += 1;
            }
            "SKIPPED" => counts.skipped += 1,
            "FAILED" => counts.failed += 1,
            "UNREACHABLE" => counts.unreachable += 1,
            _ => counts.ok += 1,
        }
    }
}

fn is_heading(line: &str) -> bool {
    recap::is_heading(line) || line.starts_with("PLAY [") || task_name(line).is_some()
}

/// `TASK [role : name] ****` or `RUNNING HANDLER [name] ****`
fn task_name(line: &str) -> Option<String> {
    let rest = line.strip_prefix("TASK [").or_else(|| line.strip_prefix("RUNNING HANDLER ["))?;
    let end = rest.rfind(']').unwrap_or(rest.len());
    Some(rest[..end].to_owned())
}

/// `fatal: [host]: FAILED! => …`, `fatal: [host]: UNREACHABLE! => …` or `failed: [host] (item=…) => …`:
/// host, whether unreachable, and what follows.
fn default_result(line: &str) -> Option<(&str, bool, &str)> {
    let (line, item) = match line.strip_prefix("fatal: [") {
        Some(rest) => (rest, false),
        None => (line.strip_prefix("failed: [")?, true),
    };
    let (host, rest) = line.split_once(']')?;
    let (head, text) = rest.split_once(" => ").or_else(|| rest.split_once(" =>")).unwrap_or((rest, ""));
    Some((host, !item && head.contains("UNREACHABLE!"), text))
}

/// `  host failed | msg: … | stderr: …` of the callback "unixy".
fn unixy_result(line: &str) -> Option<(&str, bool, &str)> {
    let (host, rest) = line.strip_prefix("  ")?.split_once(' ')?;
    let (unreachable, rest) = match rest.strip_prefix("failed") {
        Some(rest) => (false, rest),
        None => (true, rest.strip_prefix("unreachable")?),
    };
    let text = rest.strip_prefix(" | msg: ").or_else(|| rest.strip_prefix(" | "))?;
    (!host.is_empty()).then_some((host, unreachable, text))
}

/// `host | STATE! => {` or `host | STATE | rc=0 >>` of the callbacks "minimal" and "oneline".
fn bar_result(line: &str) -> Option<(&str, &str, &str)> {
    let (host, rest) = line.split_once(" | ")?;
    let end = rest.find(' ').unwrap_or(rest.len());
    let (state, rest) = rest.split_at(end);
    let known = ["SUCCESS", "CHANGED", "SKIPPED", "FAILED", "FAILED!", "UNREACHABLE!"].contains(&state);
    let rest = rest.trim_start_matches([' ', '=', '>', '|']);
    let rest = rest.split_once(">>").map_or(rest, |(_, after)| after);
    (known && !host.is_empty() && !host.contains(' ')).then_some((host, state, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str) -> Transcript {
        let mut transcript = Transcript::default();
        output.lines().for_each(|line| transcript.feed(false, line));
        transcript.finish();
        transcript
    }

    /// What counts in the end: failures that were not ignored, as `host/task/message`.
    fn failures(transcript: &Transcript) -> Vec<String> {
        let kept = transcript.failures.iter().filter(|f| !f.ignored);
        let mut lines: Vec<String> = kept.map(|f| format!("{}/{}/{}", f.host, f.task, f.message)).collect();
        lines.sort();
        lines
    }

    const WITH_TASKS: [&str; 5] = [
        "alpha/deploy the app/non-zero return code: err",
        "alpha/rescued one/not this",
        "beta/items/bad 1",
        "beta/items/bad 2",
        "beta/rescued one/not this",
    ];

    #[test]
    fn the_default_callback_in_json_yaml_and_of_a_recent_release() {
        for output in [
            include_str!("captured/default.txt"),
            include_str!("captured/yaml.txt"),
            include_str!("captured/core-2.19.txt"),
        ] {
            let transcript = read(output);
            assert_eq!(failures(&transcript), WITH_TASKS);
            assert_eq!(transcript.recap["alpha"].failed, 1);
            assert_eq!((transcript.recap["beta"].rescued, transcript.recap.len()), (1, 2));
        }
    }

    #[test]
    fn callbacks_without_recap_are_counted() {
        for (output, last) in [
            (include_str!("captured/minimal.txt"), "oneerrnon-zero return code"),
            (include_str!("captured/oneline.txt"), "non-zero return code: err"),
        ] {
            let transcript = read(output);
            assert!(!transcript.recap_seen);
            assert_eq!((transcript.tally["alpha"].failed, transcript.tally["beta"].failed), (3, 3));
            assert_eq!(transcript.tally["alpha"].skipped, 1);
            assert_eq!(transcript.failures.last().unwrap().message, last);
            assert!(transcript.failures.iter().any(|f| f.host == "beta" && f.message == "bad 1"));
        }
    }

    #[test]
    fn unreachable_hosts_are_told_apart() {
        let transcript = read("TASK [reach] ***\nfatal: [gone]: UNREACHABLE! => {\"msg\": \"Failed to connect\"}\n");
        let failure = &transcript.failures[0];
        assert_eq!((failure.unreachable, &*failure.host, &*failure.message), (true, "gone", "Failed to connect"));
    }

    #[test]
    fn callbacks_debug_and_unixy_are_understood() {
        let debug =
            read("TASK [x] ***\nfatal: [a]: FAILED! => {\n    \"rc\": 1\n}\n\nMSG:\n\nit broke\n\nPLAY RECAP ***\n");
        assert_eq!(failures(&debug), ["a/x/it broke"]);
        let unixy =
            read("  web failed | msg: it broke\n\n- Play recap -\n  web : ok=1 changed=0 unreachable=0 failed=1\n");
        assert_eq!(failures(&unixy), ["web//it broke"]);
        assert_eq!(unixy.recap["web"].failed, 1);
    }

    #[test]
    fn a_recap_inside_a_result_is_not_the_recap() {
        let nested =
            "ok: [a] =>\n    stdout: |-\n        PLAY RECAP ***\n        b : ok=1 changed=0 unreachable=0 failed=1\n";
        assert!(read(nested).recap.is_empty());
    }

    #[test]
    fn a_result_that_comes_in_pieces_is_joined() {
        let line = format!("fatal: [a]: FAILED! => {{\"cmd\": \"{}\", \"msg\": \"the end\"}}", "x".repeat(70_000));
        let mut transcript = Transcript::default();
        for piece in [&line[..65_536], &line[65_536..]] {
            transcript.feed(false, piece);
        }
        transcript.finish();
        assert_eq!(failures(&transcript), ["a//the end"]);
    }

    #[test]
    fn errors_and_warnings_are_read_on_either_stream() {
        let mut transcript = Transcript::default();
        transcript.feed(true, "[WARNING]: Could not match supplied host pattern, ignoring: typo");
        transcript.feed(true, "ERROR! the playbook: x.yml could not be found");
        assert_eq!(transcript.unmatched, ["typo"]);
        assert_eq!(transcript.error, "the playbook: x.yml could not be found");
    }
}
