//! Makes the engine: limits, strictness, and the functions of [`super::api`].
//!
//! A key that a map does not have is an error, so that a misspelt option or column is not taken for an absent one.
//! Scripts that mean "if there is one" say so: `map.get("key") ?? default`, or `"key" in map`.

use std::sync::Arc;

use rhai::{AST, Dynamic, Engine, EvalAltResult, Map, OptimizationLevel, Token};

use super::api::{self, Reference, Registrar, Vocabulary};
use super::loader::{Loader, Once, Places};
use super::session::Session;
use super::source::{Source, Sources, definition};
use crate::event::{Event, Listener};
use crate::world::Error;

/// The script thread's stack. Reserved, not touched: only what a script really uses becomes memory.
pub const STACK: usize = 64 << 20;
/// Depth of calls; the same in debug and release builds, and far below what [`STACK`] holds.
const CALL_LEVELS: usize = 96;
/// Depth of nested expressions, at top level and in functions.
const EXPRESSION_DEPTH: usize = 128;
/// Bytes of a string: query results and files, not bulk data, which passes in streams.
const STRING_SIZE: usize = 256 << 20;
const ARRAY_SIZE: usize = 4_000_000;
const MAP_SIZE: usize = 4_000_000;

/// An engine with everything scripts may use.
pub struct Language {
    pub engine: Engine,
    pub reference: Arc<Reference>,
    pub sources: Sources,
    pub loader: Loader,
    pub places: Places,
    reserved: Arc<Vec<String>>,
}

impl Language {
    /// Without a session scripts can be read and checked, not run.
    pub fn new(places: Places, listener: Arc<dyn Listener>, session: Option<Arc<Session>>) -> Self {
        Self::speaking(api::vocabulary(), places, listener, session)
    }

    /// As [`Language::new`], with further functions, which `extend` declares.
    pub fn with(
        places: Places,
        listener: Arc<dyn Listener>,
        session: Option<Arc<Session>>,
        extend: impl FnOnce(&mut Registrar),
    ) -> Self {
        Self::speaking(&api::vocabulary().extended(extend), places, listener, session)
    }

    fn speaking(
        vocabulary: &Vocabulary,
        places: Places,
        listener: Arc<dyn Listener>,
        session: Option<Arc<Session>>,
    ) -> Self {
        // The vocabulary has the standard package in it.
        let mut engine = Engine::new_raw();
        limit(&mut engine);
        allow_default(&mut engine);
        vocabulary.teach(&mut engine, session.as_ref());
        let reference = vocabulary.reference.clone();
        errors_have_codes(&mut engine);
        let sources = Sources::default();
        let reserved = Arc::new(reference.global_names());
        let loader = {
            let record = session.as_ref().map(|session| session.record.clone());
            Loader::new(places.clone(), sources.clone(), listener.clone(), reserved.clone(), record)
        };
        engine.set_module_resolver(loader.clone());
        speak(&mut engine, listener);
        if let Some(session) = session {
            engine.on_progress(move |_| match session.world.cancel.is_cancelled() {
                true => Some(Dynamic::from(Error::cancelled())),
                false => None,
            });
        }
        Self { engine, reference, sources, loader, places, reserved }
    }

    /// Compiles a source and remembers its text and functions.
    pub fn compile(&self, source: &Source) -> Result<AST, Box<EvalAltResult>> {
        compile(&self.engine, &self.sources, &self.reserved, self.places.once(), source)
    }
}

/// Compiles a source; `reserved` are function names that scripts may not define.
pub fn compile(
    engine: &Engine,
    sources: &Sources,
    reserved: &[String],
    once: Option<&Once>,
    source: &Source,
) -> Result<AST, Box<EvalAltResult>> {
    sources.add(source);
    let read = || {
        let mut ast = engine.compile(&*source.text).map_err(|e| EvalAltResult::ErrorParsing(*e.0, e.1))?;
        ast.set_source(source.id.as_str());
        Ok::<_, Box<EvalAltResult>>(ast)
    };
    let ast = match once {
        Some(once) => once.compiled(source, read)?,
        None => read()?,
    };
    sources.add_functions(&source.id, &ast);
    for function in ast.iter_functions() {
        if reserved.iter().any(|name| name == function.name) {
            let position = definition(&source.text, function.name);
            return Err(EvalAltResult::ErrorRuntime(Dynamic::from(shadows(function.name)), position).into());
        }
    }
    Ok(ast)
}

/// A script's own `fn step` would silently take the place of the primitive, and nothing would be journalled.
pub fn shadows(name: &str) -> Error {
    Error::failed("script.shadowed", format!("`{name}` is a function of the language, a script can't define it"))
        .hint(format!("rename it, for example `my_{name}`"))
}

fn limit(engine: &mut Engine) {
    engine
        .set_max_call_levels(CALL_LEVELS)
        .set_max_expr_depths(EXPRESSION_DEPTH, EXPRESSION_DEPTH)
        .set_max_operations(0)
        .set_max_modules(1000)
        .set_max_string_size(STRING_SIZE)
        .set_max_array_size(ARRAY_SIZE)
        .set_max_map_size(MAP_SIZE)
        // Looking for a string that is already known costs more than another copy of it.
        .set_max_strings_interned(0)
        .set_strict_variables(true)
        .set_fail_on_invalid_map_property(true)
        // Positions and `check` want the text as it was written.
        .set_optimization_level(OptimizationLevel::None)
        // Text that becomes code can't be checked before the night.
        .disable_symbol("eval");
}

/// Rhai keeps `default` for later; here it names an option: `param("to", #{ default: 17 })`.
fn allow_default(engine: &mut Engine) {
    #[allow(deprecated)] // Not deprecated: rhai marks its volatile interfaces so.
    engine.on_parse_token(|token, _, _| match token {
        Token::Reserved(word) if *word == "default" => Token::Identifier(word),
        token => token,
    });
}

/// `print` and `debug` speak as `ui::say` does.
fn speak(engine: &mut Engine, listener: Arc<dyn Listener>) {
    let to_print = listener.clone();
    engine.on_print(move |text| to_print.hear(&Event::Say { text: text.to_owned() }));
    engine.on_debug(move |text, source, position| {
        let place = match (source, position.is_none()) {
            (Some(source), false) => format!("{source}:{position:?} "),
            _ => String::new(),
        };
        listener.hear(&Event::Say { text: format!("{place}{text}") });
    });
}

/// What a script catches has `code`, `message` and `hint`, whoever raised it: a primitive (an `Error`), the engine
/// (a map, whose hint is the place in the script), or `throw "text"`.
fn errors_have_codes(engine: &mut Engine) {
    engine
        .register_get("code", |_: &mut rhai::ImmutableString| "script.thrown")
        .register_get("message", |text: &mut rhai::ImmutableString| text.clone())
        .register_get("hint", |_: &mut rhai::ImmutableString| ());
    // The engine makes the map when it catches; the first moment to complete it is when its variable is read.
    // (A hook for missing keys exists, but would also be asked about keys that are being assigned.)
    #[allow(deprecated)] // Not deprecated: rhai marks its volatile interfaces so.
    engine.on_var(|name, _, mut context| {
        // A shared value may be locked by whoever reads it now.
        let value = context.scope_mut().get_mut(name).filter(|value| !value.is_shared());
        if let Some(mut map) = value.and_then(|value| value.write_lock::<Map>())
            && map.contains_key("error")
            && map.contains_key("message")
            && !map.contains_key("code")
        {
            let said = map.get("message").map(ToString::to_string).unwrap_or_default();
            let (message, place) = message_and_place(&said);
            map.insert("message".into(), message.into());
            map.insert("code".into(), "script.error".into());
            let place = place.map_or(Dynamic::UNIT, |(source, line)| format!("see {source}, line {line}").into());
            map.insert("hint".into(), place);
        }
        Ok(None)
    });
}

/// The engine's message without the call chain it appends, and the source and line at the chain's beginning.
fn message_and_place(message: &str) -> (&str, Option<(&str, &str)>) {
    let line = message.lines().next().unwrap_or_default();
    let end = line.find(" @ '").or_else(|| line.find(" (line ")).unwrap_or(line.len());
    let (text, chain) = line.split_at(end);
    let place = chain.strip_prefix(" @ '").and_then(|chain| chain.split_once("' (line "));
    (text, place.and_then(|(source, rest)| Some((source, rest.split(',').next()?))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;

    fn language() -> Language {
        let places = Places::new(None).unwrap();
        Language::new(places, Arc::new(Silent), None)
    }

    fn eval(script: &str) -> Result<Dynamic, Box<EvalAltResult>> {
        let language = language();
        let ast = language.engine.compile(script)?;
        language.engine.eval_ast(&ast)
    }

    #[test]
    fn a_missing_key_is_an_error_and_can_be_asked_for() {
        assert!(eval("let m = #{a: 1}; m.b").is_err());
        assert!(eval("let m = #{a: 1}; m[\"b\"]").is_err());
        assert_eq!(eval("let m = #{a: 1}; m.get(\"b\") ?? 7").unwrap().as_int(), Ok(7));
        assert_eq!(eval("let m = #{a: 1}; if \"b\" in m { 1 } else { 2 }").unwrap().as_int(), Ok(2));
        assert_eq!(eval("let m = #{a: 1}; m.b = 3; m[\"c\"] = 4; m.b + m.c").unwrap().as_int(), Ok(7));
    }

    #[test]
    fn every_caught_error_has_a_code_a_message_and_a_hint() {
        let shown = |body: &str| {
            let script = format!(
                "let t = \"\"; try {{ {body} }} catch (e) {{ t = `${{e.code}}|${{e.message}}|${{e.hint}}`; }} t"
            );
            eval(&script).unwrap().into_string().unwrap()
        };
        assert_eq!(shown("throw \"no\""), "script.thrown|no|");
        assert_eq!(shown("let m = #{}; m.x"), "script.error|Property not found: x|");
        assert_eq!(shown("throw #{code: \"c\", message: \"m\", hint: \"h\"}"), "c|m|h");
    }

    #[test]
    fn a_script_can_not_define_a_primitive_of_its_own() {
        let language = language();
        let source = Source {
            id: "t.rhai".into(),
            name: "t".into(),
            origin: crate::script::source::Origin::BuiltIn,
            text: "fn helper() {}\nfn step(name, body) { body.call() }".into(),
        };
        let error = language.compile(&source).unwrap_err();
        assert_eq!((error.position().line(), error.position().position()), (Some(2), Some(4)));
    }
}
