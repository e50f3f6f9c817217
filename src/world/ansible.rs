//! Ansible: playbooks and inventories, through the programs of a site's own installation.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::Result;

/// Where Ansible is and whom it speaks to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Site {
    /// Working directory: where `ansible.cfg` and the playbooks are found.
    pub dir: PathBuf,
    /// A virtual environment (its directory, or its `bin/activate`); programs from `PATH` when `None`.
    pub virtualenv: Option<PathBuf>,
    /// Inventory file or directory, relative to `dir` or absolute; that of `ansible.cfg` when `None`.
    pub inventory: Option<PathBuf>,
    pub limit: Option<String>,
    pub vault_password_file: Option<PathBuf>,
}

/// One run of a playbook.
#[derive(Clone, Debug, Default)]
pub struct PlaybookSpec {
    pub site: Site,
    /// Playbook file, relative to `site.dir` or absolute.
    pub playbook: PathBuf,
    pub tags: Vec<String>,
    pub skip_tags: Vec<String>,
    /// Handed over in a private file, so that no value appears in argv, and as they are: a `{{` in a password
    /// is not a template. They win over those of `extra_vars_files`.
    pub extra_vars: serde_json::Map<String, serde_json::Value>,
    /// `-e @file`, as sites keep their secrets.
    pub extra_vars_files: Vec<PathBuf>,
    /// `--check`
    pub check_mode: bool,
}

/// A host's line of the recap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecap {
    pub ok: u64,
    pub changed: u64,
    pub unreachable: u64,
    pub failed: u64,
    pub skipped: u64,
    pub rescued: u64,
    pub ignored: u64,
}

pub type Recap = BTreeMap<String, HostRecap>;

/// Runs Ansible. Codes: `ansible.not_installed`, `ansible.no_hosts`, `ansible.unreachable` (names host and task),
/// `ansible.failed` (names host, task and Ansible's message), `ansible.inventory`, `ansible.playbook` (missing),
/// `ansible.syntax`, `ansible.vault`, `ansible.extra_vars` (a missing file), `ansible.no_tasks` (tags select nothing).
pub trait Ansible: Send + Sync {
    /// Runs to the end, output line by line as `Event::Output`; any failed or unreachable host is an error.
    fn playbook(&self, spec: &PlaybookSpec) -> Result<Recap>;

    /// The hosts that any play of the playbook would act on, sorted; nothing is run. A play of which the tags select no
    /// task acts on none. `check_mode` makes no difference.
    fn playbook_hosts(&self, spec: &PlaybookSpec) -> Result<Vec<String>>;

    /// Hosts that the inventory and the limit select.
    fn hosts(&self, site: &Site) -> Result<Vec<String>>;

    /// All variables of a host after merging group and host variables, and those of files given as `-e @file`;
    /// templates in them are not evaluated.
    fn host_variables(
        &self,
        site: &Site,
        host: &str,
        extra_vars_files: &[PathBuf],
    ) -> Result<serde_json::Map<String, serde_json::Value>>;

    /// Logs in to every host that the limit selects and runs nothing there (`ansible -m ping`).
    fn ping(&self, site: &Site) -> Result<()>;

    /// The version line of `ansible-playbook --version`.
    fn version(&self, site: &Site) -> Result<String>;
}
