//! A container that does on the engine's host what can't be done from here: a shell script, run to its end.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Volumes;
use crate::world::Kind;
use crate::world::container::{ContainerSpec, LABEL_HELPER, Mount, Output};
use crate::world::error::{Error, Result};

/// What a worker is for.
pub struct Task<'t> {
    /// Value of [`LABEL_HELPER`].
    pub purpose: &'static str,
    pub from: &'t str,
    /// The volume that is made.
    pub to: &'t str,
    /// The error when the engine or the image doesn't allow it, of the volume `from` and the reason.
    pub refusal: fn(&str, &str) -> Error,
}

/// A way to run scripts on the engine's host.
pub struct Worker<'a> {
    volumes: &'a Volumes,
    task: &'a Task<'a>,
    /// The one in use, and those that can stand in for it.
    images: Mutex<VecDeque<String>>,
}

impl Volumes {
    /// A worker with the image given, or one that the engine has: that of a container that mounts one of the two
    /// volumes, or that the run holds on to, before any other.
    pub fn worker<'a>(&'a self, task: &'a Task<'a>, image: Option<&str>) -> Result<Worker<'a>> {
        let images = match image {
            Some(image) => vec![image.to_owned()],
            None => self.containers.spare_images(&[task.from, task.to], None)?,
        };
        if images.is_empty() {
            let why = "can't be reached from here, and no image for a helper is known";
            return Err(Error::refused("docker.image_missing", format!("volume {} {why}", task.from))
                .hint("name an image the engine has, with sh and the core utilities: #{ image: \"…\" }"));
        }
        Ok(Worker { volumes: self, task, images: Mutex::new(images.into()) })
    }
}

impl Worker<'_> {
    /// Runs a script as root of the host, with `arguments` as `$1`, `$2` …; its exit code is no error here.
    pub fn run(&self, script: &str, arguments: &[&str], mounts: Vec<Mount>) -> Result<Output> {
        let argv = ["sh", "-c", script, "sh"].into_iter().chain(arguments.iter().copied());
        let mut spec = ContainerSpec {
            entrypoint: Some(argv.map(str::to_owned).collect()),
            command: Some(Vec::new()),
            env: vec!["LC_ALL=C".into()],
            labels: Some(BTreeMap::from([(LABEL_HELPER.into(), self.task.purpose.into())])),
            mounts,
            network: Some("none".into()),
            user: Some("0:0".into()),
            host_user_namespace: true,
            ..ContainerSpec::default()
        };
        loop {
            spec.image = self.images().front().cloned();
            let error = match self.volumes.containers.run(&spec) {
                Err(error) => error,
                done => return done,
            };
            // Gone meanwhile, or without a shell: another one will do.
            if self.images().len() > 1 && is_of_no_use(&error) {
                self.images().pop_front();
                continue;
            }
            return Err(match (error.kind, error.code.as_str()) {
                (Kind::Failed, "docker.failed" | "docker.not_found") => {
                    (self.task.refusal)(self.task.from, &error.message)
                }
                _ => error,
            });
        }
    }

    fn images(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_of_no_use(error: &Error) -> bool {
    error.code == "docker.image_missing" || error.message.contains("executable file not found")
}
