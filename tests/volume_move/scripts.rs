//! The words a script has for it.

use std::fs;
use std::process::{Command, Stdio};

use crate::volume_move::bench::*;

#[test]
fn a_script_moves_clones_keeps_and_backs_up_again() {
    let Some(bench) = Bench::new(Way::Here) else { return };
    let (from, root) = bench.filled("from");
    let before = listing(&root, false);
    let dir = tempfile::tempdir().unwrap();
    let (put_aside, copy, archive) = (bench.name("aside"), bench.name("copy"), dir.path().join("volume.tar.zst"));
    let script = format!(
        r#"
        step("keep", || {{
            let keeper = volume::keep(volume::inspect("{from}"), #{{ image: "{IMAGE}" }});
            print(`keeper ${{keeper.name}} ${{keeper.state}}`);
            print("the same " + (volume::inspect("{from}").keep().id == keeper.id));
        }});
        step("move", || {{
            let moved = volume::move(volume::inspect("{from}"), "{put_aside}", #{{ labels: #{{ site: "kept" }} }});
            print("labelled " + moved.labels["site"]);
        }});
        step("clone", || print("cloned " + volume::inspect("{put_aside}").clone("{copy}").name));
        step("backup", || {{
            let v = volume::inspect("{copy}");
            volume::backup(v, "{archive}");
            try {{ volume::backup(v, "{archive}") }} catch (e) {{ print("refused " + e.code) }}
            volume::verify(volume::backup(v, "{archive}", #{{ replace: true }}));
        }});
        step("unkeep", || {{
            volume::unkeep(volume::inspect("{copy}"));
            volume::unkeep(volume::inspect("{copy}"));
            print("holders " + volume::holders(volume::inspect("{copy}")).len());
        }});
        step("move without", || volume::move(volume::inspect("{copy}"), "{copy}-2", #{{ lables: #{{}} }}));
        "#,
        archive = archive.display()
    );
    let file = dir.path().join("words.rhai");
    fs::write(&file, script).unwrap();
    let pgscript = |verb: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgscript"));
        command.arg(verb).arg(&file).env("PGSCRIPT_STORE", dir.path().join("runs")).stdin(Stdio::null());
        let output = command.output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let checked = pgscript("check");
    assert!(!checked.contains("error"), "{checked}");
    let said = pgscript("run");
    for expected in [
        &format!("keeper {from}-keeper created"),
        "the same true",
        "labelled kept",
        &format!("cloned {copy}"),
        "refused backup.exists",
        "holders 0",
        &format!("mv -T {} {}", root.display(), bench.mount_point(&put_aside).display()),
        &format!("cp -a --reflink=auto {}/.", bench.mount_point(&put_aside).display()),
        &format!("docker container rm {copy}-keeper"),
        "did you mean `labels`?",
    ] {
        assert!(said.contains(expected), "no `{expected}` in {said}");
    }
    assert_eq!(listing(&bench.mount_point(&put_aside), false), before);
    assert_eq!(listing(&bench.mount_point(&copy), false), before);
    assert!(!bench.exists(&from) && !bench.exists(&format!("{copy}-2")));
    bench.no_helpers_left();
}
