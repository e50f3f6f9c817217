//! Where histories are played, one after the other: a run store of its own, and what it takes to begin in the middle.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::history::{Aim, Earlier, End, Failed, History, Planned, Played, Scene, end_of};
use super::instants::{Act, Moment, Snapshot, When};
use super::life::{Life, Stage, Way, newest_run};
use crate::event::Silent;
use crate::run::frozen;
use crate::run::history::State as RunState;
use crate::run::store::Store;
use crate::script::parameters::Given;
use crate::script::source::Source;
use crate::world::sim::{Deed, State};
use crate::world::{Error, Result};

/// A run store, and an undisturbed run with its way back in it, of which every moment is known: a history that begins
/// like them begins where it differs.
pub struct Theatre<'s> {
    scene: &'s Scene,
    stage: Stage,
    /// The store's directory goes with it.
    _dir: TempDir,
    /// The texts of the scripts as the run has frozen them, and its journal to the end.
    kept: TempDir,
    known: Vec<Known>,
    /// In which histories begin, and the runs that the store has then.
    begins: State,
    earlier: TempDir,
}

/// A life that was undisturbed, after those before it.
struct Known {
    moments: Vec<Moment>,
    snapshots: Vec<Snapshot>,
    /// The journal at its end, and the world.
    journal: Vec<u8>,
    world: State,
}

/// Where a history goes on that was played before up to there.
struct Beginning {
    lives: usize,
    world: State,
    moments: Vec<Vec<Moment>>,
}

const JOURNAL: &str = "journal.jsonl";
/// Nothing goes by such a journal any more.
const DAMAGED: &str = "journal.damaged";

impl<'s> Theatre<'s> {
    /// Runs the script, undisturbed, and, where it came to its end, puts it back. Gives with it both as they were
    /// played.
    pub fn new(scene: &'s Scene) -> Result<(Self, Played, Played)> {
        let mut theatre = Self::empty(scene)?;
        let run = theatre.play_on(&History::undisturbed(), true)?;
        let back = theatre.play_on(&History::undisturbed().then(Aim::Rollback, Vec::new()), run.end == End::Done)?;
        Ok((theatre, run, back))
    }

    /// One in which nothing was played yet but what was before.
    pub fn empty(scene: &'s Scene) -> Result<Self> {
        let (dir, kept, before) = (store_dir()?, store_dir()?, store_dir()?);
        let stage = Stage {
            places: scene.places.clone(),
            given: scene.given.clone(),
            store: Store::new(Some(dir.path().to_owned())),
            listener: scene.listener.clone(),
            earlier: 0,
        };
        let begins = scene.world.clone();
        let mut theatre = Self { scene, stage, _dir: dir, kept, known: Vec::new(), begins, earlier: before };
        if let Some(earlier) = &scene.earlier {
            theatre.play_earlier(earlier)?;
        }
        Ok(theatre)
    }

    /// The world in which histories begin.
    pub fn begins(&self) -> &State {
        &self.begins
    }

    /// Runs what was before: in the store of this theatre, for what is left of it are paths of that.
    fn play_earlier(&mut self, earlier: &Earlier) -> Result<()> {
        let stage = Stage { given: earlier.given.clone(), listener: Arc::new(Silent), ..self.stage.clone() };
        let ended = Life::new(&stage, earlier.world.clone(), Vec::new()).live(Way::Run(earlier.source.clone()))?;
        let end = end_of(&stage, &ended)?;
        if end != End::Done {
            let message = format!("{}, which is to run before, ends {end:?}", earlier.source.name);
            return Err(Error::usage("drill.not_done", message));
        }
        for place in self.stage.store.runs()? {
            copy_tree(&place.dir, &self.earlier.path().join(&place.id))?;
            self.stage.earlier += 1;
        }
        self.begins = ended.world;
        Ok(())
    }

    /// Plays a history.
    pub fn play(&mut self, history: &History) -> Result<Played> {
        self.play_on(history, false)
    }

    fn play_on(&mut self, history: &History, keeps: bool) -> Result<Played> {
        self.clear()?;
        let Beginning { lives, mut world, mut moments } = self.begin(history)?;
        let (mut broken, mut end, mut failed) = (Vec::new(), End::Killed, None);
        for (number, planned) in history.0.iter().enumerate().skip(lives) {
            let way = match self.way(planned.aim) {
                Err(error) if error.code == DAMAGED => {
                    let damage = Failed { code: error.code, message: error.message, step: String::new() };
                    (end, failed) = (End::Failed(damage.clone()), Some(damage));
                    break;
                }
                way => way?,
            };
            let Some(way) = way else {
                // A killed life may have come to its end all the same.
                end = if end == End::Killed { self.standing()? } else { end };
                break;
            };
            let life = Life::new(&self.stage, world, planned.acts.clone());
            let course = life.course();
            if keeps {
                course.keep_snapshots();
            }
            let ended = life.live(way)?;
            broken.extend(ended.broken.iter().map(|(moment, broken)| (number, *moment, broken.clone())));
            (end, failed) = (end_of(&self.stage, &ended)?, Failed::of(&ended));
            // What was before is not as it was then: from the middle of a life nothing is begun.
            if keeps && end != End::Nothing && self.stage.earlier == 0 {
                self.keep(course.snapshots(), &ended.moments, &ended.world)?;
            }
            world = ended.world;
            moments.push(ended.moments);
        }
        Ok(Played { world, moments, broken, end, failed })
    }

    /// The moment of that undisturbed life since which something is so until its end.
    pub fn since(&self, life: usize, is_so: impl Fn(&State) -> bool) -> Option<&Moment> {
        let known = self.known.get(life)?;
        let before = known.snapshots.iter().rposition(|snapshot| !is_so(&snapshot.world));
        let first = known.snapshots.get(before.map_or(0, |index| index + 1))?;
        known.moments.get(first.moment - 1)
    }

    /// `None` where there is no run to take up.
    fn way(&self, aim: Aim) -> Result<Option<Way>> {
        if aim == Aim::Run {
            return Ok(Some(Way::Run(self.scene.source.clone())));
        }
        let Some(place) = self.stage.own_run()? else { return Ok(None) };
        let history = place.sound_history()?;
        let state = history.state();
        let goes_on = match aim {
            Aim::Rollback => state == RunState::Done,
            _ => state == RunState::Done && !history.left_open.is_empty(),
        };
        let is_over = state.is_over() && !goes_on;
        // One that is half way back can't go on, and says so.
        let goes_back = aim == Aim::Rollback || state == RunState::RollingBack;
        let way = if goes_back { Way::Rollback(place) } else { Way::Resume(place) };
        Ok((!is_over && state != RunState::NotBegun).then_some(way))
    }

    /// Where the run stands that nobody takes up.
    fn standing(&self) -> Result<End> {
        let Some(place) = self.stage.own_run()? else { return Ok(End::Nothing) };
        Ok(match place.sound_history()?.state() {
            RunState::Done => End::Done,
            RunState::RolledBack => End::PutBack,
            _ => End::Nothing,
        })
    }

    fn clear(&self) -> Result<()> {
        for place in self.stage.store.runs()? {
            fs::remove_dir_all(&place.dir).map_err(|e| Error::io("remove", place.dir.display(), &e))?;
        }
        if self.stage.earlier > 0 { copy_tree(self.earlier.path(), self.stage.store.root()) } else { Ok(()) }
    }

    /// Keeps what a life was that nothing has happened to.
    fn keep(&mut self, snapshots: Vec<Snapshot>, moments: &[Moment], world: &State) -> Result<()> {
        let place = newest_run(&self.stage.store)?;
        let failed = |e: std::io::Error| Error::io("keep", place.dir.display(), &e);
        let journal = fs::read(place.dir.join(JOURNAL)).map_err(failed)?;
        if self.known.is_empty() {
            let kept = self.kept.path().join(frozen::DIRECTORY);
            fs::rename(place.dir.join(frozen::DIRECTORY), kept).map_err(failed)?;
        }
        self.known.push(Known { moments: moments.to_vec(), snapshots, journal, world: world.clone() });
        Ok(())
    }

    /// The longest beginning of a history that is known: undisturbed lives, and one that is killed.
    fn begin(&self, history: &History) -> Result<Beginning> {
        let aims = [Aim::Run, Aim::Rollback];
        let is_known = |(number, planned): &(usize, &Planned)| {
            *number < self.known.len() && planned.aim == aims[*number] && planned.acts.is_empty()
        };
        let whole = history.0.iter().enumerate().take_while(is_known).count();
        let before = &self.known[..whole];
        let mut moments: Vec<_> = before.iter().map(|known| known.moments.clone()).collect();
        let snapshot = self.known.get(whole).and_then(|known| {
            let planned = history.0.get(whole).filter(|planned| planned.aim == aims[whole])?;
            let [(When::Moment(number), act @ (Act::Kill | Act::PowerCut))] = &planned.acts[..] else { return None };
            // At any other moment there is still what the last one has left. Before the run has a journal there is
            // nothing to begin with.
            let is_it = |snapshot: &&Snapshot| snapshot.moment <= *number && snapshot.written > 0;
            Some((known, known.snapshots.iter().rfind(is_it)?, *number, *act == Act::PowerCut))
        });
        if let Some((known, snapshot, number, is_cut)) = snapshot {
            moments.push(known.moments[..number.min(known.moments.len())].to_vec());
            let length = if is_cut { snapshot.synced } else { snapshot.written };
            let length = usize::try_from(length).unwrap_or(usize::MAX).min(known.journal.len());
            self.lay(&known.journal[..length])?;
            let mut world = snapshot.world.clone();
            if is_cut {
                world.deed(&Deed::PowerCut);
            }
            return Ok(Beginning { lives: whole + 1, world, moments });
        }
        let Some(last) = before.last() else {
            return Ok(Beginning { lives: 0, world: self.begins.clone(), moments });
        };
        self.lay(&last.journal)?;
        Ok(Beginning { lives: whole, world: last.world.clone(), moments })
    }

    /// Lays the run's directory as it was when its journal was so long.
    fn lay(&self, journal: &[u8]) -> Result<()> {
        let stem = Path::new(&self.scene.source.name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let dir = self.stage.store.create(&stem)?.dir;
        let failed = |e: std::io::Error| Error::io("lay", dir.display(), &e);
        let texts = dir.join(frozen::DIRECTORY);
        fs::create_dir(&texts).map_err(failed)?;
        for text in fs::read_dir(self.kept.path().join(frozen::DIRECTORY)).map_err(failed)? {
            let text = text.map_err(failed)?;
            fs::hard_link(text.path(), texts.join(text.file_name())).map_err(failed)?;
        }
        fs::write(dir.join(JOURNAL), journal).map_err(failed)?;
        for (path, mode) in [(texts, 0o700), (dir.join(JOURNAL), 0o600)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
        }
        Ok(())
    }
}

impl Scene {
    /// The same scene after another script has run in it.
    ///
    /// Errors: `drill.not_done` where that one does not come to its end.
    pub fn after(self, source: Source, given: Given) -> Result<Self> {
        let earlier = Earlier { source, given, world: self.world.clone() };
        let scene = Self { earlier: Some(earlier), ..self };
        let world = Theatre::empty(&scene)?.begins().clone();
        Ok(Self { world, ..scene })
    }
}

/// Copies what is in a directory into another one, which may be there.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let failed = |e: std::io::Error| Error::io("copy", from.display(), &e);
    fs::create_dir_all(to).map_err(failed)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy_tree(&path, &copy)?,
            false => fs::copy(&path, &copy).map(|_| ()).map_err(failed)?,
        }
    }
    Ok(())
}

/// On a file system in memory, where there is one: nothing of it is to outlive anything.
pub fn store_dir() -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("pgscript-practice-").permissions(std::fs::Permissions::from_mode(0o700));
    let made = builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir());
    made.map_err(|e| Error::io("create", "a run store", &e))
}
