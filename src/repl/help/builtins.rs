//! Functions of Rhai itself (`push`, `split`), as the engine documents them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rhai::Engine;

/// A function of the language.
pub struct Builtin {
    pub name: String,
    /// What it does, and the signatures for which that holds: `remove` is one thing for arrays, another for maps.
    pub forms: Vec<(String, Vec<String>)>,
}

impl Builtin {
    pub fn doc(&self) -> &str {
        self.forms.first().map_or("", |(doc, _)| doc)
    }
}

/// Those that have a name and a description, by name.
pub fn all() -> Vec<Builtin> {
    let mut described = Engine::new().collect_fn_metadata(
        None,
        |info| {
            let metadata = info.metadata;
            let is_name = metadata.name.starts_with(|c: char| c.is_ascii_alphabetic()) && !metadata.name.contains('$');
            let doc: Vec<_> = metadata.comments.iter().flat_map(|comment| comment.lines()).map(line).collect();
            (is_name && !doc.is_empty())
                .then(|| (metadata.name.to_string(), metadata.gen_signature(type_name), doc.join("\n")))
        },
        true,
    );
    // The engine has them in no order.
    described.sort();
    let mut functions: BTreeMap<String, Builtin> = BTreeMap::new();
    for (name, signature, doc) in described {
        let signature = signature.split(" -> ").next().unwrap_or_default().to_owned();
        let known = functions.entry(name.clone()).or_insert_with(|| Builtin { name, forms: Vec::new() });
        match known.forms.iter_mut().find(|(same, _)| *same == doc) {
            Some((_, signatures)) if signatures.contains(&signature) => {}
            Some((_, signatures)) => signatures.push(signature),
            None => known.forms.push((doc, vec![signature])),
        }
    }
    functions.into_values().collect()
}

/// A line of a comment without its mark.
fn line(comment: &str) -> &str {
    let text = comment.trim_start().trim_start_matches("///");
    text.strip_prefix(' ').unwrap_or(text)
}

/// The engine's name of a type as scripts call it.
fn type_name(name: &str) -> Cow<'_, str> {
    let name = name.trim_start_matches("&mut ").trim_start_matches('&').trim();
    Cow::Borrowed(match name.rsplit("::").next().unwrap_or(name) {
        "INT" | "i64" => "int",
        "FLOAT" | "f64" => "float",
        "str" | "String" | "ImmutableString" => "string",
        "Dynamic" => "any",
        "FnPtr" => "Fn",
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_languages_own_functions_have_names_and_words() {
        let all = all();
        for wanted in ["push", "split", "len", "keys", "trim", "filter"] {
            assert!(all.iter().any(|f| f.name == wanted && !f.doc().is_empty()), "{wanted}");
        }
        let push = all.iter().find(|f| f.name == "push").unwrap();
        assert_eq!(push.forms[0].1, ["push(array: Array, item: any)"]);
    }
}
