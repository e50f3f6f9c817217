//! A container with a database goes only stopped, with its data elsewhere, and when it can be made again.

use super::Scratch;
use crate::stack::docker;

fn is_there(name: &str) -> bool {
    !docker(&["ps", "-aq", "--filter", &format!("name=^{name}$")]).is_empty()
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
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
