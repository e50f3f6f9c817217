//! A volume goes only when its content is somewhere else.

use super::{Scratch, filled, has_volume};
use crate::stack::docker;

#[test]
fn an_edited_script_removes_no_volume_without_a_verified_backup() {
    let scratch = Scratch::new("unproven");
    let volume = &scratch.name;
    filled(volume);
    let remove = r#"
        let volume = volume::inspect(param("name"));
        let dir = param("dir", #{ type: "path" });
        step("remove", || { volume::remove(volume); });"#;
    let refused = |text: &str, args: &[&str]| {
        scratch.run(text, args).expect(
            3,
            &[
                "error[volume.unproven]",
                &format!("no verified backup of volume {volume}"),
                &format!("--allow-data-loss volume:{volume}"),
            ],
        );
        assert!(has_volume(volume));
    };
    refused(remove, &[]);
    // Caught and tried again, backed up but never read back, allowed for another volume: still no.
    refused(
        &remove
            .replace("volume::remove(volume)", "try { volume::remove(volume) } catch (e) { volume::remove(volume) }"),
        &[],
    );
    refused(&remove.replace("volume::remove", "volume::backup(volume, dir + \"/b.tar.zst\"); volume::remove"), &[]);
    refused(remove, &["--allow-data-loss", "volume:another"]);
    scratch.run(remove, &["--allow-data-loss", volume]).expect(2, &["KIND:NAME"]);
}

#[test]
fn the_operator_may_name_the_volume_to_lose() {
    let scratch = Scratch::new("allowed");
    filled(&scratch.name);
    let remove = "let volume = volume::inspect(param(\"name\"));\nlet dir = param(\"dir\");\n\
                  step(\"remove\", || volume::remove(volume));";
    scratch.run(remove, &["--allow-data-loss", &format!("volume:{}", scratch.name)]).expect(0, &[]);
    assert!(!has_volume(&scratch.name));
}

/// A container that mounts the volume writable, and ends at once.
const HOLDER: &str = r#"
let holder = docker::create(#{ name: name + "-holder", image: "pgscript-test/app:1", entrypoint: ["true"],
    mounts: [#{ name: name, destination: "/data" }], network: NETWORK });
let volume = volume::inspect(name);
let backup = volume::backup(volume, dir + "/b.tar.zst");
volume::verify(backup);
"#;

#[test]
fn a_start_that_others_could_reach_withdraws_the_proof() {
    let remove = "docker::start(holder); docker::stop(holder); docker::remove(holder); volume::remove(volume);";
    let run = |scratch: &Scratch, network: &str| {
        filled(&scratch.name);
        scratch.step(&(HOLDER.replace("NETWORK", network) + remove), &[])
    };
    let open = Scratch::new("open");
    let said =
        ["error[volume.unproven]", "b.tar.zst is older than the last use of the volume", "--allow-data-loss volume:"];
    run(&open, "\"bridge\"").expect(3, &said);
    assert!(has_volume(&open.name));
    let closed = Scratch::new("closed");
    run(&closed, "\"none\"").expect(0, &[]);
    assert!(!has_volume(&closed.name));
}

#[test]
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
fn a_backup_that_is_gone_proves_nothing() {
    let scratch = Scratch::new("gone");
    filled(&scratch.name);
    let script = r#"
        let volume = volume::inspect(name);
        volume::verify(volume::backup(volume, dir + "/b.tar.zst"));
        host::run(["rm", dir + "/b.tar.zst"]);
        volume::remove(volume);"#;
    scratch.step(script, &[]).expect(3, &["error[volume.unproven]"]);
    assert!(has_volume(&scratch.name));
}

#[test]
fn what_was_put_aside_stays_until_its_run_has_served() {
    let scratch = Scratch::new("aside");
    let kept = format!("{}-kept", scratch.name);
    filled(&scratch.name);
    // Not even with a verified backup: it is the original.
    let aside = r#"
        let volume = volume::inspect(name);
        volume::verify(volume::backup(volume, dir + "/b.tar.zst"));
        let kept = volume::move(volume, name + "-kept");"#;
    scratch
        .step(&format!("{aside}\nvolume::remove(kept);"), &[])
        .expect(3, &["error[guard.volume_kept]", &format!("put aside of {}", scratch.name), "cleanup.rhai"]);
    let remove = r#"volume::remove(volume::inspect(name + "-kept"));"#;
    scratch
        .step(remove, &[])
        .expect(3, &["error[volume.unproven]", "has put aside, and that run is failed", "pgscript resume"]);
    assert!(has_volume(&kept));
    scratch.step(remove, &["--allow-data-loss", &format!("volume:{kept}")]).expect(0, &[]);
    assert!(!has_volume(&kept));
    scratch.is_journalled(&format!("volume:{kept}"));
}

#[test]
fn a_dump_proves_its_volume_only_with_tables_and_read_to_the_end() {
    let dump = r#"
        let container = docker::container(name);
        let server = psql::server(container);
        let volume = volume::inspect(name);
        let dump = pg_dump::cluster(server, dir + "/dump");
        VERIFY
        docker::stop(container);
        docker::save_definitions([container], dir + "/definitions.json");
        docker::remove(container);
        volume::remove(volume);"#;
    let verified = dump.replace("VERIFY", "pg_dump::verify(dump);");
    let cases = [
        ("empty", "SELECT 1", verified.clone(), Some("holds no table")),
        ("unread", "CREATE TABLE t AS SELECT 1 AS x", dump.replace("VERIFY", ""), Some("was not read back")),
        ("read", "CREATE TABLE t AS SELECT 1 AS x", verified, None),
    ];
    for (name, table, script, refused) in cases {
        let scratch = Scratch::new(name);
        scratch.server(15, table);
        match refused {
            Some(why) => _ = scratch.step(&script, &[]).expect(3, &["error[volume.unproven]", why]),
            None => _ = scratch.step(&script, &[]).expect(0, &[]),
        }
        assert_eq!(has_volume(&scratch.name), refused.is_some(), "{name}");
    }
}

#[test]
fn what_is_written_after_the_backup_withdraws_the_proof() {
    let scratch = Scratch::new("written");
    scratch.server(15, "CREATE TABLE t AS SELECT 1 AS x");
    let script = r#"
        let container = docker::container(name);
        let server = psql::server(container);
        docker::stop(container);
        docker::save_definitions([container], dir + "/definitions.json");
        volume::verify(volume::backup(volume::inspect(name), dir + "/b.tar.zst"));
        docker::start(container);
        psql::wait_ready(server);
        psql::execute(server, "INSERT INTO public.t VALUES (2)");
        docker::stop(container);
        docker::remove(container);
        volume::remove(volume::inspect(name));"#;
    scratch.step(script, &[]).expect(3, &["error[volume.unproven]", "is older than the last use of the volume"]);
    assert!(has_volume(&scratch.name));
    let allowed = format!("volume:{}", scratch.name);
    let remove = "volume::remove(volume::inspect(name));";
    scratch.step(remove, &["--allow-data-loss", &allowed]).expect(0, &[]);
    scratch.is_journalled(&allowed);
    assert!(docker(&["ps", "-aq", "--filter", &format!("volume={}", scratch.name)]).is_empty());
}

#[test]
fn a_copy_to_try_something_on_goes_again_unless_others_could_use_it() {
    let scratch = Scratch::new("try");
    scratch.server(15, "CREATE TABLE t AS SELECT 1 AS x");
    let script = r#"
        let old = docker::container(name);
        docker::stop(old);
        let backup = volume::backup(volume::inspect(name), dir + `/${run::id()}.tar.zst`);
        let copy = volume::create(name + "-copy");
        volume::restore(backup, copy);
        let trial = docker::create(#{ name: name + "-trial", image: "pgscript-test/postgres:15", network: NETWORK,
            mounts: [#{ name: copy.name, destination: "/var/lib/postgresql/data" }] });
        docker::start(trial);
        let server = psql::server(trial);
        psql::wait_ready(server);
        psql::execute(server, "DROP TABLE public.t");
        docker::remove(trial, #{ force: true });
        volume::remove(copy);"#;
    scratch.step(&script.replace("NETWORK", "\"none\""), &[]).expect(0, &[]);
    let copy = format!("{}-copy", scratch.name);
    assert!(has_volume(&scratch.name) && !has_volume(&copy));
    let said = ["error[volume.unproven]", &format!("no verified backup of volume {copy}")];
    scratch.step(&script.replace("NETWORK", "\"bridge\""), &[]).expect(3, &said);
    assert!(has_volume(&copy));
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
