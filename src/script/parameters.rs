//! Parameters of a script: declared by `param`, given on the command line, in a file, in the environment or by
//! default, asked for on a terminal, and the same for the whole run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rhai::{Array, Dynamic};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::api::call::{Call, Options};
use super::api::values;
use super::record::Entry;
use crate::world::{Error, Result, Secret};

/// What a parameter's value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    String,
    Int,
    Bool,
    /// A string that names a file or directory.
    Path,
    /// Strings; written as `a,b,c` where text is expected.
    List,
    Secret,
    Choice(Vec<String>),
}

impl Type {
    /// The names scripts use.
    pub const NAMES: [&'static str; 7] = ["string", "int", "bool", "path", "list", "secret", "choice"];

    pub fn named(name: &str, choices: Vec<String>) -> Option<Self> {
        Some(match name {
            "string" => Self::String,
            "int" => Self::Int,
            "bool" => Self::Bool,
            "path" => Self::Path,
            "list" => Self::List,
            "secret" => Self::Secret,
            "choice" => Self::Choice(choices),
            _ => return None,
        })
    }

    /// For people: what a value must be.
    pub fn describe(&self) -> String {
        match self {
            Self::String => "a string".into(),
            Self::Int => "a whole number".into(),
            Self::Bool => "true or false".into(),
            Self::Path => "a path".into(),
            Self::List => "a list (a,b,c)".into(),
            Self::Secret => "a secret".into(),
            Self::Choice(choices) => format!("one of {}", choices.join(", ")),
        }
    }

    fn parse_text(&self, text: &str) -> Option<Dynamic> {
        Some(match self {
            Self::String | Self::Path => text.to_owned().into(),
            Self::Int => text.trim().parse::<i64>().ok()?.into(),
            Self::Bool => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" => true.into(),
                "false" | "no" | "0" => false.into(),
                _ => return None,
            },
            Self::List => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.map(|item| Dynamic::from(item.to_owned())).collect::<Array>().into()
            }
            Self::Secret => Dynamic::from(Secret::new(text)),
            Self::Choice(choices) => choices.iter().find(|choice| *choice == text)?.clone().into(),
        })
    }

    fn parse_json(&self, value: &Value) -> Option<Dynamic> {
        Some(match (self, value) {
            (Self::Int, Value::Number(number)) => number.as_i64()?.into(),
            (Self::Bool, Value::Bool(value)) => (*value).into(),
            (Self::List, Value::Array(items)) => {
                items.iter().map(|item| Some(Dynamic::from(text_of(item)?))).collect::<Option<Array>>()?.into()
            }
            (Self::Int | Self::Bool, _) => return None,
            (_, value) => self.parse_text(&text_of(value)?)?,
        })
    }

    /// A default as the script writes it.
    fn parse_default(&self, value: Dynamic) -> Option<Dynamic> {
        if value.is_unit() {
            return Some(value);
        }
        match self {
            Self::Int => value.is_int().then_some(value),
            Self::Bool => value.is_bool().then_some(value),
            Self::List => value.is_array().then_some(value),
            _ => self.parse_text(&value.into_string().ok()?),
        }
    }

    fn of_default(value: Option<&Dynamic>) -> Self {
        match value {
            Some(value) if value.is_int() => Self::Int,
            Some(value) if value.is_bool() => Self::Bool,
            Some(value) if value.is_array() => Self::List,
            _ => Self::String,
        }
    }
}

/// Text of a plain value: `17` and `"17"` are the same to a parameter that is a string.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// What `param` declares.
#[derive(Clone, Debug)]
pub struct Declaration {
    pub name: String,
    pub help: String,
    pub kind: Type,
    /// `None` makes it required, `Some(())` optional.
    pub default: Option<Dynamic>,
}

/// What the operator gave.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// `--set name=value`
    pub set: BTreeMap<String, String>,
    /// The parameters file and its content.
    pub file: Option<(PathBuf, serde_json::Map<String, Value>)>,
    /// Variables of the environment that begin with `PGSCRIPT_`, by their full name.
    pub environment: BTreeMap<String, String>,
    /// Given as well, with values that are not kept: the script computes what kind of parameters they are, and they may
    /// be secrets.
    #[serde(default)]
    pub withheld: BTreeSet<String>,
}

impl Given {
    /// Reads `name=value` as the command line has it.
    pub fn add_set(&mut self, text: &str) -> Result<()> {
        let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            Error::usage("params.malformed", format!("--set {text}: not name=value")).hint("for example --set to=17")
        })?;
        self.set.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// Reads a parameters file: TOML (`to = 17`), or JSON where its name ends in `.json`.
    pub fn read_file(&mut self, path: &Path) -> Result<()> {
        let wrong = |what: String| Error::usage("params.file", format!("parameters file {}: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        let values = match path.extension().is_some_and(|extension| extension == "json") {
            true => serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?,
            false => toml::from_str(&text).map_err(|e| wrong(e.to_string().trim_end().to_owned()))?,
        };
        self.file = Some((path.to_owned(), values));
        Ok(())
    }

    /// Takes the variables that parameters may come from.
    pub fn read_environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        self.environment = variables.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    }

    /// Takes what another one has of parameters that have no value here.
    pub fn complete(&mut self, other: &Self) {
        for (name, text) in &other.set {
            if !self.has(name) {
                self.set.insert(name.clone(), text.clone());
            }
        }
        for (name, value) in other.file.iter().flat_map(|(_, values)| values) {
            if !self.has(name) {
                let (path, values) = (other.file.as_ref().map(|(path, _)| path.clone()), serde_json::Map::new());
                let (_, values) = self.file.get_or_insert((path.unwrap_or_default(), values));
                values.insert(name.clone(), value.clone());
            }
        }
        for (name, text) in &other.environment {
            self.environment.entry(name.clone()).or_insert_with(|| text.clone());
        }
    }

    /// What of it may be written down: what is given for parameters that are no secrets. `is_kept` knows these by name;
    /// `None` for one that the script computes.
    pub fn kept(&self, is_kept: impl Fn(&str) -> Option<bool>, names: impl Iterator<Item = String>) -> Self {
        let environment: BTreeMap<_, _> = names.map(|name| (variable(&name), name)).collect();
        let mut kept = Self::default();
        let mut take = |name: &str, keep: &mut dyn FnMut(&mut Self)| match is_kept(name) {
            Some(true) => keep(&mut kept),
            Some(false) => {}
            None => _ = kept.withheld.insert(name.to_owned()),
        };
        for (name, text) in &self.set {
            take(name, &mut |kept| _ = kept.set.insert(name.clone(), text.clone()));
        }
        if let Some((path, values)) = &self.file {
            for (name, value) in values {
                take(name, &mut |kept| {
                    let (_, values) = kept.file.get_or_insert_with(|| (path.clone(), serde_json::Map::new()));
                    values.insert(name.clone(), value.clone());
                });
            }
        }
        for (variable, text) in &self.environment {
            let name = environment.get(variable).unwrap_or(variable);
            take(name, &mut |kept| _ = kept.environment.insert(variable.clone(), text.clone()));
        }
        kept
    }

    /// The value given for a parameter and where it came from.
    fn find(&self, declaration: &Declaration) -> Result<Option<Dynamic>> {
        let Declaration { name, kind, .. } = declaration;
        if let Some(text) = self.set.get(name) {
            if *kind == Type::Secret {
                let hint = format!("use {}, the parameters file, or the question on the terminal", variable(name));
                let message = format!("--set {name}=…: a secret on the command line can be read by other users");
                return Err(Error::usage("params.secret_in_argv", message).hint(hint));
            }
            return kind.parse_text(text).ok_or_else(|| wrong_type(declaration, text, "--set")).map(Some);
        }
        if let Some((path, values)) = &self.file
            && let Some(value) = values.get(name)
        {
            let shown = value.to_string();
            let found = kind.parse_json(value);
            return found.ok_or_else(|| wrong_type(declaration, &shown, &path.display().to_string())).map(Some);
        }
        let variable = variable(name);
        let Some(text) = self.environment.get(&variable) else { return Ok(None) };
        kind.parse_text(text).ok_or_else(|| wrong_type(declaration, text, &variable)).map(Some)
    }

    /// What the operator gave for that name, as it was written.
    pub fn raw(&self, name: &str) -> Option<Value> {
        let in_file = || self.file.as_ref().and_then(|(_, values)| values.get(name)).cloned();
        let in_environment = || self.environment.get(&variable(name)).map(|text| text.as_str().into());
        self.set.get(name).map(|text| text.as_str().into()).or_else(in_file).or_else(in_environment)
    }

    /// Whether the operator gave a value for that name, rightly or not.
    pub fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }
}

const PREFIX: &str = "PGSCRIPT_";
/// Parameters of these names would share their environment variable with an option of the program.
const TAKEN: [&str; 4] = ["site", "docker", "format", "store"];

/// `PGSCRIPT_TARGET_IMAGE` for `target_image` and `target-image`.
pub fn variable(name: &str) -> String {
    let name = name.to_uppercase();
    format!("{PREFIX}{}", name.replace(|c: char| !c.is_alphanumeric(), "_"))
}

fn wrong_type(declaration: &Declaration, text: &str, source: &str) -> Error {
    let shown = if declaration.kind == Type::Secret { "••••••" } else { text };
    let message = format!(
        "parameter `{}` must be {}, not {shown} (from {source})",
        declaration.name,
        declaration.kind.describe()
    );
    Error::usage("params.wrong_type", message)
}

/// The parameters of one run: what was given, and the values scripts have seen.
#[derive(Default)]
pub struct Parameters {
    given: Given,
    values: Mutex<BTreeMap<String, Dynamic>>,
}

impl Parameters {
    pub fn new(given: Given) -> Self {
        Self { given, values: Mutex::default() }
    }

    pub fn given(&self) -> &Given {
        &self.given
    }

    fn known(&self, name: &str) -> Option<Dynamic> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

/// `param(name, options)`
pub fn param(call: &mut Call<'_>) -> Result<Dynamic> {
    let declaration = declaration(call)?;
    let parameters = &call.session.parameters;
    if let Some(value) = parameters.known(&declaration.name) {
        return Ok(value);
    }
    let value = match call.session.record.parameter(&declaration.name) {
        Some(recorded) => values::from_json(recorded),
        None => fresh(call, &declaration)?,
    };
    parameters.values.lock().unwrap_or_else(PoisonError::into_inner).insert(declaration.name, value.clone());
    Ok(value)
}

/// A value that this run has not had yet. From now on it is the run's, also when it is resumed; a secret is not
/// written down, and is asked of the operator again.
fn fresh(call: &Call<'_>, declaration: &Declaration) -> Result<Dynamic> {
    let recorded = call.session.record.given();
    // What was given when the run began, also where it was cut off before it came to ask for it.
    let given = match recorded.find(declaration)? {
        None => call.session.parameters.given.find(declaration)?,
        given => given,
    };
    let is_withheld =
        [declaration.name.clone(), variable(&declaration.name)].iter().any(|n| recorded.withheld.contains(n));
    if given.is_none() && declaration.kind != Type::Secret && is_withheld {
        return Err(not_kept(&declaration.name));
    }
    let value = match (given, &declaration.default) {
        (Some(given), _) => given,
        (None, Some(default)) => default.clone(),
        (None, None) => ask(call, declaration)?,
    };
    let recorded = match value.read_lock::<Secret>() {
        Some(secret) => {
            call.world().redactor.learn(&secret);
            None
        }
        None => Some(values::to_json(&value)?),
    };
    call.session.write(Entry::Parameter { name: declaration.name.clone(), value: recorded })?;
    Ok(value)
}

/// Its default would be another value than the operator wanted.
fn not_kept(name: &str) -> Error {
    let message = format!("parameter `{name}` was given when the run began, and its value was not kept");
    Error::usage("params.not_kept", message).hint(format!(
        "the script computes this parameter's name or kind, so it might have been a secret\n\
         give it again: in a file, with --params FILE, or in the environment, as {}",
        variable(name)
    ))
}

fn ask(call: &Call<'_>, declaration: &Declaration) -> Result<Dynamic> {
    call.session.check_reading()?;
    let Declaration { name, help, kind, .. } = declaration;
    let help = match (help.is_empty(), kind) {
        (true, Type::String) => String::new(),
        (true, kind) => kind.describe(),
        (false, Type::Choice(_)) => format!("{help} ({})", kind.describe()),
        (false, _) => help.clone(),
    };
    let text = call.session.prompter.ask(name, &help, *kind == Type::Secret)?;
    kind.parse_text(&text).ok_or_else(|| wrong_type(declaration, &text, "the terminal"))
}

fn declaration(call: &Call<'_>) -> Result<Declaration> {
    let name = call.string("name")?;
    if TAKEN.contains(&name.as_str()) {
        let message = format!("a parameter can't be named `{name}`: {} belongs to the program", variable(&name));
        return Err(Error::failed("params.bad_name", message));
    }
    let options = call.options("options", &["help", "type", "default", "choices"])?;
    // `default: ()` is a default, so its presence counts, not its value.
    let default = call.raw_option("options", "default");
    let kind = kind(&name, &options, default.as_ref())?;
    let default = default.map(|value| {
        let shown = value.to_string();
        let message = || format!("the default of parameter `{name}` must be {}, not {shown}", kind.describe());
        kind.parse_default(value).ok_or_else(|| Error::failed("script.wrong_type", message()))
    });
    Ok(Declaration { help: options.string("help")?.unwrap_or_default(), default: default.transpose()?, name, kind })
}

fn kind(name: &str, options: &Options, default: Option<&Dynamic>) -> Result<Type> {
    let choices = options.strings("choices")?;
    let Some(type_name) = options.string("type")? else {
        return Ok(if choices.is_empty() { Type::of_default(default) } else { Type::Choice(choices) });
    };
    if type_name == "choice" && choices.is_empty() {
        let message = format!("parameter `{name}` is a choice without `choices`");
        return Err(Error::failed("script.wrong_type", message));
    }
    Type::named(&type_name, choices).ok_or_else(|| {
        let message = format!("parameter `{name}`: there is no type `{type_name}`");
        Error::failed("script.wrong_type", message).hint(format!("known: {}", Type::NAMES.join(", ")))
    })
}
