//! A container with a database goes only stopped, with its data elsewhere, and when it can be made again.

use pgscript::world::container::{ContainerSpec, Mount};

use super::{NAME, Scratch, spec};

#[test]
fn a_database_is_removed_only_stopped_and_with_its_definition_saved() {
    let scratch = Scratch::server();
    let container = format!("--allow-data-loss container:{NAME}");
    let refused = |script: &str, said: &[&str]| {
        scratch.step(script, &[]).expect(3, &[said, &[&container[..]]].concat());
        assert!(scratch.has_container(NAME));
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
    assert!(!scratch.has_container(NAME));
}

/// What a container has in memory alone.
fn memory(destination: &str) -> Mount {
    Mount { kind: "tmpfs".into(), name: String::new(), ..super::volume("", destination) }
}

#[test]
fn a_database_in_the_container_itself_is_not_removed_unless_the_operator_names_it() {
    let scratch = Scratch::new();
    let inside = ContainerSpec {
        env: vec!["PGDATA=/cluster".into()],
        mounts: vec![memory("/var/lib/postgresql/data")],
        ..spec(NAME, "pgscript-test/postgres:15")
    };
    scratch.arrange(|state| state.create(&inside).unwrap());
    let remove = "let c = docker::container(name); docker::save_definitions([c], dir + `/${run::id()}.json`); \
                  docker::remove(c);";
    let said = ["error[guard.container_data]", "is in the container itself", "pg_dump::cluster"];
    scratch.step(remove, &[]).expect(3, &said);
    scratch.step(remove, &["--allow-data-loss", "container:another"]).expect(3, &said);
    assert!(scratch.has_container(NAME));
    let allowed = format!("container:{NAME}");
    scratch.step(remove, &["--allow-data-loss", &allowed]).expect(0, &[]);
    assert!(!scratch.has_container(NAME));
    scratch.is_journalled(&allowed);
}

#[test]
fn what_the_run_has_made_itself_is_free() {
    let scratch = Scratch::new();
    let script = r#"
        let container = docker::create(#{ name: name, image: "pgscript-test/postgres:15", network: "none",
            env: ["POSTGRES_HOST_AUTH_METHOD=trust", "PGDATA=/cluster"],
            mounts: [#{ kind: "tmpfs", destination: "/var/lib/postgresql/data" }] });
        docker::start(container);
        docker::remove(container, #{ force: true });"#;
    scratch.step(script, &[]).expect(0, &[]);
    assert!(!scratch.has_container(NAME));
}
