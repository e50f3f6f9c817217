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
/// like them begins where it differs. Other beginnings can be learnt.
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

/// A life that was undisturbed, after those before it, to which something may have happened.
struct Known {
    lives: Vec<Planned>,
    /// Of each of these lives.
    moments: Vec<Vec<Moment>>,
    /// Of the last one.
    snapshots: Vec<Snapshot>,
    /// The journal at the end, and the world.
    journal: Vec<u8>,
    world: State,
}

/// Where a history goes on that was played before up to there.
struct Beginning {
    lives: usize,
    world: State,
    moments: Vec<Vec<Moment>>,
}

/// A run, and its way back: what a theatre always knows.
const UNDISTURBED: usize = 2;
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
            store: Store::of_practice(dir.path().to_owned()),
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

    /// Learns every moment of the last life of a history, which is undisturbed; what was learnt before is forgotten.
    /// Gives these moments.
    pub fn learn(&mut self, history: &History) -> Result<Vec<Moment>> {
        if !self.known.iter().any(|known| known.lives == history.0) {
            self.known.truncate(UNDISTURBED);
            self.play_on(history, true)?;
        }
        let learnt = self.known.iter().find(|known| known.lives == history.0);
        Ok(learnt.and_then(|known| known.moments.last()).cloned().unwrap_or_default())
    }

    /// The world at each moment of that undisturbed life at which a kill would leave another one: 0 is the run, 1 its
    /// way back.
    pub fn snapshots(&self, life: usize) -> &[Snapshot] {
        self.known.get(life).map(|known| &known.snapshots[..]).unwrap_or_default()
    }

    /// The world at the end of that undisturbed life.
    pub fn world_after(&self, life: usize) -> State {
        self.known.get(life).map_or_else(|| self.begins.clone(), |known| known.world.clone())
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
            world = ended.world;
            moments.push(ended.moments);
            // What was before is not as it was then: from the middle of a life nothing is begun.
            let is_to_keep = keeps && self.stage.earlier == 0;
            if is_to_keep && planned.acts.is_empty() && end != End::Nothing {
                self.keep(&history.0[..=number], &moments, course.snapshots(), &world)?;
            }
        }
        Ok(Played { world, moments, broken, end, failed })
    }

    /// The moment of that undisturbed life since which something is so until its end.
    pub fn since(&self, life: usize, is_so: impl Fn(&State) -> bool) -> Option<&Moment> {
        let known = self.known.get(life)?;
        let moments = known.moments.last()?;
        let before = known.snapshots.iter().rposition(|snapshot| !is_so(&snapshot.world));
        let first = known.snapshots.get(before.map_or(0, |index| index + 1))?;
        moments.get(first.moment - 1)
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

    /// Keeps what a life was that nothing has happened to: the last of these.
    fn keep(
        &mut self,
        lives: &[Planned],
        moments: &[Vec<Moment>],
        snapshots: Vec<Snapshot>,
        world: &State,
    ) -> Result<()> {
        let place = newest_run(&self.stage.store)?;
        let failed = |e: std::io::Error| Error::io("keep", place.dir.display(), &e);
        let journal = fs::read(place.dir.join(JOURNAL)).map_err(failed)?;
        if self.known.is_empty() {
            let kept = self.kept.path().join(frozen::DIRECTORY);
            fs::rename(place.dir.join(frozen::DIRECTORY), kept).map_err(failed)?;
        }
        let (lives, moments) = (lives.to_vec(), moments.to_vec());
        self.known.push(Known { lives, moments, snapshots, journal, world: world.clone() });
        Ok(())
    }

    /// The longest beginning of a history that is known: up to a kill in a life that is known, else whole lives.
    fn begin(&self, history: &History) -> Result<Beginning> {
        let mut by_length: Vec<_> = self.known.iter().collect();
        by_length.sort_by_key(|known| std::cmp::Reverse(known.lives.len()));
        if let Some(beginning) = by_length.iter().find_map(|known| self.begin_at_kill(known, &history.0)) {
            return beginning;
        }
        let Some(known) = by_length.into_iter().find(|known| history.0.starts_with(&known.lives)) else {
            return Ok(Beginning { lives: 0, world: self.begins.clone(), moments: Vec::new() });
        };
        self.lay(&known.journal)?;
        Ok(Beginning { lives: known.lives.len(), world: known.world.clone(), moments: known.moments.clone() })
    }

    /// `None` where these lives are others than the known ones, or the last of them is not killed in a way that leaves
    /// what is known.
    fn begin_at_kill(&self, known: &Known, lives: &[Planned]) -> Option<Result<Beginning>> {
        let (last, before) = known.lives.split_last()?;
        let killed = lives.get(before.len()).filter(|life| lives.starts_with(before) && life.aim == last.aim)?;
        let (number, deeds) = killed_at(&killed.acts)?;
        // At any other moment there is still what the last one has left. Before the run has a journal there is nothing
        // to begin with.
        let is_it = |snapshot: &&Snapshot| snapshot.moment <= number && snapshot.written > 0;
        let snapshot = known.snapshots.iter().rfind(is_it)?;
        let is_cut = deeds.last() == Some(&&Deed::PowerCut);
        let length = if is_cut { snapshot.synced } else { snapshot.written };
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(known.journal.len());
        let (mut world, mut moments) = (snapshot.world.clone(), known.moments.clone());
        deeds.into_iter().for_each(|deed| world.deed(deed));
        if let Some(last) = moments.last_mut() {
            last.truncate(number);
        }
        let lives = known.lives.len();
        Some(self.lay(&known.journal[..length]).map(|()| Beginning { lives, world, moments }))
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

/// The moment at which all of these happen, the last of which is that the program is killed; and what is done to the
/// world then.
fn killed_at(acts: &[(When, Act)]) -> Option<(usize, Vec<&Deed>)> {
    let ((When::Moment(number), kill), before) = acts.split_last()? else { return None };
    let mut deeds = Vec::new();
    for (when, act) in before {
        match act {
            Act::Deed(deed) if *when == When::Moment(*number) => deeds.push(deed),
            _ => return None,
        }
    }
    match kill {
        Act::Kill => {}
        Act::PowerCut => deeds.push(&Deed::PowerCut),
        _ => return None,
    }
    Some((*number, deeds))
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
