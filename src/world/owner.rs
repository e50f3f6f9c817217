//! On whose behalf the engine is spoken to: who that is, and what it has to say about an engine that has answered.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock, RwLockReadGuard, Weak};

use super::container::EngineInfo;
use super::error::Result;

/// Heard before anything else is asked of an engine.
pub trait Doorkeeper: Send + Sync {
    /// An engine has answered. After an error nothing is asked of it.
    fn meets(&self, engine: &EngineInfo) -> Result<()>;

    /// Why a container of pgscript's own, which by its labels outlives the process that made it, is nobody's any more;
    /// `None` as long as it may be somebody's.
    fn abandoned(&self, labels: &BTreeMap<String, String>) -> Option<String>;
}

/// Shared by all parts of the live world; nobody at first.
#[derive(Clone, Default)]
pub struct Owner(Arc<RwLock<State>>);

#[derive(Default)]
struct State {
    name: Option<Arc<str>>,
    process: Option<Arc<str>>,
    /// How often there was a new one.
    turn: u64,
    doorkeeper: Option<Weak<dyn Doorkeeper>>,
    only_looks: bool,
}

impl Owner {
    /// The name that the live world writes on the helper containers it makes.
    pub fn set(&self, name: &str) {
        self.0.write().unwrap_or_else(|e| e.into_inner()).name = Some(name.into());
    }

    pub fn name(&self) -> Option<Arc<str>> {
        self.state().name.clone()
    }

    /// What this process is known by on the helper containers it makes, where it is not one of the system's own: the
    /// lives of a program in a simulated world may all be of one process.
    pub fn live_as(&self, process: &str) {
        self.0.write().unwrap_or_else(|e| e.into_inner()).process = Some(process.into());
    }

    pub fn process(&self) -> Option<Arc<str>> {
        self.state().process.clone()
    }

    /// Whether nothing at all is changed on the engine for now, not even what processes that are gone have left there.
    pub fn only_look(&self, only_looks: bool) {
        self.0.write().unwrap_or_else(|e| e.into_inner()).only_looks = only_looks;
    }

    pub fn only_looks(&self) -> bool {
        self.state().only_looks
    }

    /// From now on an engine, also one that has answered before, is met by this one first, as long as it is there.
    pub fn keeps_door(&self, doorkeeper: Weak<dyn Doorkeeper>) {
        let mut state = self.0.write().unwrap_or_else(|e| e.into_inner());
        state.turn += 1;
        state.doorkeeper = Some(doorkeeper);
    }

    /// Who keeps the door, and a number that changes when it is somebody else.
    pub fn doorkeeper(&self) -> (u64, Option<Arc<dyn Doorkeeper>>) {
        let state = self.state();
        (state.turn, state.doorkeeper.as_ref().and_then(Weak::upgrade))
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(|e| e.into_inner())
    }
}
