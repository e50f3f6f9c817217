//! Backups and dumps are not removed or written over while they may be needed.

use super::{Scratch, filled};
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
