//! A container with a database goes only stopped, with its data elsewhere, and when it can be made again.

use super::Scratch;
use crate::stack::docker;

fn is_there(name: &str) -> bool {
    !docker(&["ps", "-aq", "--filter", &format!("name=^{name}$")]).is_empty()
}

#[test]
fn a_database_is_removed_only_stopped_and_with_its_definition_saved() {
    let scratch = Scratch::new("database");
    let name = &scratch.name;
    scratch.server(15, "SELECT 1");
    let container = format!("--allow-data-loss container:{name}");
    let refused = |script: &str, said: &[&str]| {
        scratch.step(script, &[]).expect(3, &[said, &[&container[..]]].concat());
        assert!(is_there(name));
    };
    let save = "docker::save_definitions([docker::container(name)], dir + \"/definitions.json\");";
    refused(
        "docker::remove(docker::container(name), #{ force: true });",
        &["error[guard.container_running]", "docker::stop it first"],
    );
    refused(
        "docker::stop(docker::container(name)); docker::remove(docker::container(name));",
        &["error[guard.container_definition]", "docker::save_definitions"],
    );
    // Saved, and thrown away again.
    refused(
        &format!("{save} host::remove_file(dir + \"/definitions.json\"); docker::remove(docker::container(name));"),
        &["error[guard.container_definition]"],
    );
    scratch.step(&format!("{save} docker::remove(docker::container(name));"), &[]).expect(0, &[]);
    assert!(!is_there(name));
}

#[test]
fn a_database_in_the_container_itself_is_not_removed_unless_the_operator_names_it() {
    let scratch = Scratch::new("inside");
    let name = &scratch.name;
    docker(&[
        "create",
        "--name",
        name,
        "--label",
        &scratch.label(),
        "-e",
        "PGDATA=/cluster",
        "--tmpfs",
        "/var/lib/postgresql/data",
        "pgscript-test/postgres:15",
    ]);
    let remove = "let c = docker::container(name); docker::save_definitions([c], dir + `/${run::id()}.json`); \
                  docker::remove(c);";
    let said = ["error[guard.container_data]", "is in the container itself", "pg_dump::cluster"];
    scratch.step(remove, &[]).expect(3, &said);
    scratch.step(remove, &["--allow-data-loss", "container:another"]).expect(3, &said);
    assert!(is_there(name));
    let allowed = format!("container:{name}");
    scratch.step(remove, &["--allow-data-loss", &allowed]).expect(0, &[]);
    assert!(!is_there(name));
    scratch.is_journalled(&allowed);
}

#[test]
fn what_the_run_has_made_itself_is_free() {
    let scratch = Scratch::new("made");
    let script = r#"
        let container = docker::create(#{ name: name, image: "pgscript-test/postgres:15", network: "none",
            env: ["POSTGRES_HOST_AUTH_METHOD=trust", "PGDATA=/cluster"], labels: #{ "pgscript.test.stack": name },
            mounts: [#{ kind: "tmpfs", destination: "/var/lib/postgresql/data" }] });
        docker::start(container);
        docker::remove(container, #{ force: true });"#;
    scratch.step(script, &[]).expect(0, &[]);
    assert!(!is_there(&scratch.name));
}
