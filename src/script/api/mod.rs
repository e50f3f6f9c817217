//! What a script may call: a file per namespace. Each function is declared once, with its signature and
//! docstring, and from that one place come the call, its argument checks, the reference and `check`.

mod ansible;
mod booted;
pub mod call;
mod content;
mod docker;
mod host;
mod pg_basebackup;
mod pg_dump;
mod pg_upgrade;
mod psql;
mod run;
mod script;
pub mod signature;
mod ui;
pub mod values;
mod volume;
mod writes;

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};

use rhai::packages::{Package, StandardPackage};
use rhai::{Dynamic, Engine, EvalAltResult, FuncRegistration, Module, NativeCallContext, RhaiFunc, Shared};

use self::call::Call;
use self::signature::Signature;
use super::session::Session;

/// What a primitive gives the script: a value, or an error it can catch.
pub type ScriptResult = Result<Dynamic, Box<EvalAltResult>>;

/// A documented function of a namespace.
#[derive(Clone, Debug)]
pub struct Function {
    /// Empty for global functions (`param`, `step`).
    pub namespace: &'static str,
    pub signature: Signature,
    pub doc: &'static str,
    /// Whether it changes the outside world, and so belongs in a step.
    pub has_effect: bool,
}

impl Function {
    /// `docker::stop`, as a script writes it.
    pub fn path(&self) -> String {
        if self.namespace.is_empty() {
            self.signature.name.clone()
        } else {
            format!("{}::{}", self.namespace, self.signature.name)
        }
    }
}

/// A documented property of a handle type.
#[derive(Clone, Debug)]
pub struct Property {
    pub type_name: &'static str,
    pub name: &'static str,
    pub value_type: &'static str,
    pub doc: &'static str,
}

/// Everything a script may use; what `show --api`, `check` and the hints read.
#[derive(Clone, Debug, Default)]
pub struct Reference {
    /// Namespaces in the order they are shown, with one line each.
    pub namespaces: Vec<(&'static str, &'static str)>,
    pub functions: Vec<Function>,
    pub properties: Vec<Property>,
}

/// Functions and handle types, ready to be given to engines: nothing of it belongs to one of them, or to a session.
#[derive(Clone, Default)]
pub struct Vocabulary {
    global: Vec<Shared<Module>>,
    namespaces: Vec<(&'static str, Shared<Module>)>,
    pub reference: Arc<Reference>,
}

/// Everything that any script may use; made once, which takes longer than a short script.
pub fn vocabulary() -> &'static Vocabulary {
    static ALL: OnceLock<Vocabulary> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut registrar = Registrar::default();
        registrar.global.push(StandardPackage::new().as_shared_module());
        script::register(&mut registrar);
        docker::register(&mut registrar);
        volume::register(&mut registrar);
        pg_dump::register(&mut registrar);
        pg_basebackup::register(&mut registrar);
        pg_upgrade::register(&mut registrar);
        psql::register(&mut registrar);
        ansible::register(&mut registrar);
        host::register(&mut registrar);
        run::register(&mut registrar);
        ui::register(&mut registrar);
        registrar.finish()
    })
}

impl Vocabulary {
    /// With what `extend` adds.
    pub fn extended(&self, extend: impl FnOnce(&mut Registrar)) -> Self {
        let mut registrar = Registrar {
            global: self.global.clone(),
            namespaces: self.namespaces.clone(),
            reference: Reference::clone(&self.reference),
            ..Registrar::default()
        };
        extend(&mut registrar);
        registrar.finish()
    }

    /// Makes it known to an engine. Without a session the functions are known, but can't be called.
    pub fn teach(&self, engine: &mut Engine, session: Option<&Arc<Session>>) {
        for module in &self.global {
            engine.register_global_module(module.clone());
        }
        for (name, module) in &self.namespaces {
            engine.register_static_module(*name, module.clone());
        }
        // Weak: a session's steps keep the state in which they were made, and with it this.
        engine.set_default_tag(session.map_or(Dynamic::UNIT, |session| Dynamic::from(Arc::downgrade(session))));
    }
}

impl Reference {
    /// Names that need no namespace; scripts may not define functions of these names.
    pub fn global_names(&self) -> Vec<String> {
        let global = self.functions.iter().filter(|f| f.namespace.is_empty());
        global.map(|f| f.signature.name.clone()).collect()
    }

    /// The function a script writes as `path`.
    pub fn function(&self, path: &str) -> Option<&Function> {
        self.functions.iter().find(|f| f.path() == path)
    }
}

/// Takes functions and handle types, and writes the reference while doing so.
#[derive(Default)]
pub struct Registrar {
    global: Vec<Shared<Module>>,
    namespaces: Vec<(&'static str, Shared<Module>)>,
    pub reference: Reference,
    handles: BTreeMap<&'static str, TypeId>,
    /// Handle types, their properties, and functions whose first parameter is a handle, callable as its methods.
    types: Module,
}

/// A namespace under construction.
pub struct Namespace<'r> {
    registrar: &'r mut Registrar,
    name: &'static str,
    module: Module,
}

impl Registrar {
    /// Adds a namespace (`docker::…`); `fill` declares its functions. `""` is the global one.
    pub fn namespace(&mut self, name: &'static str, doc: &'static str, fill: impl FnOnce(&mut Namespace<'_>)) {
        // Whoever adds to one leaves its description.
        if self.reference.namespaces.iter().all(|(known, _)| *known != name) {
            self.reference.namespaces.push((name, doc));
        }
        let mut namespace = Namespace { registrar: self, name, module: Module::new() };
        fill(&mut namespace);
        let module = namespace.module;
        if name.is_empty() {
            self.global.push(module.into());
        } else {
            self.namespaces.push((name, module.into()));
        }
    }

    /// Names a handle type for messages and `type_of`; declared before the functions that take it. Scripts hold it as
    /// `Arc<T>`: they pass on by value, also what has it in it.
    pub fn handle<T: Send + Sync + 'static>(&mut self, name: &'static str) {
        self.value::<Arc<T>>(name);
    }

    /// As [`Registrar::handle`], of a type that scripts hold as it is.
    pub fn value<T: Clone + Send + Sync + 'static>(&mut self, name: &'static str) {
        self.types.set_custom_type::<T>(name);
        self.handles.insert(name, TypeId::of::<T>());
    }

    /// Adds a function that the engine itself calls, such as `to_string` of a handle type.
    pub fn text<T: Clone + Send + Sync + 'static>(
        &mut self,
        name: &'static str,
        of: impl Fn(&T) -> String + Send + Sync + 'static,
    ) {
        let of = move |value: &mut T| of(value);
        FuncRegistration::new(name).in_global_namespace().set_into_module(&mut self.types, of);
    }

    /// Ends it.
    pub fn finish(self) -> Vocabulary {
        let Self { mut global, namespaces, reference, types, .. } = self;
        global.push(types.into());
        Vocabulary { global, namespaces, reference: reference.into() }
    }

    /// Adds a readable property of a handle type.
    pub fn property<T: Send + Sync + 'static>(
        &mut self,
        type_name: &'static str,
        name: &'static str,
        value_type: &'static str,
        doc: &'static str,
        get: impl Fn(&T) -> Dynamic + Send + Sync + 'static,
    ) {
        self.value_property::<Arc<T>>(type_name, name, value_type, doc, move |value| get(value));
    }

    /// As [`Registrar::property`], of a type that scripts hold as it is.
    pub fn value_property<T: Clone + Send + Sync + 'static>(
        &mut self,
        type_name: &'static str,
        name: &'static str,
        value_type: &'static str,
        doc: &'static str,
        get: impl Fn(&T) -> Dynamic + Send + Sync + 'static,
    ) {
        let get = move |value: &mut T| get(value);
        FuncRegistration::new_getter(name).in_global_namespace().set_into_module(&mut self.types, get);
        self.reference.properties.push(Property { type_name, name, value_type, doc });
    }
}

impl Namespace<'_> {
    /// Declares a function: `"stop(container: Container, options: Map = #{})"`.
    ///
    /// Parameters with a default may be left out. Where the first parameter is a handle the function is also
    /// a method of it: `container.stop()`. A malformed declaration is a programming error and panics at start.
    pub fn function(
        &mut self,
        declaration: &'static str,
        doc: &'static str,
        body: impl Fn(&mut Call<'_>) -> ScriptResult + Send + Sync + Clone + 'static,
    ) {
        self.declare(declaration, doc, false, body);
    }

    /// Declares a function that changes the outside world: its body announces that with [`Call::effect`].
    pub fn effect(
        &mut self,
        declaration: &'static str,
        doc: &'static str,
        body: impl Fn(&mut Call<'_>) -> ScriptResult + Send + Sync + Clone + 'static,
    ) {
        self.declare(declaration, doc, true, body);
    }

    fn declare(
        &mut self,
        declaration: &'static str,
        doc: &'static str,
        has_effect: bool,
        body: impl Fn(&mut Call<'_>) -> ScriptResult + Send + Sync + Clone + 'static,
    ) {
        let signature = Signature::parse(declaration);
        for arity in signature.required()..=signature.parameters.len() {
            self.register(&signature, arity, body.clone());
        }
        let namespace = self.name;
        self.registrar.reference.functions.push(Function { namespace, signature, doc, has_effect });
    }

    /// Every argument is taken as it comes, so that [`Call`] can say which one is wrong and why.
    fn register<F>(&mut self, signature: &Signature, arity: usize, body: F)
    where
        F: Fn(&mut Call<'_>) -> ScriptResult + Send + Sync + Clone + 'static,
    {
        let path = match self.name {
            "" => signature.name.clone(),
            namespace => format!("{namespace}::{}", signature.name),
        };
        let declared = signature.clone();
        let call = move |context: Option<NativeCallContext<'_>>, arguments: &mut [&mut Dynamic]| -> ScriptResult {
            let Some(context) = context else { return Err(format!("{path} needs a call context").into()) };
            let session = context.tag().and_then(|tag| tag.clone().try_cast::<Weak<Session>>()?.upgrade());
            let Some(session) = &session else { return Err(format!("{path} can't be called here").into()) };
            let values = owned(arguments);
            let position = context.call_position();
            // The engine fills in where a global function was called, not where a namespace's was.
            let mut call = Call::new(session, context, &path, &declared, values);
            let result = body(&mut call);
            call.settle(result).map_err(|mut error| {
                if error.position().is_none() {
                    error.set_position(position);
                }
                error
            })
        };
        let native = RhaiFunc::Method { func: Arc::new(call), has_context: true, is_pure: true, is_volatile: true };
        let mut types = vec![TypeId::of::<Dynamic>(); arity];
        if let (true, Some(handle)) =
            (arity > 0, signature.receiver().and_then(|name| self.registrar.handles.get(name)))
        {
            types[0] = *handle;
            FuncRegistration::new(signature.name.as_str()).in_global_namespace().set_into_module_raw(
                &mut self.registrar.types,
                &types,
                native.clone(),
            );
            types[0] = TypeId::of::<Dynamic>();
        }
        FuncRegistration::new(signature.name.as_str()).in_global_namespace().set_into_module_raw(
            &mut self.module,
            &types,
            native,
        );
    }
}

/// The arguments of a call. The first one may be a variable of the script itself, all others were made for the call.
fn owned(arguments: &mut [&mut Dynamic]) -> Vec<Dynamic> {
    let mut arguments = arguments.iter_mut();
    let first = arguments.next().map(|value| value.flatten_clone());
    first.into_iter().chain(arguments.map(|value| std::mem::take(*value).flatten())).collect()
}

/// The engine's name of a type as scripts call it: `int` for `i64`.
pub fn type_name(name: &str) -> &str {
    match name {
        "i64" => "int",
        "f64" => "float",
        "Fn" => "function",
        "&str | ImmutableString | String" | "&str" | "ImmutableString" | "String" => "string",
        // Of `Arc<…::Container>` as well.
        other => other.rsplit("::").next().unwrap_or(other).trim_end_matches('>'),
    }
}

/// The candidate that a misspelt name most likely meant.
pub fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    candidates
        .map(|candidate| (likeness(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Short names with one slip (`onw` for `own`) are unlike by letters and alike to people.
fn likeness(name: &str, candidate: &str) -> f64 {
    let one_slip = name.chars().count() >= 3 && strsim::osa_distance(name, candidate) <= 1;
    let likeness = strsim::jaro_winkler(name, candidate);
    if one_slip { likeness.max(0.9) } else { likeness }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn reference() -> &'static Reference {
        &vocabulary().reference
    }

    #[test]
    fn everything_a_script_may_use_is_documented() {
        let reference = reference();
        for function in &reference.functions {
            assert!(function.doc.trim().len() > 10, "{} has no docstring", function.path());
        }
        for property in &reference.properties {
            assert!(!property.doc.trim().is_empty(), "{}.{} has no docstring", property.type_name, property.name);
        }
        assert!(reference.namespaces.iter().all(|(_, doc)| !doc.is_empty()));
    }

    #[test]
    fn each_function_is_declared_once() {
        let reference = reference();
        let paths: BTreeSet<_> = reference.functions.iter().map(Function::path).collect();
        assert_eq!(paths.len(), reference.functions.len());
    }

    #[test]
    fn the_nearest_name_is_the_one_meant() {
        assert_eq!(nearest("docker::stopp", ["docker::start", "docker::stop"].into_iter()), Some("docker::stop"));
        assert_eq!(nearest("onw", ["own", "two"].into_iter()), Some("own"));
        assert_eq!(nearest("tp", ["to", "image"].into_iter()), None);
        assert_eq!(nearest("completely", ["different"].into_iter()), None);
    }
}
