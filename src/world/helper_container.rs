//! Containers that pgscript makes for itself: what they say of themselves, whose they are, what they are made of.

use std::collections::BTreeMap;

use super::container::{ContainerSpec, LABEL_HELPER, LABEL_OWNER, LABEL_PROJECT, LABEL_RUN, Mount, OF_A_PROCESS};
use super::error::Result;
use super::owner::{Doorkeeper, Owner};
use super::process::Process;
use crate::planted::{Fault, is_planted};

pub fn is_helper(spec: &ContainerSpec) -> bool {
    spec.labels.as_ref().is_some_and(|labels| labels.contains_key(LABEL_HELPER))
}

/// A helper says by which process and on whose behalf it was made, from its first instant. What its image declares as
/// volumes (`declared`) would be created with it, and a kill in the middle of that leaves them behind: it gets a tmpfs
/// in their place.
pub fn labelled(mut spec: ContainerSpec, owner: &Owner, declared: &[String]) -> Result<ContainerSpec> {
    let labels = spec.labels.get_or_insert_default();
    let process =
        owner.process().map_or_else(|| Process::own().map(|own| own.to_label()), |own| Ok(own.to_string()))?;
    if !is_planted(Fault::LabelOfHelpers) {
        labels.insert(LABEL_OWNER.to_owned(), process);
        labels.extend(owner.name().map(|owner| (LABEL_RUN.to_owned(), owner.to_string())));
    }
    for destination in declared {
        if !spec.tmpfs.contains_key(destination) && spec.mounts.iter().all(|m| m.destination != *destination) {
            let (name, source, destination) = (String::new(), String::new(), destination.clone());
            spec.mounts.push(Mount { kind: "tmpfs".into(), name, source, destination, read_only: false });
        }
    }
    Ok(spec)
}

/// Why a helper of these labels is left over: `None` for what is or may be somebody's, else what is to be told about
/// it, which may be nothing. `is_in_the_way`: it mounts a volume that is needed now.
pub fn why_left(
    owner: &Owner,
    labels: &BTreeMap<String, String>,
    is_in_the_way: bool,
    doorkeeper: Option<&dyn Doorkeeper>,
) -> Option<String> {
    if !labels.get(LABEL_HELPER).is_some_and(|purpose| OF_A_PROCESS.contains(&purpose.as_str())) {
        return doorkeeper?.abandoned(labels);
    }
    // Who has the run now has its lock: whatever made the others is not there any more.
    let is_of_this_run = owner.name().is_some_and(|run| labels.get(LABEL_RUN) == Some(&run.to_string()));
    let is_left = match labels.get(LABEL_OWNER).and_then(|maker| lives(owner, maker)) {
        Some(Some(lives)) => !lives,
        Some(None) => is_of_this_run,
        None => is_of_this_run || is_in_the_way,
    };
    is_left.then(String::new)
}

/// Whether the process of that label runs: `None` inside where we can't look, outside where it is no process's label.
fn lives(owner: &Owner, maker: &str) -> Option<Option<bool>> {
    match owner.process() {
        Some(own) => Some(Some(*own == *maker)),
        None => Process::parse(maker).map(|maker| maker.lives()),
    }
}

/// For whom an image is looked for that a helper can be made of.
pub struct Wanted<'w> {
    pub volumes: &'w [&'w str],
    pub project: Option<&'w str>,
    pub run: Option<&'w str>,
}

/// How near a container's image is, the smallest first: those that mount the volumes; what the run holds on to, which
/// nobody tidies away; the stack; what other runs hold; whatever is there.
pub fn nearness<'c>(
    label: impl Fn(&str) -> Option<&'c str>,
    mut mounted: impl Iterator<Item = &'c str>,
    wanted: &Wanted<'_>,
) -> u8 {
    let is_helper = label(LABEL_HELPER).is_some();
    match () {
        () if mounted.any(|name| wanted.volumes.contains(&name)) => 0,
        () if is_helper && wanted.run.is_some() && label(LABEL_RUN) == wanted.run => 1,
        () if wanted.project.is_some() && label(LABEL_PROJECT) == wanted.project => 2,
        () if is_helper => 3,
        () => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_volume_s_own_image_goes_first_then_what_the_run_holds_and_a_stranger_s_last() {
        let nearness = |labels: &[(&'static str, &'static str)], volume| {
            let labels: BTreeMap<_, _> = labels.iter().copied().collect();
            let wanted = Wanted { volumes: &["data"], project: Some("stack"), run: Some("here:/run") };
            nearness(|name| labels.get(name).copied(), [volume].into_iter(), &wanted)
        };
        assert_eq!(nearness(&[], "data"), 0);
        assert_eq!(nearness(&[(LABEL_HELPER, "lock"), (LABEL_RUN, "here:/run")], "x"), 1);
        assert_eq!(nearness(&[(LABEL_PROJECT, "stack")], "x"), 2);
        assert_eq!(nearness(&[(LABEL_HELPER, "keep"), (LABEL_RUN, "there:/run")], "x"), 3);
        assert_eq!(nearness(&[(LABEL_PROJECT, "another")], "x"), 4);
    }
}
