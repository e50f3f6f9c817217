//! Backups and dumps are not removed or written over while they may be needed.

use std::path::{Path, PathBuf};

use pgscript::world::sim::state::{Content, File};

use super::{DIR, NAME, Scratch, path, said};
use crate::program::guarded::{BACKUP, attacks_on_the_last_copy};

#[test]
fn the_last_copy_of_data_that_is_gone_is_neither_removed_nor_written_over() {
    let scratch = Scratch::filled();
    let same = "ui::say(`same: ${host::sha256(file) == host::read_json(file + \".json\").sha256}`);";
    let script = format!("{}\n{same}", attacks_on_the_last_copy());
    scratch.step(&script, &[]).expect(0, &[&said(&["guard.last_copy"; 6]), "same: true"]);
}

#[test]
fn the_last_copy_is_refused_with_a_way_out_that_the_operator_can_type() {
    let scratch = Scratch::filled();
    let file = path("kept/b.tar.zst");
    let script = format!("{BACKUP}\nvolume::remove(volume);\nhost::remove_file(file);");
    let allowed = format!("artefact:{file}");
    let said = [
        "error[guard.last_copy]",
        &file,
        "is the last complete copy of its data",
        &format!("--allow-data-loss {allowed}"),
    ];
    scratch.step(&script, &[]).expect(3, &said);
    assert!(scratch.has_file(&file) && !scratch.has_volume(NAME));
    // The next run does not know better, and the file is not its own.
    let remove = format!("host::remove_file(\"{file}\");");
    let said = ["error[guard.artefact_in_use]", "which is failed", "pgscript resume", "pgscript rollback"];
    scratch.step(&remove, &[]).expect(3, &said);
    scratch.step(&remove, &["--allow-data-loss", &allowed]).expect(0, &[]);
    assert!(!scratch.has_file(&file));
    scratch.is_journalled(&allowed);
}

#[test]
fn a_copy_goes_while_the_original_is_in_its_place() {
    let scratch = Scratch::filled();
    scratch.step(&format!("{BACKUP}\nhost::remove_dir(dir + \"/kept\");"), &[]).expect(0, &[]);
    assert!(!scratch.has_file(path("kept")));
    // Another run's, which is over.
    scratch.step(BACKUP, &[]).expect(0, &[]);
    scratch.step("host::remove_dir(dir + \"/kept\");", &[]).expect(0, &[]);
    assert!(scratch.has_volume(NAME));
}

/// As `cp -a`.
fn copy(scratch: &Scratch, from: &str, to: &str) {
    scratch.arrange(|state| {
        let found = state.files.iter().filter(|(path, _)| path.starts_with(from));
        let moved = |path: &Path| Path::new(to).join(path.strip_prefix(from).unwrap());
        let copied: Vec<_> = found.map(|(path, file)| (moved(path), file.clone())).collect();
        state.files.extend(copied);
    });
}

#[test]
fn a_backup_that_no_run_knows_is_not_touched() {
    let scratch = Scratch::filled();
    scratch.step(BACKUP, &[]).expect(0, &[]);
    copy(&scratch, &path("kept"), &path("brought"));
    let (file, directory) = (path("brought/b.tar.zst"), path("brought"));
    let remove = "host::remove_dir(dir + \"/brought\");";
    let said = [
        "error[guard.artefact_unknown]",
        "no run of this store has made",
        &format!("--allow-data-loss artefact:{file}"),
    ];
    scratch.step(remove, &[]).expect(3, &said);
    assert!(scratch.has_file(&file));
    // Naming the directory names what is in it.
    scratch.step(remove, &["--allow-data-loss", &format!("artefact:{directory}")]).expect(0, &[]);
    assert!(!scratch.has_file(&file));
    // Files that only look like it are nobody's business.
    let content = Content::Bytes { bytes: b"{\"sha256\": \"5a\"}".to_vec() };
    let plain = File { content: content.clone(), mode: 0o600, modified: 0, synced: Some(content) };
    scratch.arrange(|state| state.files.insert(PathBuf::from(DIR).join("plain.json"), plain));
    scratch.step("host::remove_file(dir + \"/plain.json\");", &[]).expect(0, &[]);
}

#[test]
fn a_part_of_a_dump_is_the_dump() {
    let scratch = Scratch::server();
    let script = r#"
        let container = docker::container(name);
        let dump = pg_dump::cluster(psql::server(container), dir + "/dump");
        pg_dump::verify(dump);
        docker::stop(container);
        docker::save_definitions([container], dir + "/definitions.json");
        docker::remove(container);
        volume::remove(volume::inspect(name));
        let codes = [];
        for path in [dir + "/dump", dir + "/dump/dump.json", dir + "/dump/globals.sql"] {
            try { if path.ends_with("dump") { host::remove_dir(path) } else { host::remove_file(path) } }
            catch (e) { codes.push(e.code); }
        }
        ui::say(`codes: ${codes}`);"#;
    scratch.step(script, &[]).expect(0, &[&said(&["guard.last_copy"; 3])]);
    assert!(scratch.has_file(path("dump/dump.json")));
}
