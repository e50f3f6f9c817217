//! What others do at each instant of a run, and how a run goes on to which somebody else has done something.
//!
//! Others may make a run fail, where it says why; it is taken up then, and must come to a good end: what was
//! acknowledged is kept, nothing of the run is left, and all is as it was or as it was to become.

use super::finding::{Finding, disturbed};
use super::history::{Aim, End, Expected, History, Planned, Played, Scene};
use super::instants::{Act, At, Moment, Snapshot, When};
use super::invariants;
use super::theatre::Theatre;
use crate::world::Result;
use crate::world::container::{KEEPER, LABEL_HELPER};
use crate::world::sim::state::{Container, Volume};
use crate::world::sim::{Deed, State};

/// So long it takes, in milliseconds, until an engine has started what was mended.
const MENDED_AFTER: u64 = 120_000;

/// What others do to the deployment of a scene, who know nothing of the run: a deploy of the version that it has, or of
/// the one that it has in the end (`done`); clean-ups; a restart of the engine; a server that is stopped, or in a crash
/// loop; a row written through a shell in the server's container, or through its port.
pub fn deeds(scene: &Scene, done: &State) -> Vec<Deed> {
    let mut deeds = vec![Deed::PruneContainers, Deed::PruneVolumes, Deed::PruneNetworks, Deed::RestartEngine];
    for (project, stack) in &scene.world.stacks {
        let then = done.stacks.get(project).map(|stack| stack.version).filter(|then| *then != stack.version);
        let versions = [Some(stack.version), then].into_iter().flatten();
        deeds.extend(versions.map(|version| Deed::ComposeUp { project: project.clone(), version: Some(version) }));
    }
    if let Some(server) = server(scene) {
        let to_it = [Deed::CrashLoop, Deed::StopContainer, Deed::Insert, Deed::InsertThroughPort];
        deeds.extend(to_it.map(|deed| deed(server.clone())));
    }
    deeds
}

/// The name of the container whose server has the original cluster.
fn server(scene: &Scene) -> Option<String> {
    let world = &scene.world;
    let is_it = |id: &str| world.cluster(id).is_some_and(|cluster| cluster.system_identifier == scene.original);
    world.containers().find(|c| is_it(&c.id)).map(|c| c.name.clone())
}

/// The histories in which one of them is done at one of the instants of an undisturbed life (`life`: 0 is the run, 1
/// its way back), or the power goes; `only`: what is called so, all where it is empty. Deeds that change nothing at an
/// instant are left out, and what can be done to a stack in use as well without any script: a deploy of another
/// version, a stop, a row.
pub fn histories(
    scene: &Scene,
    theatre: &Theatre<'_>,
    life: usize,
    moments: &[Moment],
    step: &str,
    only: &str,
) -> Vec<History> {
    let is_wanted = |deed: &Deed| only.is_empty() || name(deed) == only;
    let deeds: Vec<_> = deeds(scene, &theatre.world_after(0)).into_iter().filter(is_wanted).collect();
    let mut histories = Vec::new();
    for Instant { world, after, at_rest, before } in instants(theatre.snapshots(life), moments, step) {
        let in_use = invariants::not_kept_up(&scene.world, world).is_empty();
        for deed in deeds.iter().filter(|deed| !(in_use && is_of_everyday(deed)) && changes(world, deed)) {
            let here = [Some(after), before].into_iter().flatten();
            histories.extend(here.map(|number| to_life(life, vec![(number, Act::Deed(deed.clone()))])));
            let killed = to_life(life, vec![(at_rest, Act::Deed(deed.clone())), (at_rest, Act::Kill)]);
            histories.extend(taken_up(life, &killed));
        }
        if is_wanted(&Deed::PowerCut) {
            histories.extend(taken_up(life, &to_life(life, vec![(at_rest, Act::PowerCut)])));
        }
    }
    histories
}

/// As it is called in a history.
fn name(deed: &Deed) -> String {
    let told = serde_json::to_value(deed).unwrap_or_default();
    told["deed"].as_str().unwrap_or_default().to_owned()
}

/// A state of the world in a life, and the moments at which it is that.
struct Instant<'w> {
    world: &'w State,
    /// After the change that has made it.
    after: usize,
    /// After the last line of the journal.
    at_rest: usize,
    /// Before the next change, for which the program may have looked at it.
    before: Option<usize>,
}

/// The instants of steps that are called so. Moments between two changes of the world are one instant.
fn instants<'w>(snapshots: &'w [Snapshot], moments: &[Moment], step: &str) -> Vec<Instant<'w>> {
    let of_one = snapshots.chunk_by(|one, next| one.world.instants == next.world.instants);
    let of_one: Vec<_> = of_one.filter_map(|group| Some((group.first()?, group.last()?))).collect();
    let is_before =
        |number: &usize| matches!(moments.get(number - 1), Some(Moment { at: At::BeforeChange { .. }, .. }));
    let instant = |(index, (first, last)): (usize, &(&'w Snapshot, &'w Snapshot))| {
        let next = of_one.get(index + 1).map(|(next, _)| next.moment - 1);
        Instant { world: &first.world, after: first.moment, at_rest: last.moment, before: next.filter(is_before) }
    };
    let is_in_step = |instant: &Instant<'_>| moments[instant.after - 1].step.starts_with(step);
    of_one.iter().enumerate().map(instant).filter(is_in_step).collect()
}

/// What is done to a stack in use without being wrong there.
fn is_of_everyday(deed: &Deed) -> bool {
    matches!(deed, Deed::ComposeUp { .. } | Deed::StopContainer(_) | Deed::Insert(_) | Deed::InsertThroughPort(_))
}

/// Whether it makes a difference to anything but the version that is noted for the next deploy.
fn changes(world: &State, deed: &Deed) -> bool {
    let mut then = world.clone();
    then.deed(deed);
    then.stacks.clone_from(&world.stacks);
    then != *world
}

/// Something happens to the run, or to the way back of a run that is done.
fn to_life(life: usize, acts: Vec<(usize, Act)>) -> History {
    let acts: Vec<_> = acts.into_iter().map(|(number, act)| (When::Moment(number), act)).collect();
    match life {
        0 => History(vec![Planned { aim: Aim::Run, acts }]),
        _ => History::undisturbed().then(Aim::Rollback, acts),
    }
}

/// The ways on from a life that was killed.
fn taken_up(life: usize, killed: &History) -> Vec<History> {
    let aims: &[Aim] = if life == 0 { &[Aim::Resume, Aim::Rollback] } else { &[Aim::Rollback] };
    aims.iter().map(|aim| killed.then(*aim, Vec::new())).collect()
}

/// Plays a history, and every way on from it where it failed and said why; gives what is broken.
///
/// Errors: those of the theatre.
pub fn judge(scene: &Scene, expected: &Expected, theatre: &mut Theatre<'_>, history: &History) -> Result<Vec<Finding>> {
    let mut played = theatre.play(history)?;
    let moment = disturbed(history, &played.moments);
    let mut broken: Vec<_> = played.broken.iter().map(|(_, _, broken)| broken.clone()).collect();
    let ways = ways_on(scene, history, &played);
    if ways.is_empty() {
        mend(&mut played.world);
        forget_deployed(&mut played.world);
        broken.extend(expected.judge(scene, &played));
    }
    let finding = |broken| Finding { broken, history: history.clone(), moment: moment.clone() };
    let mut findings: Vec<_> = broken.into_iter().map(finding).collect();
    for way in ways {
        findings.extend(judge(scene, expected, theatre, &History([&history.0[..], &[way]].concat()))?);
    }
    Ok(findings)
}

/// What can be tried where a history has failed for a reason that it told.
fn ways_on(scene: &Scene, history: &History, played: &Played) -> Vec<Planned> {
    let (End::Failed(failed), Some(last)) = (&played.end, history.0.last()) else { return Vec::new() };
    if failed.code.is_empty() || failed.code.starts_with("script.") {
        return Vec::new();
    }
    let undisturbed = |aim| Planned { aim, acts: Vec::new() };
    match last.aim {
        Aim::Run => vec![undisturbed(Aim::Resume), undisturbed(Aim::Rollback)],
        Aim::Resume => vec![undisturbed(Aim::Rollback)],
        Aim::Rollback if last.acts.iter().any(|(_, act)| matches!(act, Act::Deed(Deed::Mend(_)))) => Vec::new(),
        Aim::Rollback if !last.acts.is_empty() => vec![undisturbed(Aim::Rollback)],
        // A server that ends whenever it is started can't be brought back; but once it can be.
        Aim::Rollback => {
            let is_of_before =
                |c: &&Container| scene.world.containers().any(|was| was.name == c.name && was.image_id == c.image_id);
            let crashing = played.world.containers().filter(|c| c.crashes).filter(is_of_before);
            let mend = |c: &Container| (When::Moment(1), Act::Deed(Deed::Mend(c.name.clone())));
            let acts: Vec<_> = crashing.map(mend).collect();
            Some(Planned { aim: Aim::Rollback, acts }).filter(|life| !life.acts.is_empty()).into_iter().collect()
        }
    }
}

/// A deploy that found no volume has made an empty cluster, and a way back keeps what it does not know: it is nobody's
/// loss, and nothing of the run's.
fn forget_deployed(world: &mut State) {
    let is_empty = |volume: &Volume| {
        let clusters = &volume.tree.clusters;
        !clusters.is_empty() && clusters.values().all(|cluster| cluster.rows().next().is_none())
    };
    for name in world.volumes.values().filter(|volume| is_empty(volume)).map(|v| v.name.clone()).collect::<Vec<_>>() {
        let mounts = |c: &Container| c.mounts.iter().any(|mount| mount.name == name);
        let is_keeper = |c: &Container| c.labels.get(LABEL_HELPER).is_some_and(|purpose| purpose == KEEPER);
        if world.containers().filter(|c| mounts(c)).all(is_keeper) {
            world.containers.retain(|_, c| !mounts(c));
            world.volumes.remove(&name);
        }
    }
}

/// What still crashes in the end is mended before that is judged: whatever was to be started again then is.
fn mend(world: &mut State) {
    let crashing: Vec<_> = world.containers().filter(|c| c.crashes).map(|c| c.id.clone()).collect();
    if crashing.is_empty() {
        return;
    }
    crashing.into_iter().for_each(|id| world.deed(&Deed::Mend(id)));
    world.pass(MENDED_AFTER);
}
