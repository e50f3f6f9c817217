//! A volume goes only when its content is somewhere else.

use super::{Scratch, filled, has_volume};
use crate::stack::docker;
use crate::stack::guarded::HOLDER;

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn a_start_behind_our_back_withdraws_the_proof() {
    let behind = Scratch::new("behind");
    filled(&behind.name);
    // As an operator would, or a daemon that restarts.
    let started = r#"host::run(["docker", "start", name + "-holder"]); host::run(["docker", "wait", name + "-holder"]);
        docker::remove(holder); volume::remove(volume);"#;
    behind
        .step(&(HOLDER.replace("NETWORK", "\"none\"") + started), &[])
        .expect(3, &["error[volume.unproven]", "is older than the last use of the volume"]);
    assert!(has_volume(&behind.name));
}

#[test]
fn live_copy_is_refused_whatever_the_running_server_calls_the_directory() {
    let scratch = Scratch::new("live");
    let (name, label) = (scratch.name.clone(), scratch.label());
    let device = scratch.path("pg");
    std::fs::create_dir(&device).unwrap();
    std::fs::write(format!("{device}/PG_VERSION"), "15\n").unwrap();
    for volume in [&name, &format!("{name}-twin")] {
        let options = ["type=none", "o=bind", &format!("device={device}")]
            .map(|option| ["--opt", option].map(str::to_owned))
            .concat();
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        docker(&[&["volume", "create"], &options[..], &[volume]].concat());
    }
    let container = format!("{name}-server");
    let above = scratch.dir.path().display().to_string();
    for mounted in [&device, &above, &format!("{name}-twin")] {
        let options = ["run", "-d", "--name", &container, "--label", &label, "-v", &format!("{mounted}:/d")];
        docker(&[&options[..], &["--entrypoint", "sleep", "pgscript-test/app:1", "60"]].concat());
        let said =
            ["error[volume.in_use]", &format!("is mounted by running containers: {container}"), "stop them first"];
        scratch.step("volume::backup(volume::inspect(name), dir + \"/b\");", &[]).expect(3, &said);
        docker(&["rm", "-f", &container]);
    }
    // A stopped one is no obstacle.
    let options = ["create", "--name", &container, "--label", &label, "-v", &format!("{name}:/d")];
    docker(&[&options[..], &["--entrypoint", "true", "pgscript-test/app:1"]].concat());
    scratch.step("volume::backup(volume::inspect(name), dir + \"/b\");", &[]).expect(0, &[]);
}
