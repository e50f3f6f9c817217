//! A container that does on the engine's host what can't be done from here: a shell script, run to its end.

use std::collections::BTreeMap;

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
    image: String,
}

impl Volumes {
    /// A worker with the image given, or that of a container that mounts one of the two volumes.
    pub fn worker<'a>(&'a self, task: &'a Task<'a>, image: Option<&str>) -> Result<Worker<'a>> {
        let image = match image {
            Some(image) => image.to_owned(),
            None => {
                let users = self.users(task.from)?.into_iter().chain(self.users(task.to)?).next();
                users.map(|c| c.image_id).ok_or_else(|| {
                    let why = "can't be reached from here, and no image for a helper is known";
                    Error::refused("docker.image_missing", format!("volume {} {why}", task.from))
                        .hint("name an image the engine has, with sh and the core utilities: #{ image: \"…\" }")
                })?
            }
        };
        Ok(Worker { volumes: self, task, image })
    }
}

impl Worker<'_> {
    /// Runs a script as root of the host, with `arguments` as `$1`, `$2` …; its exit code is no error here.
    pub fn run(&self, script: &str, arguments: &[&str], mounts: Vec<Mount>) -> Result<Output> {
        let argv = ["sh", "-c", script, "sh"].into_iter().chain(arguments.iter().copied());
        let spec = ContainerSpec {
            image: Some(self.image.clone()),
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
        self.volumes.containers.run(&spec).map_err(|e| match (e.kind, e.code.as_str()) {
            (Kind::Failed, "docker.failed" | "docker.not_found") => (self.task.refusal)(self.task.from, &e.message),
            _ => e,
        })
    }
}
