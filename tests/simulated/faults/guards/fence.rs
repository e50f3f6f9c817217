//! The application stays down from the moment its database is put aside until the data is proved to be whole.

use pgscript::world::container::{ContainerSpec, NetworkSpec};

use super::{APP, NAME, Scratch, said, short_lived, spec, start};
use crate::program::run;
use crate::simulated::site::Site;

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

const APPLICATION: &str = "own-application";

/// A network, and the application, in no network yet.
fn with_application(scratch: Scratch, labels: &[(&str, &str)]) -> Scratch {
    scratch.arrange(|state| {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        state.create(&ContainerSpec { labels: Some(labels), ..short_lived(APPLICATION) }).unwrap();
        state.make_network("own-net", &NetworkSpec::default()).unwrap();
    });
    scratch
}

fn site() -> Scratch {
    with_application(Scratch::server(), &[("com.docker.compose.project", NAME)])
}

fn state(scratch: &Scratch) -> String {
    scratch.of_container(APPLICATION, |container| container.state.clone()).unwrap()
}

/// The codes that were said, one line after the other.
fn seen(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| Some(line[line.find("codes: ")?..].trim())).collect()
}

#[test]
fn nothing_of_the_project_is_released_before_the_new_server_was_compared() {
    let scratch = site();
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
    let expected = [
        said(&[refused, refused, "done"]),
        said(&[refused, refused, refused]),
        said(&[refused, refused, refused]),
        said(&["done", "done", "done"]),
    ];
    assert_eq!(seen(&done.text), expected, "{}", done.text);
    assert!(scratch.journals().contains("\"fact\":\"compared\""));
}

#[test]
fn the_old_data_may_always_come_back() {
    let scratch = site();
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
    let scratch = site();
    let (fence, start) = (format!("fence:{NAME}"), [PUT_ASIDE, "docker::start(application);"].concat());
    let refusal = [
        "error[guard.fence]",
        "was put aside, and its data is not in place",
        "psql::compare",
        &format!("--allow-data-loss {fence}"),
    ];
    scratch.step(&start, &["--allow-data-loss", "fence:another"]).expect(3, &refusal);
    assert_eq!(state(&scratch), "created");
    drop(scratch);
    let scratch = site();
    scratch.step(&start, &["--allow-data-loss", &fence]).expect(0, &[]);
    assert_ne!(state(&scratch), "created");
    scratch.is_journalled(&fence);
}

#[test]
fn an_edited_upgrade_that_starts_the_application_too_early_is_refused_and_goes_back() {
    let site = Site::up();
    let script = site.edited(
        "upgrade.rhai",
        "wayback::put_aside(plan.volume, record.kept, plan.database.image_id);\n",
        "wayback::put_aside(plan.volume, record.kept, plan.database.image_id);
        for other in plan.others { docker::start(other); }\n",
    );
    let refused = ["error[guard.fence]", "--allow-data-loss fence:primero"];
    run(&mut site.script(script.to_str().unwrap(), &[])).expect(3, &refused);
    assert_eq!(site.of_container("primero-application-1", |c| c.is_up()), Some(false));
    run(&mut site.pgscript(&["rollback", "--yes"])).expect(0, &[]);
    site.is_back();
}

#[test]
fn network_modes_that_cannot_be_fenced_are_refused_by_name() {
    let scratch = Scratch::new();
    let waits = |kind: &str, network: &str| {
        let entrypoint = Some(["sleep", "60"].map(str::to_owned).to_vec());
        ContainerSpec { entrypoint, network: Some(network.into()), ..spec(&format!("own-{kind}"), APP) }
    };
    scratch.arrange(|state| {
        state.create(&waits("host", "host")).unwrap();
        start(state, &waits("shared", "none"));
        start(state, &waits("sidecar", "container:own-shared"));
    });
    let check = |kind: &str| {
        let script = "import \"clients\" as clients;\nlet name = param(\"name\");\nlet dir = param(\"dir\");\n";
        scratch.run(&format!("{script}clients::check_fence(\"p\", docker::container(name + \"-{kind}\"));"), &[])
    };
    let said = ["error[preflight.network_mode]", "own-host has network_mode host", "remove network_mode"];
    check("host").expect(3, &said);
    check("sidecar").expect(3, &["error[preflight.network_mode]"]);
    let said = ["error[preflight.shared_network]", "own-sidecar (of no Compose project)", "docker stop"];
    check("shared").expect(3, &said);
    scratch.arrange(|state| state.remove("own-sidecar", true).unwrap());
    check("shared").expect(0, &[]);
}

/// The same as with labels: the application, the network and the playbook wait for the comparison.
#[test]
fn no_compose_labels_and_the_guards_hold_all_the_same() {
    let scratch = with_application(Scratch::plain_server(), &[]);
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
    let refused = "guard.fence";
    let expected = [said(&[refused]), said(&[refused, refused, refused]), said(&["done", "done"])];
    assert_eq!(seen(&done.text), expected, "{}", done.text);
}
