//! What the facts of a run add up to: which content each volume has, where else that content is, and which database is
//! fenced off. Nothing here asks the outside world: [`guards`](super::guards) does.
//!
//! Content is told apart by a lineage (the data of one cluster, wherever they go) and a version, which rises whenever
//! somebody may have written. A copy proves something of a volume only if it has the volume's very version.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::evidence::Fact;

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    count: u64,
    volumes: BTreeMap<String, Held>,
    /// Volumes whose removal was announced, and is not known to have happened.
    leaving: BTreeMap<String, Held>,
    /// Where content was about to go, by where it was.
    moving: BTreeMap<String, String>,
    copies: BTreeMap<PathBuf, Copy>,
    begun: BTreeSet<PathBuf>,
    /// Checksums of the backups that were started, and of the contents that were saved.
    booted: BTreeMap<PathBuf, String>,
    contents: BTreeMap<PathBuf, String>,
    /// The backup that a volume was unpacked from, as nobody has written to it since: its path and checksum.
    unpacked: BTreeMap<String, (PathBuf, String)>,
    /// The start of a container that is known, by container and volume.
    starts: HashMap<(String, String), String>,
    starting: HashSet<String>,
    created: HashSet<String>,
    held: HashSet<String>,
    /// Files with definitions of containers.
    definitions: BTreeSet<PathBuf>,
    /// Projects by volume.
    projects: BTreeMap<String, BTreeSet<String>>,
    fences: BTreeMap<String, Fence>,
    /// What was compared before it took anybody's place: the number of the cluster that it holds the same as, by its
    /// lineage.
    proved: HashMap<u64, String>,
    /// What was upgraded with the files that it had, by its lineage.
    upgraded: HashMap<u64, Upgrade>,
}

/// A cluster that was upgraded in its place.
#[derive(Clone, Debug)]
pub struct Upgrade {
    /// The number of the cluster that it was.
    pub from: String,
    /// Files of relations that were made anew.
    pub others: Vec<String>,
    /// None of them is of a table or an index.
    is_proved: bool,
}

/// The content of a volume or file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    pub lineage: u64,
    pub version: u64,
}

/// What a volume's name stands for.
#[derive(Clone, Debug)]
struct Held {
    content: Content,
    /// The name under which the run met this content.
    home: String,
    /// Nothing in it was there before the run.
    is_made: bool,
    /// Nor has anybody else used it since.
    is_ours: bool,
    /// It was cloned from another volume, which still is what it was.
    is_clone: bool,
}

/// A backup or dump.
#[derive(Clone, Debug)]
struct Copy {
    /// `None`: complete, but of what is not known.
    content: Option<Content>,
    kind: Kind,
    /// It was not made by this run.
    is_foreign: bool,
    is_verified: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    Backup { sha256: String },
    Dump { system_identifier: String, tables: u64, restored_into: Vec<String> },
}

impl Copy {
    /// A dump without any table proves nothing, whoever has read it.
    fn is_sound(&self) -> bool {
        self.is_verified && !matches!(self.kind, Kind::Dump { tables: 0, .. })
    }
}

/// Where content of a volume also is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// `sha256` is empty where it is not known.
    Backup {
        path: PathBuf,
        sha256: String,
    },
    Dump {
        path: PathBuf,
    },
    Volume {
        name: String,
    },
    /// The server that was compared with the original.
    Server,
}

/// A stack (a Compose project, or the run's containers that have none) whose database was put aside or removed. It
/// stays down until the data is back, or compared.
#[derive(Clone, Debug)]
struct Fence {
    is_up: bool,
    /// Names that its database had.
    volumes: BTreeSet<String>,
    /// Of the content that was there first.
    original: u64,
    is_restored: bool,
    is_compared: bool,
    /// Not up because the operator wants it so.
    is_lifted: bool,
}

impl Ledger {
    pub fn of(facts: &[Fact]) -> Self {
        let mut ledger = Self::default();
        facts.iter().for_each(|fact| ledger.apply(fact));
        ledger
    }

    /// Takes one more fact into account.
    pub fn apply(&mut self, fact: &Fact) {
        match fact {
            Fact::VolumeCreated { volume } => {
                let content = self.new_content();
                self.hold(
                    volume,
                    Held { content, home: volume.clone(), is_made: true, is_ours: true, is_clone: false },
                );
            }
            Fact::VolumeInUse { volume } => self.use_volume(volume, true),
            Fact::VolumeWritten { volume } => self.use_volume(volume, false),
            Fact::VolumeMoving { from, to } => _ = self.moving.insert(from.clone(), to.clone()),
            Fact::VolumeMoved { from, to } => self.move_volume(from, to),
            Fact::VolumeCloned { from, to } | Fact::CopyCaughtUp { from, to, .. } => {
                let original = self.meet(from);
                self.hold(to, Held { home: to.clone(), is_clone: true, ..original });
            }
            Fact::ClusterUpgraded { volume, from, same, others, .. } if *same > 0 => {
                let lineage = self.meet(volume).content.lineage;
                let upgrade = Upgrade { from: from.clone(), others: others.clone(), is_proved: false };
                self.upgraded.insert(lineage, upgrade);
            }
            Fact::FilesProved { volume } => {
                let lineage = self.meet(volume).content.lineage;
                self.upgraded.get_mut(&lineage).into_iter().for_each(|upgrade| upgrade.is_proved = true);
            }
            Fact::VolumeRemoved { volume } => {
                let held = self.leave(volume);
                self.leaving.insert(volume.clone(), held);
            }
            Fact::VolumeGone { volume } => _ = self.leaving.remove(volume),
            Fact::VolumeStays { volume } => {
                if let Some(held) = self.leaving.remove(volume) {
                    let lineage = held.content.lineage;
                    self.hold(volume, held);
                    self.come_back(volume, |fence| fence.original == lineage);
                }
            }
            Fact::VolumeRestored { volume, path, sha256 } => {
                self.restore_volume(volume, path);
                self.unpacked.insert(volume.clone(), (path.clone(), sha256.clone()));
            }
            Fact::Holder { container, volume, started_at } => {
                self.starts.insert((container.clone(), volume.clone()), started_at.clone());
                self.starting.remove(container);
            }
            Fact::ClusterOf { volume, project } => {
                self.projects.entry(volume.clone()).or_default().insert(project.clone());
            }
            Fact::FenceLifted { project } => self.lift(project),
            Fact::Starting { container } => _ = self.starting.insert(container.clone()),
            Fact::ContainerCreated { container } => _ = self.created.insert(container.clone()),
            Fact::Held { container, .. } => _ = self.held.insert(container.clone()),
            Fact::Released { container } => _ = self.held.remove(container),
            Fact::DefinitionSaved { path, .. } => _ = self.definitions.insert(path.clone()),
            of_files => self.apply_files(of_files),
        }
    }

    fn apply_files(&mut self, fact: &Fact) {
        match fact {
            Fact::ArtefactBegun { path } => {
                self.copies.remove(path);
                self.booted.remove(path);
                self.begun.insert(path.clone());
            }
            Fact::ArtefactRemoved { path } => {
                self.copies.retain(|copy, _| !copy.starts_with(path));
                self.booted.retain(|copy, _| !copy.starts_with(path));
            }
            Fact::BackupBooted { path, sha256, .. } => _ = self.booted.insert(path.clone(), sha256.clone()),
            Fact::ContentSaved { path, sha256 } => _ = self.contents.insert(path.clone(), sha256.clone()),
            Fact::BackupTaken { volume, path, sha256 } => {
                self.booted.remove(path);
                let content = Some(self.meet(volume).content);
                let kind = Kind::Backup { sha256: sha256.clone() };
                self.copies.insert(path.clone(), Copy { content, kind, is_foreign: false, is_verified: false });
            }
            Fact::BackupVerified { path } => {
                let content = Some(self.new_content());
                let kind = Kind::Backup { sha256: String::new() };
                let foreign = Copy { content, kind, is_foreign: true, is_verified: true };
                self.copies.entry(path.clone()).or_insert(foreign).is_verified = true;
            }
            Fact::DumpTaken { path, volume, system_identifier, tables, fenced, .. } => {
                let content = volume.as_ref().map(|volume| self.meet(volume).content);
                let (system_identifier, tables) = (system_identifier.clone(), *tables);
                let kind = Kind::Dump { system_identifier, tables, restored_into: Vec::new() };
                self.copies.insert(path.clone(), Copy { content, kind, is_foreign: false, is_verified: false });
                if let (Some(volume), false) = (volume, fenced) {
                    self.use_volume(volume, true);
                }
            }
            Fact::DumpVerified { path } => {
                if let Some(copy) = self.copies.get_mut(path) {
                    copy.is_verified = true;
                }
            }
            Fact::Restored { path, container } => self.restore_dump(path, container),
            Fact::Compared { system_identifier, after, tables, .. } if *tables > 0 => {
                self.compare(system_identifier, after);
            }
            _ => {}
        }
    }

    fn count(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn new_content(&mut self) -> Content {
        let version = self.count();
        Content { lineage: version, version }
    }

    fn hold(&mut self, volume: &str, held: Held) {
        self.leaving.remove(volume);
        self.unpacked.remove(volume);
        self.volumes.insert(volume.to_owned(), held);
    }

    /// What the volume holds; what is met for the first time is content of its own.
    fn meet(&mut self, volume: &str) -> Held {
        if let Some(held) = self.volumes.get(volume) {
            return held.clone();
        }
        let content = self.new_content();
        let unknown = Held { content, home: volume.to_owned(), is_made: false, is_ours: false, is_clone: false };
        let held = self.leaving.remove(volume).unwrap_or(unknown);
        self.hold(volume, held.clone());
        held
    }

    fn use_volume(&mut self, volume: &str, by_others: bool) {
        let version = self.count();
        // What a deploy writes to our own volume before the data is there is nobody's.
        let is_fenced = self.fences_of(volume).any(|fence| fence.is_up);
        self.leaving.remove(volume);
        self.unpacked.remove(volume);
        if let Some(held) = self.volumes.get_mut(volume) {
            held.content.version = version;
            held.is_ours &= is_fenced || !by_others;
            if by_others {
                self.proved.remove(&held.content.lineage);
                self.upgraded.remove(&held.content.lineage);
            }
        }
    }

    fn fences_of(&self, volume: &str) -> impl Iterator<Item = &Fence> {
        let projects = self.projects.get(volume).into_iter().flatten();
        projects.filter_map(|project| self.fences.get(project))
    }

    /// The volume's name stands for nothing any more; a database that was there is fenced off.
    fn leave(&mut self, volume: &str) -> Held {
        let held = self.meet(volume);
        self.volumes.remove(volume);
        self.unpacked.remove(volume);
        self.moving.remove(volume);
        // A copy to try something on goes without anybody's database going.
        let is_scratch = held.is_ours || held.is_clone && held.home == volume;
        for project in self.projects.get(volume).into_iter().flatten() {
            if is_scratch && !self.fences.contains_key(project) {
                continue;
            }
            let first = || Fence {
                is_up: true,
                volumes: BTreeSet::new(),
                original: held.content.lineage,
                is_restored: false,
                is_compared: false,
                is_lifted: false,
            };
            let fence = self.fences.entry(project.clone()).or_insert_with(first);
            (fence.is_up, fence.is_restored, fence.is_lifted) = (true, false, false);
            fence.volumes.insert(volume.to_owned());
        }
        held
    }

    fn move_volume(&mut self, from: &str, to: &str) {
        self.moving.remove(from);
        // Said again by a step that is run again.
        if !self.volumes.contains_key(from) && self.volumes.contains_key(to) {
            return;
        }
        let held = self.leave(from);
        let content = held.content;
        // Another run has put it aside: this one met it under this name, and has not made it.
        let is_foreign = held.home == from && !held.is_made;
        let takes_place = self.take_place(to, content.lineage);
        let home = if takes_place { to.to_owned() } else { held.home.clone() };
        // It was moved because somebody wants it.
        self.hold(to, Held { is_ours: false, home, ..held });
        self.come_back(to, |fence| is_foreign || fence.original == content.lineage);
    }

    /// What was compared with a database that was put aside comes under its name. Gives whether it is so.
    fn take_place(&mut self, volume: &str, lineage: u64) -> bool {
        let Some(identifier) = self.proved.get(&lineage).cloned() else { return false };
        let waiting = self.fences.iter().filter(|(_, fence)| fence.is_up && fence.volumes.contains(volume));
        let is_it = |original| {
            let known = self.identifiers(original);
            known.is_empty() || known.contains(identifier.as_str())
        };
        let served: Vec<_> =
            waiting.filter(|(_, fence)| is_it(fence.original)).map(|(project, _)| project.clone()).collect();
        for project in &served {
            if let Some(fence) = self.fences.get_mut(project) {
                (fence.is_up, fence.is_compared) = (false, true);
            }
        }
        !served.is_empty()
    }

    fn restore_volume(&mut self, volume: &str, path: &Path) {
        let foreign = self.new_content();
        let copy = self.copies.get(path);
        let content = copy.and_then(|copy| copy.content).unwrap_or(foreign);
        let (is_verified, is_foreign) = copy.map_or((false, true), |copy| (copy.is_verified, copy.is_foreign));
        // In the place of a database it is the data; elsewhere it is a copy of our own.
        let is_ours = self.is_ours(volume) && !self.projects.contains_key(volume);
        self.hold(volume, Held { content, home: volume.to_owned(), is_made: is_ours, is_ours, is_clone: false });
        if is_verified {
            self.come_back(volume, |fence| is_foreign || fence.original == content.lineage);
        }
    }

    /// The data of a project is where its server looks for it.
    fn come_back(&mut self, volume: &str, is_original: impl Fn(&Fence) -> bool) {
        let back = self.fences.values_mut().filter(|fence| fence.volumes.contains(volume) && is_original(fence));
        back.for_each(|fence| (fence.is_up, fence.is_restored, fence.is_lifted) = (false, false, false));
    }

    /// Whoever uses the database now, uses it in earnest.
    fn lift(&mut self, project: &str) {
        if let Some(fence) = self.fences.get_mut(project) {
            (fence.is_up, fence.is_lifted) = (false, true);
        }
        let of = |(volume, projects): (&String, &BTreeSet<String>)| projects.contains(project).then(|| volume.clone());
        for volume in self.projects.iter().filter_map(of).collect::<Vec<_>>() {
            self.volumes.get_mut(&volume).into_iter().for_each(|held| held.is_ours = false);
        }
    }

    /// The volumes that a container is known to write to.
    pub fn volumes_of(&self, container: &str) -> Vec<String> {
        let of = |(known, volume): &(String, String)| (known == container).then(|| volume.clone());
        self.starts.keys().filter_map(of).collect()
    }

    fn projects_of(&self, container: &str) -> BTreeSet<String> {
        let volumes = self.volumes_of(container);
        volumes.iter().filter_map(|volume| self.projects.get(volume)).flatten().cloned().collect()
    }

    fn restore_dump(&mut self, path: &Path, container: &str) {
        if let Some(Copy { kind: Kind::Dump { restored_into, .. }, .. }) = self.copies.get_mut(path) {
            restored_into.push(container.to_owned());
        }
        for project in self.projects_of(container) {
            if let Some(fence) = self.fences.get_mut(&project).filter(|fence| fence.is_up) {
                fence.is_restored = true;
            }
        }
    }

    fn compare(&mut self, identifier: &str, after: &str) {
        for copy in self.copies.values_mut() {
            if let Kind::Dump { system_identifier, restored_into, .. } = &copy.kind {
                let is_it = system_identifier.is_empty() || system_identifier == identifier;
                copy.is_verified |= is_it && restored_into.iter().any(|container| container == after);
            }
        }
        for project in self.projects_of(after) {
            let waiting = self.fences.get(&project).filter(|fence| fence.is_up || fence.is_lifted);
            let Some(original) = waiting.map(|fence| fence.original) else { continue };
            let known = self.identifiers(original);
            if (known.is_empty() || known.contains(identifier))
                && let Some(fence) = self.fences.get_mut(&project)
            {
                (fence.is_up, fence.is_lifted, fence.is_compared) = (false, false, true);
            }
        }
        // From here on it is the data.
        for volume in self.volumes_of(after) {
            if let Some(held) = self.volumes.get_mut(&volume) {
                held.is_ours = false;
                self.proved.insert(held.content.lineage, identifier.to_owned());
            }
        }
    }

    /// The numbers of the clusters whose dumps are of this lineage.
    fn identifiers(&self, lineage: u64) -> BTreeSet<&str> {
        let of = |copy: &Copy| copy.content.is_some_and(|content| content.lineage == lineage);
        let dumps = self.copies.values().filter(|copy| of(copy)).filter_map(|copy| match &copy.kind {
            Kind::Dump { system_identifier, .. } => Some(system_identifier.as_str()),
            Kind::Backup { .. } => None,
        });
        dumps.filter(|identifier| !identifier.is_empty()).collect()
    }
}

/// What the guards ask.
impl Ledger {
    /// Whether anything was stated of the volume's content.
    pub fn knows(&self, volume: &str) -> bool {
        self.volumes.contains_key(volume) || self.leaving.contains_key(volume)
    }

    fn held(&self, volume: &str) -> Option<&Held> {
        self.volumes.get(volume).or_else(|| self.leaving.get(volume))
    }

    /// Nothing in the volume was there before the run, and nobody else has used it since.
    pub fn is_ours(&self, volume: &str) -> bool {
        self.held(volume).is_some_and(|held| held.is_ours)
    }

    /// How the cluster in a volume was upgraded, if nobody else has used it since.
    pub fn upgrade_in(&self, volume: &str) -> Option<&Upgrade> {
        self.volumes.get(volume).and_then(|held| self.upgraded.get(&held.content.lineage))
    }

    /// Whether the cluster in the container's volumes was upgraded from the one of that number, file by file.
    pub fn is_upgrade_of(&self, container: &str, identifier: &str) -> bool {
        let is_it = |upgrade: &Upgrade| upgrade.is_proved && upgrade.from == identifier;
        self.volumes_of(container).iter().filter_map(|volume| self.upgrade_in(volume)).any(is_it)
    }

    /// The name that the volume's content had before this run has put it aside.
    pub fn put_aside_from(&self, volume: &str) -> Option<String> {
        self.held(volume).filter(|held| held.home != volume).map(|held| held.home.clone())
    }

    /// Where the content of the volume also is, as far as the run has proved it.
    pub fn copies_of(&self, volume: &str) -> Vec<Place> {
        let Some(held) = self.held(volume) else { return Vec::new() };
        let content = held.content;
        self.sound_copies(|other| other == content, Some(volume), &[])
    }

    /// Backups of the very content of the volume, with their checksums.
    pub fn backups_of(&self, volume: &str) -> Vec<(PathBuf, String)> {
        let backup = |place| match place {
            Place::Backup { path, sha256 } => Some((path, sha256)),
            _ => None,
        };
        self.copies_of(volume).into_iter().filter_map(backup).collect()
    }

    /// Whether a server was started on what was unpacked from this backup, and held what was recorded.
    pub fn is_booted(&self, path: &Path, sha256: &str) -> bool {
        self.booted.get(path).is_some_and(|known| known == sha256)
    }

    /// The checksum of the backup that this run has written at that path.
    pub fn backup_at(&self, path: &Path) -> Option<&str> {
        match self.copies.get(path).map(|copy| &copy.kind) {
            Some(Kind::Backup { sha256 }) => Some(sha256),
            _ => None,
        }
    }

    /// The backup that the volume was unpacked from, path and checksum, as nobody has written to it since.
    pub fn unpacked_from(&self, volume: &str) -> Option<&(PathBuf, String)> {
        self.unpacked.get(volume)
    }

    /// Checksums of the contents that were saved, by file.
    pub fn contents(&self) -> &BTreeMap<PathBuf, String> {
        &self.contents
    }

    /// Whether the volume holds a database in whose place a new server is, which was compared with it.
    pub fn is_replaced(&self, volume: &str) -> bool {
        let Some(held) = self.held(volume) else { return false };
        self.fences.values().any(|fence| fence.is_compared && fence.original == held.content.lineage)
    }

    /// Files with an older state of the volume's content, and those that were not read back.
    pub fn insufficient_copies_of(&self, volume: &str) -> Vec<(PathBuf, &'static str)> {
        let Some(Held { content, .. }) = self.held(volume) else { return Vec::new() };
        let why = |copy: &Copy| match copy.content? {
            of if of.lineage != content.lineage => None,
            _ if matches!(copy.kind, Kind::Dump { tables: 0, .. }) => Some("holds no table"),
            of if of.version < content.version => Some("is older than the last use of the volume"),
            _ if !copy.is_verified => Some("was not read back"),
            _ => None,
        };
        self.copies.iter().filter_map(|(path, copy)| Some((path.clone(), why(copy)?))).collect()
    }

    fn sound_copies(&self, is_it: impl Fn(Content) -> bool, but: Option<&str>, without: &[PathBuf]) -> Vec<Place> {
        let files = self.copies.iter().filter(|(path, copy)| {
            copy.is_sound() && copy.content.is_some_and(&is_it) && !without.iter().any(|gone| path.starts_with(gone))
        });
        let files = files.map(|(path, copy)| match &copy.kind {
            Kind::Backup { sha256 } => Place::Backup { path: path.clone(), sha256: sha256.clone() },
            Kind::Dump { .. } => Place::Dump { path: path.clone() },
        });
        let volumes = self.volumes.iter().filter(|(name, held)| Some(name.as_str()) != but && is_it(held.content));
        files.chain(volumes.map(|(name, _)| Place::Volume { name: name.clone() })).collect()
    }

    /// Where what a file holds also is when everything at `without` is gone: in the volume itself, in a later state
    /// too, in another file, in the server that was compared. `None` where nothing is known of what it holds.
    pub fn other_copies(&self, path: &Path, without: &[PathBuf]) -> Option<Vec<Place>> {
        let content = self.copies.get(path)?.content?;
        let is_it = |other: Content| other.lineage == content.lineage && other.version >= content.version;
        let mut places = self.sound_copies(is_it, None, without);
        if self.fences.values().any(|fence| fence.is_compared && fence.original == content.lineage) {
            places.push(Place::Server);
        }
        Some(places)
    }

    /// Whether this run has written a backup or dump at that path, or began to.
    pub fn has_written(&self, path: &Path) -> bool {
        self.begun.contains(path) || self.copies.get(path).is_some_and(|copy| !copy.is_foreign)
    }

    /// Moves that may have happened: where the content was, and where it went.
    pub fn moving(&self) -> Vec<(String, String)> {
        self.moving.iter().map(|(from, to)| (from.clone(), to.clone())).collect()
    }

    /// Volumes whose removal was announced.
    pub fn leaving(&self) -> Vec<String> {
        self.leaving.keys().cloned().collect()
    }

    pub fn is_starting(&self, container: &str) -> bool {
        self.starting.contains(container)
    }

    /// The start of the container that the run knows of.
    pub fn start_of(&self, container: &str, volume: &str) -> Option<String> {
        self.starts.get(&(container.to_owned(), volume.to_owned())).cloned()
    }

    /// Whether the run has made the container.
    pub fn is_created(&self, container: &str) -> bool {
        self.created.contains(container)
    }

    pub fn is_held(&self, container: &str) -> bool {
        self.held.contains(container)
    }

    /// Files that hold definitions of containers, as far as they are there.
    pub fn definitions(&self) -> &BTreeSet<PathBuf> {
        &self.definitions
    }

    /// Whether the volume is known to hold the database of the project.
    pub fn is_cluster_of(&self, volume: &str, project: &str) -> bool {
        self.projects.get(volume).is_some_and(|projects| projects.contains(project))
    }

    pub fn has_project(&self, volume: &str) -> bool {
        self.projects.contains_key(volume)
    }

    /// Whether the project's database was put aside, and neither is back nor was compared.
    pub fn is_fenced(&self, project: &str) -> bool {
        self.fences.get(project).is_some_and(|fence| fence.is_up)
    }

    /// Fenced projects into whose server data was restored that nobody has compared yet.
    pub fn uncompared(&self) -> Vec<String> {
        let uncompared = self.fences.iter().filter(|(_, fence)| fence.is_up && fence.is_restored);
        uncompared.map(|(project, _)| project.clone()).collect()
    }

    /// Whether a database was put aside, and all that were are back or compared: what was kept has served.
    pub fn is_settled(&self) -> bool {
        !self.fences.is_empty() && self.fences.values().all(|fence| !fence.is_up && !fence.is_lifted)
    }

    /// Whether no database was put aside.
    pub fn has_no_fence(&self) -> bool {
        self.fences.is_empty()
    }

    /// Whether the run has put a volume of this name aside, and it is still there as far as the run knows.
    pub fn keeps(&self, volume: &str) -> bool {
        self.volumes.get(volume).is_some_and(|held| held.home != volume)
    }
}

#[cfg(test)]
mod tests;
