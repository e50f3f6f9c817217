//! Backups and dumps are not removed or written over while they may be needed.

use std::path::Path;

use super::{Scratch, filled, has_volume};
use crate::stack::sh;

const BACKUP: &str = r#"
    let file = dir + "/kept/b.tar.zst";
    host::create_private_dir(dir + "/kept");
    let volume = volume::inspect(name);
    volume::verify(volume::backup(volume, file));
"#;

#[test]
fn the_last_copy_of_data_that_is_gone_is_neither_removed_nor_written_over() {
    let scratch = Scratch::new("last");
    filled(&scratch.name);
    let file = scratch.path("kept/b.tar.zst");
    let acts = [
        "host::remove_file(file);",
        "host::remove_file(file + \".json\");",
        "host::remove_dir(dir + \"/kept\");",
        "host::write(file, \"\", #{ overwrite: true });",
        "host::write_json(file + \".json\", 1, #{ overwrite: true });",
        // Another volume of that name: the file holds what the first one had.
        "let again = volume::create(name); \
         docker::run(#{ image: \"pgscript-test/app:1\", user: \"0\", entrypoint: [\"touch\", \"/data/x\"], \
             mounts: [#{ name: name, destination: \"/data\" }] }); \
         volume::backup(again, file, #{ replace: true });",
    ];
    // One run for all: each refusal can be caught, and changes nothing.
    let tried = acts.map(|act| format!("try {{ {act} }} catch (e) {{ codes.push(e.code); }}")).join("\n");
    let script = format!("{BACKUP}\nvolume::remove(volume);\nlet codes = [];\n{tried}\nui::say(`codes: ${{codes}}`);");
    let codes = ["guard.last_copy"; 6].map(|code| format!("\"{code}\"")).join(", ");
    scratch.step(&script, &[]).expect(0, &[&format!("codes: [{codes}]")]);
    sh(
        "sh",
        &[
            "-c",
            &format!(
                "test \"$(sha256sum < {file} | cut -d' ' -f1)\" = \"$(grep -o '[0-9a-f]\\{{64\\}}' {file}.json)\""
            ),
        ],
    );
}

#[test]
fn the_last_copy_is_refused_with_a_way_out_that_the_operator_can_type() {
    let scratch = Scratch::new("named");
    filled(&scratch.name);
    let file = scratch.path("kept/b.tar.zst");
    let script = format!("{BACKUP}\nvolume::remove(volume);\nhost::remove_file(file);");
    let allowed = format!("artefact:{file}");
    let said = [
        "error[guard.last_copy]",
        &file,
        "is the last complete copy of its data",
        &format!("--allow-data-loss {allowed}"),
    ];
    scratch.step(&script, &[]).expect(3, &said);
    assert!(Path::new(&file).exists() && !has_volume(&scratch.name));
    // The next run does not know better, and the file is not its own.
    let remove = format!("host::remove_file(\"{file}\");");
    let said = ["error[guard.artefact_in_use]", "which is failed", "pgscript resume", "pgscript rollback"];
    scratch.step(&remove, &[]).expect(3, &said);
    scratch.step(&remove, &["--allow-data-loss", &allowed]).expect(0, &[]);
    assert!(!Path::new(&file).exists());
    scratch.is_journalled(&allowed);
}

#[test]
fn a_copy_goes_while_the_original_is_in_its_place() {
    let scratch = Scratch::new("early");
    filled(&scratch.name);
    scratch.step(&format!("{BACKUP}\nhost::remove_dir(dir + \"/kept\");"), &[]).expect(0, &[]);
    assert!(!Path::new(&scratch.path("kept")).exists());
    // Another run's, which is over.
    scratch.step(BACKUP, &[]).expect(0, &[]);
    scratch.step("host::remove_dir(dir + \"/kept\");", &[]).expect(0, &[]);
    assert!(has_volume(&scratch.name));
}

#[test]
fn a_backup_that_no_run_knows_is_not_touched() {
    let scratch = Scratch::new("unknown");
    filled(&scratch.name);
    scratch.step(BACKUP, &[]).expect(0, &[]);
    sh("cp", &["-a", &scratch.path("kept"), &scratch.path("brought")]);
    let (file, directory) = (scratch.path("brought/b.tar.zst"), scratch.path("brought"));
    let remove = "host::remove_dir(dir + \"/brought\");";
    let said = [
        "error[guard.artefact_unknown]",
        "no run of this store has made",
        &format!("--allow-data-loss artefact:{file}"),
    ];
    scratch.step(remove, &[]).expect(3, &said);
    assert!(Path::new(&file).exists());
    // Naming the directory names what is in it.
    scratch.step(remove, &["--allow-data-loss", &format!("artefact:{directory}")]).expect(0, &[]);
    assert!(!Path::new(&file).exists());
    // Files that only look like it are nobody's business.
    std::fs::write(scratch.dir.path().join("plain.json"), "{\"sha256\": \"5a\"}").unwrap();
    scratch.step("host::remove_file(dir + \"/plain.json\");", &[]).expect(0, &[]);
}

#[test]
fn a_part_of_a_dump_is_the_dump() {
    let scratch = Scratch::new("part");
    scratch.server(15, "CREATE TABLE t AS SELECT 1 AS x");
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
    scratch.step(script, &[]).expect(0, &["codes: [\"guard.last_copy\", \"guard.last_copy\", \"guard.last_copy\"]"]);
    assert!(Path::new(&scratch.path("dump/dump.json")).exists());
}
