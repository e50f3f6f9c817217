//! One call of a primitive: its arguments by name and type, and the session it acts in.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rhai::{Array, Dynamic, EvalAltResult, FnPtr, Map, NativeCallContext, Position};

use super::ScriptResult;
use super::signature::Signature;
use crate::script::errors;
use crate::script::record::{Entry, Reason};
use crate::script::session::Session;
use crate::world::{Error, Kind, Result, Secret, World};

/// An error of the world becomes one of the script: catchable, with `code`, `message`, `hint`.
/// A cancellation can't be caught.
impl From<Error> for Box<EvalAltResult> {
    fn from(error: Error) -> Self {
        match error.kind {
            Kind::Cancelled => EvalAltResult::ErrorTerminated(Dynamic::from(error), Position::NONE).into(),
            _ => EvalAltResult::ErrorRuntime(Dynamic::from(error), Position::NONE).into(),
        }
    }
}

/// A call under way.
pub struct Call<'a> {
    pub session: &'a Session,
    pub context: NativeCallContext<'a>,
    path: &'a str,
    signature: &'a Signature,
    values: Vec<Dynamic>,
    /// Journal numbers of what was announced and is not settled yet.
    announced: Mutex<Vec<u64>>,
}

impl<'a> Call<'a> {
    pub fn new(
        session: &'a Session,
        context: NativeCallContext<'a>,
        path: &'a str,
        signature: &'a Signature,
        values: Vec<Dynamic>,
    ) -> Self {
        Self { session, context, path, signature, values, announced: Mutex::default() }
    }

    pub fn world(&self) -> &'a World {
        &self.session.world
    }

    /// Announces a change; see [`Session::effect`].
    pub fn effect(&self, command: impl Into<String>) -> Result<()> {
        let announced = self.session.effect(command)?;
        self.announced.lock().unwrap_or_else(PoisonError::into_inner).extend(announced);
        Ok(())
    }

    /// For a command that the operator uses at the terminal: refused without one, before anything is announced.
    pub fn require_terminal(&self, program: &str, container: &str) -> Result<()> {
        // What is only read does not come to it.
        if self.session.steps().is_reading() {
            return Ok(());
        }
        self.world().host.require_terminal(&format!("to run {program} in container {container} on"))
    }

    /// Journals what became of the announced changes.
    pub fn settle(&self, result: ScriptResult) -> ScriptResult {
        let error = result.as_ref().err().map(|error| Reason::from(&errors::cause(error)));
        let announced = std::mem::take(&mut *self.announced.lock().unwrap_or_else(PoisonError::into_inner));
        for effect in announced {
            let settled = self.session.write(Entry::Settled { effect, error: error.clone() });
            if let (true, Err(unwritten)) = (result.is_ok(), settled) {
                return Err(unwritten.into());
            }
        }
        result
    }

    /// The argument as it came; `()` when it was left out.
    pub fn value(&self, parameter: &str) -> Dynamic {
        self.given(parameter).cloned().unwrap_or(Dynamic::UNIT)
    }

    fn given(&self, parameter: &str) -> Option<&Dynamic> {
        let position = self.signature.position(parameter);
        debug_assert!(position.is_some(), "{} declares no {parameter}", self.path);
        self.values.get(position?)
    }

    /// Whether the argument was given (and is not `()`).
    pub fn has(&self, parameter: &str) -> bool {
        self.given(parameter).is_some_and(|value| !value.is_unit())
    }

    /// The argument as a handle or another Rust type that scripts hold.
    pub fn get<T: Clone + Send + Sync + 'static>(&self, parameter: &str) -> Result<T> {
        let wrong = |value: Dynamic| self.wrong_type(parameter, &self.type_of(&value));
        self.value(parameter).try_cast_result::<T>().map_err(wrong)
    }

    pub fn string(&self, parameter: &str) -> Result<String> {
        self.value(parameter).into_string().map_err(|found| self.wrong_type(parameter, self.type_called(found)))
    }

    pub fn path(&self, parameter: &str) -> Result<PathBuf> {
        self.string(parameter).map(PathBuf::from)
    }

    pub fn int(&self, parameter: &str) -> Result<i64> {
        self.get::<i64>(parameter)
    }

    pub fn function(&self, parameter: &str) -> Result<FnPtr> {
        self.get::<FnPtr>(parameter)
    }

    /// An argument that is a secret, or a plain string, which is treated as one from now on.
    pub fn secret(&self, parameter: &str) -> Result<Secret> {
        let value = self.value(parameter);
        if let Some(secret) = value.clone().try_cast::<Secret>() {
            return Ok(secret);
        }
        let secret = Secret::new(self.string(parameter)?);
        self.world().redactor.learn(&secret);
        Ok(secret)
    }

    /// An array of strings; numbers in it are written out.
    pub fn strings(&self, parameter: &str) -> Result<Vec<String>> {
        let values = self.get::<Array>(parameter)?;
        values.into_iter().map(|value| self.text(parameter, value)).collect()
    }

    /// A map argument whose keys must all be among `known`; empty when left out.
    pub fn options(&self, parameter: &str, known: &'static [&'static str]) -> Result<Options> {
        let map = if self.has(parameter) { self.get::<Map>(parameter)? } else { Map::new() };
        for key in map.keys() {
            if !known.contains(&key.as_str()) {
                let nearest = super::nearest(key, known.iter().copied());
                let hint =
                    nearest.map_or_else(|| format!("known: {}", known.join(", ")), |n| format!("did you mean `{n}`?"));
                let message = format!("{}: `{parameter}` has no option `{key}`", self.path);
                return Err(Error::failed("script.unknown_option", message).hint(hint));
            }
        }
        Ok(Options { path: self.path.to_owned(), map })
    }

    /// An option of a map argument as it came, `()` too; `None` only when the key is absent.
    pub fn raw_option(&self, parameter: &str, key: &str) -> Option<Dynamic> {
        self.given(parameter)?.read_lock::<Map>()?.get(key).cloned()
    }

    /// Calls a script's function with this call's context.
    pub fn invoke(&self, function: &FnPtr, arguments: impl rhai::FuncArgs) -> ScriptResult {
        function.call_within_context(&self.context, arguments)
    }

    fn text(&self, parameter: &str, value: Dynamic) -> Result<String> {
        match value.is_string() || value.is_int() || value.is_float() {
            true => Ok(value.to_string()),
            false => Err(self.wrong_type(parameter, &format!("array with {}", self.type_of(&value)))),
        }
    }

    fn type_of(&self, value: &Dynamic) -> String {
        self.type_called(value.type_name()).to_owned()
    }

    fn type_called<'n>(&'n self, name: &'n str) -> &'n str {
        super::type_name(self.context.engine().map_type_name(name))
    }

    fn wrong_type(&self, parameter: &str, found: &str) -> Error {
        let wanted =
            self.signature.position(parameter).map_or("?", |i| self.signature.parameters[i].type_name.as_str());
        let message = format!("{}: `{parameter}` must be {wanted}, not {found}", self.path);
        Error::failed("script.wrong_type", message).hint(format!("{}", self.signature))
    }
}

/// A checked map of options.
pub struct Options {
    path: String,
    map: Map,
}

impl Options {
    /// The option as it came, if given and not `()`.
    pub fn value(&self, key: &str) -> Option<Dynamic> {
        self.map.get(key).filter(|v| !v.is_unit()).cloned()
    }

    pub fn string(&self, key: &str) -> Result<Option<String>> {
        self.convert(key, "string", |v| v.into_string().ok())
    }

    pub fn path(&self, key: &str) -> Result<Option<PathBuf>> {
        Ok(self.string(key)?.map(PathBuf::from))
    }

    pub fn int(&self, key: &str) -> Result<Option<i64>> {
        self.convert(key, "int", |v| v.as_int().ok())
    }

    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.convert(key, "bool", |v| v.as_bool().ok())
    }

    /// Seconds as a number.
    pub fn seconds(&self, key: &str) -> Result<Option<Duration>> {
        let seconds = self.convert(key, "seconds (int or float)", |v| {
            v.as_int().map(|i| i as f64).or_else(|_| v.as_float()).ok().filter(|s| *s >= 0.0)
        })?;
        Ok(seconds.map(Duration::from_secs_f64))
    }

    pub fn map(&self, key: &str) -> Result<Option<Map>> {
        self.convert(key, "map", |v| v.try_cast::<Map>())
    }

    pub fn secret(&self, key: &str) -> Result<Option<Secret>> {
        self.convert(key, "secret or string", |v| {
            v.clone().try_cast::<Secret>().or_else(|| v.into_string().ok().map(Secret::new))
        })
    }

    /// One string or an array of strings (numbers are written out).
    pub fn strings(&self, key: &str) -> Result<Vec<String>> {
        let list = self.convert(key, "string or array of strings", |v| match v.clone().try_cast::<Array>() {
            Some(items) => items.into_iter().map(plain_text).collect(),
            None => plain_text(v).map(|one| vec![one]),
        })?;
        Ok(list.unwrap_or_default())
    }

    fn convert<T>(&self, key: &str, wanted: &str, convert: impl FnOnce(Dynamic) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let found = super::type_name(value.type_name());
        let wrong = || {
            let message = format!("{}: option `{key}` must be {wanted}, not {found}", self.path);
            Error::failed("script.wrong_type", message)
        };
        convert(value).ok_or_else(wrong).map(Some)
    }
}

fn plain_text(value: Dynamic) -> Option<String> {
    (value.is_string() || value.is_int() || value.is_float()).then(|| value.to_string())
}
