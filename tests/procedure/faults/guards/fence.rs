//! A fence holds only where nobody gets past it.

use super::{Scratch, filled};
use crate::stack::docker;

#[test]
fn published_port_of_a_fenced_container_counts_as_a_use() {
    let scratch = Scratch::new("port");
    let (name, label) = (&scratch.name, scratch.label());
    for (kind, internal) in [("closed", true), ("open", false)] {
        let (network, container, volume) =
            (format!("{name}-{kind}"), format!("{name}-c-{kind}"), format!("{name}-v-{kind}"));
        filled(&volume);
        let create = ["network", "create", "--label", &label, "--label", "pgscript.helper=fence"];
        docker(&[&create[..], if internal { &["--internal"] } else { &[] }, &[&network]].concat());
        let options =
            ["create", "--name", &container, "--label", &label, "--network", &network, "-p", "127.0.0.1::5432"];
        docker(
            &[&options[..], &["-v", &format!("{volume}:/d"), "--entrypoint", "true", "pgscript-test/app:1"]].concat(),
        );
    }
    let removal = r#"
        let codes = [];
        for kind in ["closed", "open"] {
            let volume = volume::inspect(name + "-v-" + kind);
            volume::verify(volume::backup(volume, dir + "/" + kind));
            let container = docker::container(name + "-c-" + kind);
            docker::start(container);
            docker::stop(container);
            docker::remove(container);
            try { volume::remove(volume); codes.push("done"); } catch (e) { codes.push(e.code); }
        }
        ui::say(`codes: ${codes}`);"#;
    scratch.step(removal, &[]).expect(0, &["codes: [\"done\", \"volume.unproven\"]"]);
}
