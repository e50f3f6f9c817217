//! Ansible programs of the site.

use super::Context;
use crate::world::ansible::*;
use crate::world::error::Result;

pub struct AnsiblePrograms {
    context: Context,
}

impl AnsiblePrograms {
    pub fn new(context: Context) -> Self {
        Self { context }
    }
}

#[allow(unused_variables)]
impl Ansible for AnsiblePrograms {
    fn playbook(&self, spec: &PlaybookSpec) -> Result<Recap> {
        todo!()
    }

    fn hosts(&self, site: &Site) -> Result<Vec<String>> {
        todo!()
    }

    fn host_variables(&self, site: &Site, host: &str) -> Result<serde_json::Map<String, serde_json::Value>> {
        todo!()
    }

    fn version(&self, site: &Site) -> Result<String> {
        todo!()
    }
}
