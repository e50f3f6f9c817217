//! Whether a new dump may take the place of an older one. Data was lost in the field where the dump of a fresh, empty
//! cluster was written over the good one.

use std::fs;
use std::path::Path;

use super::{record, staging};
use crate::world::error::{Error, Result};
use crate::world::postgres::{Dump, DumpOptions, Server};

/// The dump that a new one of this cluster is going to replace; `None` when there is nothing at its path.
pub fn older(path: &Path, options: &DumpOptions, server: &Server, system_identifier: &str) -> Result<Option<Dump>> {
    staging::settle(path)?;
    if !options.replace || fs::symlink_metadata(path).is_err() {
        return Ok(None);
    }
    let Some(old) = recorded(path)? else {
        let message = format!("{} says nowhere which cluster it is of, so it is not replaced", path.display());
        return Err(Error::refused("dump.other_cluster", message).hint("take another name, or move it away"));
    };
    if old.format != options.format {
        let message = format!("{} is a dump in another format, so it is not replaced", path.display());
        return Err(Error::refused("dump.exists", message).hint("take another name, or move it away"));
    }
    if old.system_identifier != system_identifier {
        let message = format!(
            "the dump {} is of cluster {}; {} is cluster {system_identifier}",
            path.display(),
            if old.system_identifier.is_empty() { "unknown" } else { &old.system_identifier },
            server.container_name
        );
        return Err(Error::refused("dump.other_cluster", message)
            .hint("one cluster's dump does not replace another's: take another name, or move it away"));
    }
    Ok(Some(old))
}

/// The record of what is at a path. A plain dump that was cut off between its two files still has its record under the
/// temporary name; it has been agreed to replace whatever is at the path.
fn recorded(path: &Path) -> Result<Option<Dump>> {
    let beside = record::beside(path);
    let candidates =
        if path.is_dir() { vec![path.join(record::NAME)] } else { vec![beside.clone(), staging::partial(&beside)?] };
    candidates.iter().find(|candidate| candidate.exists()).map(|found| record::read(found, path)).transpose()
}
