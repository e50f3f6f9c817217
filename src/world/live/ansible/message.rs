//! Ansible's own words about a failed task, out of what a callback printed for it.

use serde_json::Value;

/// Longest message kept; a module can print pages.
const LONGEST: usize = 600;

/// A message for people from a result's text: JSON on one or many lines, the YAML of the result format "yaml",
/// or bare text.
pub fn from_result(text: &str) -> String {
    let text = text.trim_matches(['\r', '\n']);
    let found = json(text).map(|v| from_json(&v)).or_else(|| from_yaml(text)).unwrap_or_else(|| text.trim().to_owned());
    shorten(&found)
}

/// The first JSON object of a text; callbacks may print more after it.
fn json(text: &str) -> Option<Value> {
    let text = text.trim_start();
    if !text.starts_with('{') {
        return None;
    }
    serde_json::Deserializer::from_str(text).into_iter::<Value>().next()?.ok()
}

fn from_json(result: &Value) -> String {
    // A loop's summary says only that items failed; the first failed item says why.
    let failed_item = result["results"].as_array().and_then(|r| r.iter().find(|i| i["failed"] == true));
    if let Some(item) = failed_item {
        return from_json(item);
    }
    let message = ["msg", "reason", "censored"].iter().find_map(|key| match &result[*key] {
        Value::Null => None,
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => Some(text.trim().to_owned()),
        other => Some(other.to_string()),
    });
    let text = |key: &str| result[key].as_str().map(str::to_owned);
    explain(message.unwrap_or_default(), text)
}

/// `key: value` lines at the outermost level of a YAML-like block.
fn from_yaml(text: &str) -> Option<String> {
    let message = yaml_field(text, "msg").or_else(|| yaml_field(text, "reason"))?;
    Some(explain(message, |key| yaml_field(text, key)))
}

/// "non-zero return code" alone helps nobody: adds what the command said.
fn explain(message: String, field: impl Fn(&str) -> Option<String>) -> String {
    let vague = message.is_empty()
        || message.starts_with("non-zero return code")
        || message.starts_with("MODULE FAILURE")
        || message.starts_with("Module result deserialization failed");
    if !vague {
        return message;
    }
    let said = ["stderr", "module_stderr", "stdout", "module_stdout"].iter().find_map(|key| {
        let text = field(key)?;
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty() && *l != "''").collect();
        let tail = lines[lines.len().saturating_sub(3)..].join(" / ");
        (!tail.is_empty()).then_some(tail)
    });
    match said {
        Some(said) if message.is_empty() => said,
        Some(said) => format!("{message}: {said}"),
        None => message,
    }
}

/// A field of a YAML-like block as Ansible prints it: plain, quoted, folded over lines or a literal block.
fn yaml_field(text: &str, key: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let is_key = |line: &str| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.starts_with(':'));
    // The outermost one: nested results repeat the same keys deeper.
    let at = (0..lines.len()).filter(|&i| is_key(lines[i])).min_by_key(|&i| indent(lines[i]))?;
    let own = indent(lines[at]);
    let value = lines[at].trim_start()[key.len() + 1..].trim();
    let more: Vec<&str> =
        lines[at + 1..].iter().take_while(|l| l.trim().is_empty() || indent(l) > own).map(|l| l.trim()).collect();
    let joined = |separator: &str| [&[value], more.as_slice()].concat().join(separator).trim().to_owned();
    Some(match value.chars().next() {
        Some('|') => more.join("\n").trim().to_owned(),
        Some('>') => more.join(" ").trim().to_owned(),
        Some('\'') => joined(" ").trim_matches('\'').replace("''", "'"),
        Some('"') => {
            // A backslash at a line's end escapes the break.
            let quoted = joined(" ").replace("\\ \\ ", " ").replace("\\ ", "");
            serde_json::from_str(&quoted).unwrap_or_else(|_| quoted.trim_matches('"').to_owned())
        }
        _ => joined(" "),
    })
}

fn shorten(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_gives_msg_and_what_the_command_said() {
        let result = r#"{"changed": true, "msg": "non-zero return code", "rc": 3, "stderr": "a\nerr", "stdout": "x"}"#;
        assert_eq!(from_result(result), "non-zero return code: a / err");
        assert_eq!(from_result(r#"{"msg": "line one: x\nline two\n"}"#), "line one: x\nline two");
        assert_eq!(from_result(r#"{"msg": ["a", 1]}"#), r#"["a",1]"#);
    }

    #[test]
    fn a_loop_is_explained_by_its_failed_item() {
        let result = r#"{"msg": "One or more items failed", "results": [
            {"failed": false, "msg": ""}, {"failed": true, "msg": "bad 2"}]}"#;
        assert_eq!(from_result(result), "bad 2");
    }

    #[test]
    fn yaml_values_are_read_in_each_style() {
        assert_eq!(
            from_result("    changed: false\n    msg: |-\n        line one: x\n        line two\n"),
            "line one: x\nline two"
        );
        let folded = "    msg: 'Failed to connect: port 1:\n        Connection refused'\n    unreachable: true\n";
        assert_eq!(from_result(folded), "Failed to connect: port 1: Connection refused");
        let vague = "    msg: non-zero return code\n    rc: 3\n    stderr: err\n    stderr_lines: <omitted>";
        assert_eq!(from_result(vague), "non-zero return code: err");
        assert_eq!(from_result("changed=false \n  msg: one"), "one");
    }

    #[test]
    fn bare_text_is_kept_and_shortened() {
        assert_eq!(from_result("one two\n"), "one two");
        assert_eq!(from_result(&"é".repeat(2000)).chars().count(), LONGEST + 1);
    }
}
