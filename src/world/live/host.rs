//! This machine.

use std::path::Path;
use std::time::Duration;

use super::Context;
use crate::world::container::Output;
use crate::world::error::Result;
use crate::world::host::*;

pub struct Machine {
    context: Context,
}

impl Machine {
    pub fn new(context: Context) -> Self {
        Self { context }
    }
}

#[allow(unused_variables)]
impl Host for Machine {
    fn entry(&self, path: &Path) -> Result<Option<Entry>> {
        todo!()
    }

    fn list(&self, dir: &Path) -> Result<Vec<Entry>> {
        todo!()
    }

    fn create_private_dir(&self, path: &Path) -> Result<()> {
        todo!()
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        todo!()
    }

    fn write(&self, path: &Path, content: &[u8], overwrite: bool) -> Result<()> {
        todo!()
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        todo!()
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        todo!()
    }

    fn space(&self, path: &Path) -> Result<Space> {
        todo!()
    }

    fn sha256(&self, path: &Path) -> Result<String> {
        todo!()
    }

    fn run(&self, command: &Command) -> Result<Output> {
        todo!()
    }

    fn hostname(&self) -> Result<String> {
        todo!()
    }

    fn now(&self) -> String {
        todo!()
    }

    fn sleep(&self, duration: Duration) -> Result<()> {
        todo!()
    }

    fn create(&self, path: &Path) -> Result<Box<dyn std::io::Write + Send>> {
        todo!()
    }

    fn open(&self, path: &Path) -> Result<Box<dyn std::io::Read + Send>> {
        todo!()
    }
}
