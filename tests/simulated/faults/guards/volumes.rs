//! A volume goes only when its content is somewhere else.

use pgscript::world::sim::Deed;
use pgscript::world::sim::deeds::Happening;

use super::{NAME, Scratch, path};
use crate::program::guarded::HOLDER;

#[test]
fn an_edited_script_removes_no_volume_without_a_verified_backup() {
    let scratch = Scratch::filled();
    let remove = r#"
        let volume = volume::inspect(param("name"));
        let dir = param("dir", #{ type: "path" });
        step("remove", || { volume::remove(volume); });"#;
    let refused = |text: &str, args: &[&str]| {
        scratch.run(text, args).expect(
            3,
            &[
                "error[volume.unproven]",
                &format!("no verified backup of volume {NAME}"),
                &format!("--allow-data-loss volume:{NAME}"),
            ],
        );
        assert!(scratch.has_volume(NAME));
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
    scratch.run(remove, &["--allow-data-loss", NAME]).expect(2, &["KIND:NAME"]);
}

#[test]
fn the_operator_may_name_the_volume_to_lose() {
    let scratch = Scratch::filled();
    let remove = "let volume = volume::inspect(param(\"name\"));\nlet dir = param(\"dir\");\n\
                  step(\"remove\", || volume::remove(volume));";
    scratch.run(remove, &["--allow-data-loss", &format!("volume:{NAME}")]).expect(0, &[]);
    assert!(!scratch.has_volume(NAME));
}

#[test]
fn a_start_that_others_could_reach_withdraws_the_proof() {
    let remove = "docker::start(holder); docker::stop(holder); docker::remove(holder); volume::remove(volume);";
    let run = |scratch: &Scratch, network: &str| scratch.step(&(HOLDER.replace("NETWORK", network) + remove), &[]);
    let open = Scratch::filled();
    let said =
        ["error[volume.unproven]", "b.tar.zst is older than the last use of the volume", "--allow-data-loss volume:"];
    run(&open, "\"bridge\"").expect(3, &said);
    assert!(open.has_volume(NAME));
    let closed = Scratch::filled();
    run(&closed, "\"none\"").expect(0, &[]);
    assert!(!closed.has_volume(NAME));
}

#[test]
fn a_start_behind_our_back_withdraws_the_proof() {
    let behind = Scratch::filled();
    // As an operator would, or a daemon that restarts.
    behind.before("write meanwhile", Happening::Deed(Deed::StartContainer("own-holder".into())));
    let started = r#"host::write(dir + "/meanwhile", ""); docker::remove(holder); volume::remove(volume);"#;
    behind
        .step(&(HOLDER.replace("NETWORK", "\"none\"") + started), &[])
        .expect(3, &["error[volume.unproven]", "is older than the last use of the volume"]);
    assert!(behind.has_volume(NAME));
}

#[test]
fn a_backup_that_is_gone_proves_nothing() {
    let scratch = Scratch::filled();
    scratch.before("write meanwhile", Happening::Deed(Deed::RemoveFiles(path("b.tar.zst").into())));
    let script = r#"
        let volume = volume::inspect(name);
        volume::verify(volume::backup(volume, dir + "/b.tar.zst"));
        host::write(dir + "/meanwhile", "");
        volume::remove(volume);"#;
    scratch.step(script, &[]).expect(3, &["error[volume.unproven]"]);
    assert!(scratch.has_volume(NAME));
}

#[test]
fn what_was_put_aside_stays_until_its_run_has_served() {
    let scratch = Scratch::filled();
    let kept = format!("{NAME}-kept");
    // Not even with a verified backup: it is the original.
    let aside = r#"
        let volume = volume::inspect(name);
        volume::verify(volume::backup(volume, dir + "/b.tar.zst"));
        let kept = volume::move(volume, name + "-kept");"#;
    scratch
        .step(&format!("{aside}\nvolume::remove(kept);"), &[])
        .expect(3, &["error[guard.volume_kept]", &format!("put aside of {NAME}"), "cleanup.rhai"]);
    let remove = r#"volume::remove(volume::inspect(name + "-kept"));"#;
    scratch
        .step(remove, &[])
        .expect(3, &["error[volume.unproven]", "has put aside, and that run is failed", "pgscript resume"]);
    assert!(scratch.has_volume(&kept));
    scratch.step(remove, &["--allow-data-loss", &format!("volume:{kept}")]).expect(0, &[]);
    assert!(!scratch.has_volume(&kept));
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
        ("empty", Scratch::bare_server(), verified.clone(), Some("holds no table")),
        ("unread", Scratch::server(), dump.replace("VERIFY", ""), Some("was not read back")),
        ("read", Scratch::server(), verified, None),
    ];
    for (name, scratch, script, refused) in cases {
        match refused {
            Some(why) => _ = scratch.step(&script, &[]).expect(3, &["error[volume.unproven]", why]),
            None => _ = scratch.step(&script, &[]).expect(0, &[]),
        }
        assert_eq!(scratch.has_volume(NAME), refused.is_some(), "{name}");
    }
}

#[test]
fn what_is_written_after_the_backup_withdraws_the_proof() {
    let scratch = Scratch::server();
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
    assert!(scratch.has_volume(NAME));
    let allowed = format!("volume:{NAME}");
    let remove = "volume::remove(volume::inspect(name));";
    scratch.step(remove, &["--allow-data-loss", &allowed]).expect(0, &[]);
    scratch.is_journalled(&allowed);
    assert_eq!(scratch.look(|state| state.holders(NAME).count()), 0);
}

#[test]
fn a_copy_to_try_something_on_goes_again_unless_others_could_use_it() {
    let scratch = Scratch::server();
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
    let copy = format!("{NAME}-copy");
    assert!(scratch.has_volume(NAME) && !scratch.has_volume(&copy));
    let said = ["error[volume.unproven]", &format!("no verified backup of volume {copy}")];
    scratch.step(&script.replace("NETWORK", "\"bridge\""), &[]).expect(3, &said);
    assert!(scratch.has_volume(&copy));
}
