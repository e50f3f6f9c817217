//! Volumes as files.

use std::path::Path;
use std::sync::Arc;

use super::Context;
use crate::world::container::ContainerEngine;
use crate::world::error::Result;
use crate::world::volume::*;

pub struct Volumes {
    context: Context,
    containers: Arc<dyn ContainerEngine>,
}

impl Volumes {
    pub fn new(context: Context, containers: Arc<dyn ContainerEngine>) -> Self {
        Self { context, containers }
    }
}

#[allow(unused_variables)]
impl VolumeArchive for Volumes {
    fn backup(&self, volume: &str, path: &Path, options: &BackupOptions) -> Result<Backup> {
        todo!()
    }

    fn open(&self, path: &Path) -> Result<Backup> {
        todo!()
    }

    fn verify(&self, backup: &Backup) -> Result<()> {
        todo!()
    }

    fn restore(&self, backup: &Backup, volume: &str, options: &BackupOptions) -> Result<()> {
        todo!()
    }

    fn pg_version(&self, volume: &str) -> Result<String> {
        todo!()
    }

    fn size(&self, volume: &str) -> Result<(u64, bool)> {
        todo!()
    }
}
