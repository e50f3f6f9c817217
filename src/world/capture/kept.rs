//! A captured world that stands alone, to be kept in a file: without what else is on the engine, without secrets, and
//! with what the script has asked of the real world beside it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::beside::Asked;
use crate::world::container::LABEL_HELPER;
use crate::world::secret::{Redactor, Secret, is_named};
use crate::world::sim::State;
use crate::world::sim::cluster::Password;
use crate::world::sim::state::{Content, File, ImageKind};

/// Larger files of the machine are left out, in bytes.
const LARGEST: usize = 1 << 20;
/// Modes of files, as most are.
const FILE: u32 = 0o644;
/// How a URL ends its user and its password.
const URL: [char; 2] = [':', '@'];

/// The world of `captured`, fit to be kept.
pub fn kept(captured: &State, asked: &Asked) -> State {
    let mut state = captured.clone();
    state.answers.clone_from(&asked.answers);
    state.ansible.clone_from(&asked.ansible);
    state.commands.clone_from(&asked.commands);
    state.ansible.hosts.values_mut().for_each(leave_versions);
    leave_out_others(&mut state);
    let secrets = Secrets::of(&mut state);
    secrets.replace(&mut state);
    put_files(&mut state, asked, &secrets);
    state
}

/// Of a host's variables only numbers are kept: versions are, secrets hardly.
fn leave_versions(variables: &mut Map<String, Value>) {
    variables.retain(|_, value| match value {
        Value::String(text) => text.parse::<f64>().is_ok(),
        other => other.is_number(),
    });
}

/// Whatever no container of it uses, what is left of other runs, and what was logged.
fn leave_out_others(state: &mut State) {
    state.containers.retain(|_, container| !container.labels.contains_key(LABEL_HELPER));
    state.containers_mut().for_each(|container| container.log.clear());
    let all = state.containers();
    let mounted: BTreeSet<_> = all.clone().flat_map(|c| c.mounts.iter().map(|mount| mount.name.clone())).collect();
    let joined: BTreeSet<_> = all.clone().flat_map(|c| c.networks.iter().map(|place| place.network.clone())).collect();
    let made_of: BTreeSet<_> = all.map(|c| c.image_id.clone()).collect();
    state.volumes.retain(|name, _| mounted.contains(name));
    state.networks.retain(|name, _| joined.contains(name) || ["bridge", "host", "none"].contains(&name.as_str()));
    let is_used = |image: &crate::world::sim::state::Image| {
        made_of.contains(&image.shown.id) || matches!(image.kind, ImageKind::Postgres { .. })
    };
    state.images.retain(is_used);
}

/// What was found to be secret: each is replaced by another word, the same one wherever it stands, so that whoever
/// could log in still can.
struct Secrets(Vec<String>);

impl Secrets {
    /// Values of variables whose names say so, and passwords of roles.
    fn of(state: &mut State) -> Self {
        let mut found = BTreeSet::new();
        each_variable(state, |name, value| {
            if is_named(name) {
                found.insert(value.clone());
            }
        });
        each_password(state, |password| _ = found.insert(password.clone()));
        found.remove("");
        Self(found.into_iter().collect())
    }

    fn replace(&self, state: &mut State) {
        each_variable(state, |name, value| {
            if is_named(name) {
                *value = self.instead_of(value);
            } else {
                self.replace_in_url(value);
            }
        });
        each_password(state, |password| *password = self.instead_of(password));
    }

    /// An empty one stays so, as does a password that is not known.
    fn instead_of(&self, secret: &str) -> String {
        self.0.iter().position(|known| known == secret).map_or(String::new(), |index| format!("secret-{}", index + 1))
    }

    fn replace_in_url(&self, text: &mut String) {
        let [before, after] = URL;
        for secret in &self.0 {
            *text = text
                .replace(&format!("{before}{secret}{after}"), &format!("{before}{}{after}", self.instead_of(secret)));
        }
    }

    fn redactor(&self) -> Redactor {
        let redactor = Redactor::default();
        self.0.iter().for_each(|secret| redactor.learn(&Secret::new(secret.as_str())));
        redactor
    }
}

/// Every environment variable of containers, images, and what a deploy makes anew.
fn each_variable(state: &mut State, mut visit: impl FnMut(&str, &mut String)) {
    let mut entry = |entry: &mut String| {
        if let Some((name, value)) = entry.split_once('=') {
            let (name, mut value) = (name.to_owned(), value.to_owned());
            visit(&name, &mut value);
            *entry = format!("{name}={value}");
        }
    };
    let in_json = |config: Option<&mut Value>, entry: &mut dyn FnMut(&mut String)| {
        let all = config.and_then(Value::as_array_mut).into_iter().flatten();
        for one in all {
            if let Value::String(text) = one {
                entry(text);
            }
        }
    };
    for container in state.containers_mut() {
        container.env.iter_mut().for_each(&mut entry);
        in_json(container.config.get_mut("Env"), &mut entry);
    }
    state.images.iter_mut().flat_map(|image| &mut image.shown.env).for_each(&mut entry);
    for service in state.stacks.values_mut().flat_map(|stack| &mut stack.services) {
        service.env.iter_mut().for_each(&mut entry);
        in_json(service.like.as_mut().and_then(|like| like.pointer_mut("/Config/Env")), &mut entry);
    }
}

fn each_password(state: &mut State, mut visit: impl FnMut(&mut String)) {
    let trees = state.volumes.values_mut().map(|volume| &mut volume.tree);
    let layers = state.containers.values_mut().map(|container| &mut Arc::make_mut(container).layer);
    let trees = trees.chain(layers);
    let roles = trees.flat_map(|tree| tree.clusters.values_mut()).flat_map(|cluster| cluster.roles.values_mut());
    for password in roles.filter_map(|role| role.password.as_mut()) {
        let (Password::Md5(text) | Password::Scram(text)) = password;
        visit(text);
    }
}

/// Files of the machine that the script has read, as far as they are text.
fn put_files(state: &mut State, asked: &Asked, secrets: &Secrets) {
    let redactor = secrets.redactor();
    for (path, bytes) in asked.files.iter().filter(|(_, bytes)| bytes.len() <= LARGEST) {
        let Ok(text) = std::str::from_utf8(bytes) else { continue };
        let content = Content::Bytes { bytes: redactor.redact(text).into_bytes() };
        let file = File { content: content.clone(), mode: FILE, modified: state.now, synced: Some(content) };
        state.files.insert(path.clone(), file);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::world::sim::state::{Effect, Volume};
    use crate::world::sim::{self, Sim};

    const SERVER: &str = "primero-postgres-1";
    const SECRET: &str = "primero-secret";

    #[test]
    fn no_secret_is_kept_and_whoever_was_let_in_still_is() {
        let mut world = sim::reference(13);
        for container in world.containers_mut() {
            container.env.push(format!("DATABASE_URL=postgres://primero:{SECRET}@postgres/x"));
            container.log.push(format!("connecting with {SECRET}"));
        }
        let mut asked = Asked::default();
        let variables = json!({"primero_postgres_version": "13", "port": 5432, "mail_password": "hunter22", "x": "y"});
        asked.ansible.hosts.insert("primero".into(), variables.as_object().unwrap().clone());
        asked.files.insert("/srv/.env".into(), format!("POSTGRES_PASSWORD={SECRET}\nMAJOR=13\n").into_bytes());
        let kept = kept(&world, &asked);
        let text = kept.to_json().unwrap();
        assert!(!text.contains(SECRET) && !text.contains("hunter22"), "{text}");
        let Content::Bytes { bytes } = &kept.files[std::path::Path::new("/srv/.env")].content else { panic!() };
        let file = String::from_utf8_lossy(bytes);
        assert!(file.ends_with("\nMAJOR=13\n") && !file.contains(SECRET), "{file}");
        let names: Vec<_> = kept.ansible.hosts["primero"].keys().collect();
        assert_eq!(names, ["primero_postgres_version", "port"]);
        assert_eq!(kept.sessions(SERVER).len(), world.sessions(SERVER).len());
        assert_eq!(kept.container(SERVER).unwrap().variable("POSTGRES_USER"), Some("primero"));
    }

    #[test]
    fn what_no_container_of_it_uses_is_left_out() {
        let mut world = sim::reference(13);
        let other = Volume { name: "other".into(), ..world.volumes["primero_database"].clone() };
        world.volumes.insert("other".into(), other);
        world.make_network("others", &crate::world::container::NetworkSpec::default()).unwrap();
        let mut keeper = world.container("primero-nginx-1").unwrap().clone();
        (keeper.id, keeper.name) = ("a keeper".into(), "keeper".into());
        keeper.labels.insert(LABEL_HELPER.into(), "keeper".into());
        world.containers.insert(keeper.id.clone(), keeper.into());
        let kept = kept(&world, &Asked::default());
        let reference = sim::reference(13);
        assert_eq!(kept.volumes.keys().collect::<Vec<_>>(), reference.volumes.keys().collect::<Vec<_>>());
        assert_eq!(kept.networks.keys().collect::<Vec<_>>(), reference.networks.keys().collect::<Vec<_>>());
        assert_eq!(kept.containers.len(), reference.containers.len());
    }

    #[test]
    fn its_deploy_brings_what_was_prepared_and_its_limit_means_the_same_hosts() {
        let mut asked = Asked::default();
        asked.commands.insert("deploy.sh".into(), Effect::Deploy { project: "primero".into(), version: String::new() });
        asked.ansible.hosts.insert("one".into(), Map::new());
        asked.ansible.hosts.insert("two".into(), Map::new());
        asked.ansible.groups.insert("some".into(), ["one".to_owned()].into());
        let mut kept = kept(&sim::reference(13), &asked);
        let place = kept.container(SERVER).unwrap().server.clone().unwrap();
        kept.stop(SERVER).unwrap();
        let tree = &mut kept.volumes.get_mut(place.volume.as_deref().unwrap()).unwrap().tree;
        tree.clusters.get_mut(&place.directory).unwrap().major = 15;
        let effect = kept.commands["deploy.sh"].clone();
        kept.effect(&effect, &Map::new()).unwrap();
        assert_eq!(kept.container(SERVER).unwrap().image, "pgscript-test/postgres:15");
        let context = sim::Context {
            sim: Sim::in_memory(kept),
            cancel: crate::world::Cancel::default(),
            listener: std::sync::Arc::new(crate::event::Silent),
            redactor: Redactor::default(),
            owner: crate::world::Owner::default(),
        };
        let site = crate::world::ansible::Site { limit: Some("some".into()), ..Default::default() };
        assert_eq!(sim::world(context).ansible.hosts(&site).unwrap(), ["one"]);
    }
}
