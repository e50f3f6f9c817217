//! Finds scripts and modules: beside the importing script, in the site's directory, in the binary.
//!
//! A file that exists but can't be read is an error that names it, never a reason to look further:
//! a site that overrides a module must not get the shipped one because of a wrong mode bit.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rhai::{AST, Engine, EvalAltResult, Module, ModuleResolver, Position, Scope, Shared};

use super::describe::Description;
use super::engine;
use super::record::Record;
use super::shipped;
use super::source::{Origin, Source, Sources};
use super::tree;
use crate::event::{Event, Listener};
use crate::world::{Error, Result};

/// Where a site keeps its scripts and modules when nothing else is said.
pub const DEFAULT_SITE: &str = "/etc/pgscript";

/// The places to look in.
#[derive(Clone, Debug)]
pub struct Places {
    site: PathBuf,
    /// The sources of a run as it ran them, the script under an empty name; nothing else is looked for then.
    frozen: Option<Arc<Vec<Source>>>,
    once: Option<Arc<Once>>,
}

/// What was read and found sound, for whoever runs the same scripts again and again: they are read once.
#[derive(Debug, Default)]
pub struct Once {
    compiled: Mutex<HashMap<(String, Cow<'static, str>), AST>>,
    described: Mutex<HashMap<String, Arc<Description>>>,
    sound: Mutex<HashSet<String>>,
    imported: Mutex<HashMap<String, Arc<Vec<Imported>>>>,
    modules: Mutex<HashMap<(Option<PathBuf>, String), Source>>,
}

/// An import that leads to a module.
#[derive(Clone, Debug)]
struct Imported {
    alias: String,
    /// Id of the module.
    module: String,
    position: Position,
}

impl Once {
    /// The source as it was compiled before, or as `compile` does it now.
    pub fn compiled<E>(&self, source: &Source, compile: impl FnOnce() -> Result<AST, E>) -> Result<AST, E> {
        let key = (source.id.clone(), source.text.clone());
        let known = self.compiled.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(ast) = known {
            return Ok(ast);
        }
        let ast = compile()?;
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner).insert(key, ast.clone());
        Ok(ast)
    }

    /// The script's description as it was read before, or as `describe` reads it now.
    pub fn described(&self, script: &str, describe: impl FnOnce() -> Description) -> Arc<Description> {
        let mut described = self.described.lock().unwrap_or_else(PoisonError::into_inner);
        described.entry(script.to_owned()).or_insert_with(|| Arc::new(describe())).clone()
    }

    /// The imports of a source as they were found before, or as `find` finds them now.
    fn imported(&self, source: &str, find: impl FnOnce() -> Vec<Imported>) -> Arc<Vec<Imported>> {
        let known = self.imported.lock().unwrap_or_else(PoisonError::into_inner).get(source).cloned();
        known.unwrap_or_else(|| {
            let found = Arc::new(find());
            self.imported.lock().unwrap_or_else(PoisonError::into_inner).insert(source.to_owned(), found.clone());
            found
        })
    }

    /// The module that scripts of this directory import by this name, as it was read before, or as `read` reads it now.
    fn module(&self, beside: Option<&Path>, name: &str, read: impl FnOnce() -> Result<Source>) -> Result<Source> {
        let key = (beside.map(Path::to_owned), name.to_owned());
        if let Some(known) = self.modules.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let source = read()?;
        self.modules.lock().unwrap_or_else(PoisonError::into_inner).insert(key, source.clone());
        Ok(source)
    }

    /// Whether nothing was found in the script before.
    pub fn is_sound(&self, script: &str) -> bool {
        self.sound.lock().unwrap_or_else(PoisonError::into_inner).contains(script)
    }

    pub fn note_sound(&self, script: &str) {
        self.sound.lock().unwrap_or_else(PoisonError::into_inner).insert(script.to_owned());
    }
}

impl Places {
    /// `site` as the operator named it, which then must be a directory; else [`DEFAULT_SITE`], which may be missing.
    pub fn new(site: Option<PathBuf>) -> Result<Self> {
        match site {
            Some(site) if !site.is_dir() => {
                Err(Error::usage("site.not_found", format!("no site directory {}", site.display()))
                    .hint("give an existing directory to --site, or unset PGSCRIPT_SITE"))
            }
            Some(site) => Ok(Self { site, frozen: None, once: None }),
            None => Ok(Self { site: DEFAULT_SITE.into(), frozen: None, once: None }),
        }
    }

    /// The same places for a run that goes on with the texts it began with.
    pub fn with_frozen(&self, sources: Arc<Vec<Source>>) -> Self {
        Self { frozen: Some(sources), ..self.clone() }
    }

    /// The same places, of which each source is read once, and never looked at again.
    pub fn read_once(&self) -> Self {
        Self { once: Some(Arc::default()), ..self.clone() }
    }

    pub fn once(&self) -> Option<&Once> {
        self.once.as_deref()
    }

    fn frozen(&self, key: &str, name: &str) -> Option<Source> {
        let found = self.frozen.as_ref()?.iter().find(|source| source.name == key)?;
        Some(Source { name: name.to_owned(), ..found.clone() })
    }

    pub fn site(&self) -> &Path {
        &self.site
    }

    /// A script as the operator names it: a path, else a name in the site's directory or in the binary.
    pub fn script(&self, name: &str) -> Result<Source> {
        if let Some(source) = self.frozen("", name) {
            return Ok(source);
        }
        let with_extension = if name.ends_with(".rhai") { name.to_owned() } else { format!("{name}.rhai") };
        for candidate in [Path::new(name), Path::new(&with_extension)] {
            // A directory `upgrade/` does not stand in the way of `upgrade.rhai`.
            let is_meant = candidate.extension().is_some() || candidate.is_file();
            if is_meant && let Some(source) = read(candidate, name)? {
                return Ok(source);
            }
        }
        if is_plain(&with_extension)
            && let Some(source) = read(&self.site.join(&with_extension), name)?
        {
            return Ok(source);
        }
        let shipped = shipped::find(&with_extension).map(Source::built_in);
        shipped.ok_or_else(|| self.no_script(name, &with_extension))
    }

    /// The files that are taken instead of a shipped one: that of the current directory, and that of the site's.
    pub fn instead_of(&self, file: &shipped::Shipped) -> Result<Vec<Source>> {
        let is_here =
            self.site.canonicalize().ok().is_some_and(|site| Path::new(".").canonicalize().ok() == Some(site));
        let site = (!is_here).then(|| self.site.join(file.name));
        let paths = std::iter::once(PathBuf::from(file.name)).chain(site);
        paths.filter_map(|path| read(&path, file.name).transpose()).collect()
    }

    /// A module as a script imports it: `primero`, `lib/checks`.
    pub fn module(&self, importer: Option<&Source>, name: &str) -> Result<Source> {
        let file = if name.ends_with(".rhai") { name.to_owned() } else { format!("{name}.rhai") };
        if name.is_empty() || !is_plain(&file) {
            return Err(Error::failed("module.bad_name", format!("a module can't be imported as `{name}`"))
                .hint("a name relative to the script or the site's directory, without `..`"));
        }
        if let Some(source) = self.frozen(name, name) {
            return Ok(source);
        }
        let beside = importer.and_then(Source::directory);
        match self.once() {
            Some(once) => once.module(beside, name, || self.read_module(beside, name, &file)),
            None => self.read_module(beside, name, &file),
        }
    }

    fn read_module(&self, beside: Option<&Path>, name: &str, file: &str) -> Result<Source> {
        for directory in beside.into_iter().chain([self.site.as_path()]) {
            if let Some(source) = read(&directory.join(file), name)? {
                return Ok(source);
            }
        }
        let shipped = shipped::find(file).map(|file| Source { name: name.to_owned(), ..Source::built_in(file) });
        shipped.ok_or_else(|| self.no_module(beside, name))
    }

    fn no_script(&self, name: &str, file: &str) -> Error {
        let shipped = shipped::ALL.iter().filter(|s| s.kind == shipped::Kind::Script).map(|s| s.name);
        let hint = match super::api::nearest(file, shipped) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`pgscript list` shows what there is".into(),
        };
        let message = format!("no script {name}: not here, not in {}, not built in", self.site.display());
        Error::usage("script.not_found", message).hint(hint)
    }

    fn no_module(&self, beside: Option<&Path>, name: &str) -> Error {
        let here = beside.map(|dir| format!("{}, ", shown(dir))).unwrap_or_default();
        let looked = format!("looked in {here}{} and among the built-in ones", self.site.display());
        let shipped = shipped::ALL.iter().filter_map(|s| s.name.strip_suffix(".rhai"));
        let hint = super::api::nearest(name, shipped).map(|near| format!("did you mean `{near}`? {looked}"));
        Error::failed("module.not_found", format!("no module `{name}`")).hint(hint.unwrap_or(looked))
    }
}

/// A directory for people: `.` where the path is empty.
fn shown(dir: &Path) -> String {
    if dir.as_os_str().is_empty() { ".".into() } else { dir.display().to_string() }
}

/// Whether a name stays below the directory it is looked for in.
fn is_plain(name: &str) -> bool {
    let mut components = Path::new(name).components().peekable();
    components.peek().is_some() && components.all(|c| matches!(c, Component::Normal(_)))
}

/// The file's text; `None` only when there is no such file at all.
fn read(path: &Path, name: &str) -> Result<Option<Source>> {
    let unreadable = |e: &std::io::Error| {
        Error::failed("script.unreadable", format!("cannot read {}: {e}", path.display()))
            .hint("make it readable or move it away; nothing else is taken in its place")
    };
    match path.symlink_metadata() {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(&e)),
        Ok(_) => {}
    }
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(&e))?;
    let id = path.display().to_string();
    Ok(Some(Source { id, name: name.to_owned(), origin: Origin::File(path.to_owned()), text: text.into() }))
}

#[derive(Default)]
struct State {
    /// Sources being evaluated now, outermost first.
    loading: Vec<String>,
    modules: HashMap<String, Shared<Module>>,
    aliases: Aliases,
}

/// What each import alias of a run means. The engine looks an alias up by name when a closure runs, so in a module
/// that imports something else under the same alias, a closure handed to it would call the wrong function.
#[derive(Default)]
pub struct Aliases(HashMap<String, (String, String)>);

impl Aliases {
    /// Notes that `alias` means `module` in `importer`; an error when it means something else elsewhere.
    pub fn note(&mut self, alias: &str, module: &str, importer: &str) -> Result<()> {
        if alias.is_empty() {
            return Ok(());
        }
        let (known, elsewhere) =
            self.0.entry(alias.to_owned()).or_insert_with(|| (module.to_owned(), importer.to_owned()));
        if known == module {
            return Ok(());
        }
        let message = format!("`{alias}` means {module} here, and {known} in {elsewhere}");
        Err(Error::failed("module.alias", message)
            .hint("give one of them another alias: a closure that crosses modules would call the wrong one"))
    }
}

/// The engine's module resolver: each module is compiled and evaluated once a run.
#[derive(Clone)]
pub struct Loader {
    places: Places,
    sources: Sources,
    listener: Arc<dyn Listener>,
    reserved: Arc<Vec<String>>,
    /// Told of every source that is used; `None` where nothing is run.
    record: Option<Arc<dyn Record>>,
    state: Arc<Mutex<State>>,
}

impl Loader {
    pub fn new(
        places: Places,
        sources: Sources,
        listener: Arc<dyn Listener>,
        reserved: Arc<Vec<String>>,
        record: Option<Arc<dyn Record>>,
    ) -> Self {
        Self { places, sources, listener, reserved, record, state: Arc::default() }
    }

    /// Says where a source was taken from and remembers it as being evaluated.
    pub fn enter(&self, source: &Source) -> Result<()> {
        self.listener.hear(&Event::Loaded { module: source.name.clone(), origin: source.origin.to_string() });
        let is_script = self.state().loading.is_empty();
        self.state().loading.push(source.id.clone());
        let key = if is_script { "" } else { source.name.as_str() };
        self.record.as_ref().map_or(Ok(()), |record| record.source(key, source))
    }

    /// Refuses a source whose aliases contradict those of the sources before it.
    pub fn note_aliases(&self, source: &Source, ast: &AST) -> Result<(), Box<EvalAltResult>> {
        let find = || self.imports(source, ast);
        let imports = self.places.once().map_or_else(|| Arc::new(find()), |once| once.imported(&source.id, find));
        for Imported { alias, module, position } in imports.iter() {
            let noted = self.state().aliases.note(alias, module, &source.id);
            noted.map_err(|e| EvalAltResult::ErrorRuntime(rhai::Dynamic::from(e), *position))?;
        }
        Ok(())
    }

    fn imports(&self, source: &Source, ast: &AST) -> Vec<Imported> {
        let imports = tree::imports(ast).into_iter().filter_map(|import| {
            // One that can't be found fails where it is imported.
            let module = self.places.module(Some(source), import.name.as_deref()?).ok()?;
            Some(Imported { alias: import.alias, module: module.id, position: import.position })
        });
        imports.collect()
    }

    fn leave(&self) {
        self.state().loading.pop();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse_circle(&self, source: &Source) -> Result<()> {
        let state = self.state();
        let Some(start) = state.loading.iter().position(|id| *id == source.id) else { return Ok(()) };
        let circle = state.loading[start..].iter().chain([&source.id]).map(String::as_str);
        let message = format!("circular import: {}", circle.collect::<Vec<_>>().join(" → "));
        Err(Error::failed("module.circular", message).hint("move what both need into a third module"))
    }
}

impl ModuleResolver for Loader {
    fn resolve(
        &self,
        engine: &Engine,
        importer: Option<&str>,
        name: &str,
        position: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        let at = |error: Error| Box::new(EvalAltResult::ErrorRuntime(rhai::Dynamic::from(error), position));
        let importer = importer.and_then(|id| self.sources.get(id));
        let source = self.places.module(importer.as_ref(), name).map_err(at)?;
        self.refuse_circle(&source).map_err(at)?;
        if let Some(module) = self.state().modules.get(&source.id) {
            return Ok(module.clone());
        }
        self.enter(&source).map_err(at)?;
        let module = engine::compile(engine, &self.sources, &self.reserved, self.places.once(), &source)
            .and_then(|ast| self.note_aliases(&source, &ast).map(|()| ast))
            .and_then(|ast| Module::eval_ast_as_new(Scope::new(), &ast, engine));
        self.leave();
        let mut module = module.map_err(|e| EvalAltResult::ErrorInModule(source.id.clone(), e, position))?;
        module.set_id(source.id.clone());
        module.build_index();
        let module = Shared::new(module);
        self.state().modules.insert(source.id, module.clone());
        Ok(module)
    }
}
