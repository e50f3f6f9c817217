//! The application stays down from the moment its database is put aside until the data is proved to be whole.

use super::super::edited;
use super::Scratch;
use crate::stack::{Stack, docker, run};

/// Takes the old server away, with everything that this needs; `application` is a container of the same project.
const PUT_ASIDE: &str = r#"
    let application = docker::container(name + "-application");
    let old = docker::container(name);
    let server = psql::server(old);
    let before = psql::content(server);
    let dump = pg_dump::cluster(server, dir + "/dump", #{ client: "pgscript-test/postgres:17" });
    pg_dump::verify(dump);
    docker::stop(old);
    let volume = volume::inspect(name);
    let backup = volume::backup(volume, dir + "/b.tar.zst");
    volume::verify(backup);
    docker::save_definitions([old], dir + "/definitions.json");
    docker::remove(old);
    volume::remove(volume);
"#;

/// A new server of 17 with the restored dump, in a network of its own.
const RESTORE: &str = r#"
    docker::create_network(name + "-fence", #{ labels: #{ "pgscript.helper": "fence" } });
    let fresh = docker::create(#{ name: name, image: "pgscript-test/postgres:17", network: name + "-fence",
        env: ["POSTGRES_HOST_AUTH_METHOD=trust"],
        mounts: [#{ name: volume::create(name).name, destination: "/var/lib/postgresql/data" }],
        labels: #{ "com.docker.compose.project": name, "com.docker.compose.service": "db" } });
    docker::start(fresh);
    let target = psql::server(fresh);
    psql::wait_ready(target);
    pg_dump::restore(dump, target);
"#;

/// Collects the code of each act's refusal.
fn codes(acts: &[&str]) -> String {
    let tried =
        acts.iter().map(|act| format!("try {{ {act}; codes.push(\"done\"); }} catch (e) {{ codes.push(e.code); }}\n"));
    format!("let codes = [];\n{}ui::say(`codes: ${{codes}}`);\n", tried.collect::<String>())
}

fn said(codes: &[&str]) -> String {
    let quoted: Vec<_> = codes.iter().map(|code| format!("\"{code}\"")).collect();
    format!("codes: [{}]", quoted.join(", "))
}

fn site(name: &str) -> Scratch {
    let scratch = Scratch::new(name);
    scratch.server(15, "CREATE TABLE t AS SELECT 1 AS x");
    let project = format!("com.docker.compose.project={}", scratch.name);
    let (name, label) = (format!("{}-application", scratch.name), scratch.label());
    let options = ["create", "--name", &name, "--label", &label, "--label", &project, "--network", "none"];
    docker(&[&options[..], &["--entrypoint", "true", "pgscript-test/app:1"]].concat());
    docker(&["network", "create", "--label", &label, &format!("{}-net", scratch.name)]);
    scratch
}

fn state(scratch: &Scratch) -> String {
    docker(&["inspect", "--format", "{{.State.Status}}", &format!("{}-application", scratch.name)])
}

#[test]
fn nothing_of_the_project_is_released_before_the_new_server_was_compared() {
    let scratch = site("fence");
    let acts = [
        "docker::start(application)",
        "docker::set_restart_policy(application, \"always\")",
        "docker::set_restart_policy(application, \"no\")",
    ];
    let connect = "docker::connect(name + \"-net\", fresh)";
    let playbook = "ansible::playbook(ansible::site(#{ dir: dir }), \"site.yml\")";
    // Of the same server, of nothing: neither proves anything.
    let trivial = "psql::compare(psql::content(target), psql::content(target));";
    let restored = [acts[0], connect, playbook];
    let script = [
        PUT_ASIDE,
        &codes(&acts),
        RESTORE,
        &codes(&restored),
        trivial,
        &codes(&restored),
        "psql::compare(before, psql::content(target));",
        &codes(&[connect, acts[1], acts[0]]),
    ];
    let refused = "guard.fence";
    let done = scratch.step(&script.concat(), &[]).expect(0, &[]);
    let seen: Vec<_> = done.text.lines().filter_map(|line| Some(line[line.find("codes: ")?..].trim())).collect();
    let expected = [
        said(&[refused, refused, "done"]),
        said(&[refused, refused, refused]),
        said(&[refused, refused, refused]),
        said(&["done", "done", "done"]),
    ];
    assert_eq!(seen, expected, "{}", done.text);
    assert!(scratch.journals().contains("\"fact\":\"compared\""));
}

#[test]
fn the_old_data_may_always_come_back() {
    let scratch = site("back");
    let script = [
        PUT_ASIDE,
        "volume::restore(backup, volume::create(name));
        let back = docker::create(#{ like: docker::load_definitions(dir + \"/definitions.json\")[0], name: name });
        docker::start(back);
        psql::wait_ready(psql::server(back));
        docker::start(application);",
    ];
    scratch.step(&script.concat(), &[]).expect(0, &[]);
    assert_ne!(state(&scratch), "created");
}

#[test]
fn the_operator_may_lift_the_fence_by_naming_the_project() {
    let scratch = site("lifted");
    let (fence, start) = (format!("fence:{}", scratch.name), [PUT_ASIDE, "docker::start(application);"].concat());
    let refusal = [
        "error[guard.fence]",
        "was put aside, and its data is not in place",
        "psql::compare",
        &format!("--allow-data-loss {fence}"),
    ];
    scratch.step(&start, &["--allow-data-loss", "fence:another"]).expect(3, &refusal);
    assert_eq!(state(&scratch), "created");
    drop(scratch);
    let scratch = site("lifted");
    scratch.step(&start, &["--allow-data-loss", &fence]).expect(0, &[]);
    assert_ne!(state(&scratch), "created");
    scratch.is_journalled(&fence);
}

#[test]
fn an_edited_upgrade_that_starts_the_application_too_early_is_refused_and_goes_back() {
    let stack = Stack::up(13);
    let before = stack.content();
    stack.inventory_version(17);
    let script = edited(
        &stack,
        "wayback::put_aside(plan.volume, record.kept, plan.database.image_id);\n",
        "wayback::put_aside(plan.volume, record.kept, plan.database.image_id);
        for other in plan.others { docker::start(other); }\n",
    );
    let shipped = stack.upgrade_command(17, &[]);
    let mut command = stack.pgscript(&[]);
    command.arg("run").arg(script).args(shipped.get_args().skip(2));
    run(&mut command).expect(3, &["error[guard.fence]", &format!("--allow-data-loss fence:{}", stack.name)]);
    assert_eq!(stack.inspect("application", "{{.State.Running}}"), "false");
    run(&mut stack.pgscript(&["rollback", "--yes"])).expect(0, &[]);
    assert_eq!((stack.major().as_str(), stack.content()), ("13", before));
    stack.writes();
}

#[test]
fn published_port_of_a_fenced_container_counts_as_a_use() {
    let scratch = Scratch::new("port");
    let (name, label) = (&scratch.name, scratch.label());
    for (kind, internal) in [("closed", true), ("open", false)] {
        let (network, container, volume) =
            (format!("{name}-{kind}"), format!("{name}-c-{kind}"), format!("{name}-v-{kind}"));
        super::filled(&volume);
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
    scratch.step(removal, &[]).expect(0, &[&said(&["done", "volume.unproven"])]);
}

#[test]
fn network_modes_that_cannot_be_fenced_are_refused_by_name() {
    let scratch = Scratch::new("modes");
    let (name, label) = (&scratch.name, scratch.label());
    let make = |verb: &[&str], kind: &str, network: &str| {
        let container = format!("{name}-{kind}");
        let own = ["--name", &container, "--label", &label, "--network", network];
        docker(&[verb, &own, &["--entrypoint", "sleep", "pgscript-test/app:1", "60"]].concat());
    };
    make(&["create"], "host", "host");
    make(&["run", "-d"], "shared", "none");
    make(&["run", "-d"], "sidecar", &format!("container:{name}-shared"));
    let check = |kind: &str| {
        let script = "import \"clients\" as clients;\nlet name = param(\"name\");\nlet dir = param(\"dir\");\n";
        scratch.run(&format!("{script}clients::check_fence(\"p\", docker::container(name + \"-{kind}\"));"), &[])
    };
    check("host").expect(
        3,
        &["error[preflight.network_mode]", &format!("{name}-host has network_mode host"), "remove network_mode"],
    );
    check("sidecar").expect(3, &["error[preflight.network_mode]"]);
    let sidecar = format!("{name}-sidecar (of no Compose project)");
    check("shared").expect(3, &["error[preflight.shared_network]", &sidecar, "docker stop"]);
    docker(&["rm", "-f", &format!("{name}-sidecar")]);
    check("shared").expect(0, &[]);
}

/// The same as with labels: the application, the network and the playbook wait for the comparison.
#[test]
fn no_compose_labels_and_the_guards_hold_all_the_same() {
    let scratch = Scratch::new("plain");
    scratch.plain_server(15, "CREATE TABLE t AS SELECT 1 AS x");
    let (name, label) = (format!("{}-application", scratch.name), scratch.label());
    let options = ["create", "--name", &name, "--label", &label, "--network", "none"];
    docker(&[&options[..], &["--entrypoint", "true", "pgscript-test/app:1"]].concat());
    docker(&["network", "create", "--label", &label, &format!("{}-net", scratch.name)]);
    let acts = [
        "docker::start(application)",
        "docker::connect(name + \"-net\", fresh)",
        "ansible::playbook(ansible::site(#{ dir: dir }), \"site.yml\")",
    ];
    let labels = "labels: #{ \"com.docker.compose.project\": name, \"com.docker.compose.service\": \"db\" }";
    assert!(RESTORE.contains(labels));
    let script = [
        PUT_ASIDE,
        &codes(&acts[..1]),
        &RESTORE.replace(labels, "labels: #{}"),
        &codes(&acts),
        "psql::compare(before, psql::content(target));",
        &codes(&acts[..2]),
    ];
    let done = scratch.step(&script.concat(), &[]).expect(0, &[]);
    let seen: Vec<_> = done.text.lines().filter_map(|line| Some(line[line.find("codes: ")?..].trim())).collect();
    let refused = "guard.fence";
    let expected = [said(&[refused]), said(&[refused, refused, refused]), said(&["done", "done"])];
    assert_eq!(seen, expected, "{}", done.text);
}
