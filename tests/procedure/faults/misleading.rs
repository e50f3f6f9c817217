//! What a container says of its server, and is not so: the port, the database, the superuser.

use super::before::Before;
use crate::stack::{Run, Stack, run, sh};

/// The database's container names 5432 and `primero_production`; its server listens on 5433, and the database is
/// called `primero_live` by now. `options`: of the stack; `service`: further lines of its compose file; `sql`: as the
/// superuser.
pub fn misled(options: &[&str], service: &str, sql: &str) -> Stack {
    let stack = Stack::with(13, options);
    stack.deploy_by_command();
    for service in ["application", "worker"] {
        stack.docker(&["stop", &stack.container(service)]);
    }
    stack.sql("postgres", &format!("ALTER DATABASE primero_production RENAME TO primero_live; {sql}"));
    stack.notes("port=5433\ndatabase=primero_live");
    let path = stack.dir.join("docker-compose.yml");
    let compose = std::fs::read_to_string(&path).unwrap();
    let file = "    env_file: [postgres.env]\n";
    let client = "    environment: {PGPORT: \"5433\", POSTGRES_DB: primero_live}\n    depends_on: [postgres]\n";
    let changed = compose.replace(&format!("{file}    volumes:"), &format!("{file}{service}    volumes:"));
    let changed = changed.replace(&format!("{file}    depends_on: [postgres]\n"), &format!("{file}{client}"));
    assert_eq!(changed.matches(client).count(), 2, "{changed}");
    std::fs::write(path, changed).unwrap();
    sh("sh", &["-e", &stack.dir.join("deploy.sh").display().to_string()]);
    stack.writes();
    stack
}

#[track_caller]
fn upgraded(stack: &Stack, strategy: &str) -> Run {
    let before = stack.content();
    stack.inventory_version(17);
    let said = stack.upgrade(17, &["--set", &format!("strategy={strategy}")]);
    let said = said.expect(0, &["primero logs in with its password"]);
    assert_eq!((stack.major(), stack.content()), ("17".to_owned(), before));
    stack.writes();
    stack.no_helpers_left();
    said
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn another_port_by_the_configuration_and_database_renamed_since() {
    let stack = misled(&[], "", "ALTER SYSTEM SET port = 5433");
    upgraded(&stack, "pg_upgrade");
    stack.rollback().expect(0, &["is rolled back"]);
    assert_eq!(stack.major(), "13");
    stack.writes();
}

#[test]
fn superuser_that_is_none() {
    let stack = Stack::with(13, &["--seed", "none"]);
    stack.sql("postgres", "CREATE ROLE dba SUPERUSER LOGIN; SET ROLE dba; ALTER ROLE primero NOSUPERUSER");
    let before = Before::containers_of(&stack);
    let look = |user: &[&str]| {
        let arguments = ["run", "preflight.rhai", "--set", "to=17", "--set", "only_checks=server"];
        run(&mut stack.pgscript(&[&arguments, user].concat()))
    };
    let said =
        look(&[]).expect(3, &["[postgres.not_superuser]", "role primero is no superuser of", "(dba): --set user="]);
    assert!(!said.text.contains("permission denied"), "{}", said.text);
    before.is_untouched(&stack);
    look(&["--set", "user=dba"]).expect(0, &["ready"]);
    before.is_untouched(&stack);
}
