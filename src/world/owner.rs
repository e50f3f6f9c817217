//! On whose behalf helper containers are made, so that those of a killed process can be told from others' and removed.

use std::sync::{Arc, RwLock};

/// A name that the live world writes on the helper containers it makes; empty until one is known.
#[derive(Clone, Debug, Default)]
pub struct Owner(Arc<RwLock<Option<Arc<str>>>>);

impl Owner {
    pub fn set(&self, name: &str) {
        *self.0.write().unwrap_or_else(|e| e.into_inner()) = Some(name.into());
    }

    pub fn name(&self) -> Option<Arc<str>> {
        self.0.read().unwrap_or_else(|e| e.into_inner()).clone()
    }
}
