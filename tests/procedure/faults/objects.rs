//! What the cluster or the stack holds that a dump, the target or Compose can't take: found before the outage.

use std::process::Command;

use super::before::Before;
use crate::stack::{Stack, docker, run};

#[track_caller]
fn refused(stack: &Stack, check: &str, said: &[&str]) {
    let before = Before::containers_of(stack);
    run(&mut stack.checks(17, check, &[])).expect(3, said).expect(3, &["nothing was changed"]);
    before.is_untouched(stack);
}

#[test]
fn what_a_dump_cannot_carry() {
    let stack = Stack::with(13, &["--seed", "none"]);
    let database = stack.container("postgres");
    stack.sql("postgres", "ALTER SYSTEM SET max_prepared_transactions = 2");
    stack.docker(&["restart", &database]);
    stack.writes();
    for (sql, said, undo) in [
        (
            "BEGIN; CREATE TABLE half_done (x int); PREPARE TRANSACTION 'forgotten';",
            "1 prepared transaction(s): COMMIT PREPARED or ROLLBACK PREPARED",
            "ROLLBACK PREPARED 'forgotten';",
        ),
        (
            "SELECT pg_create_physical_replication_slot('standby');",
            "1 replication slot(s)",
            "SELECT pg_drop_replication_slot('standby');",
        ),
        (
            "CREATE DATABASE closed ALLOW_CONNECTIONS false;",
            "database(s) that allow no connection cannot be dumped: closed",
            "DROP DATABASE closed;",
        ),
    ] {
        stack.sql("primero_production", sql);
        refused(&stack, "obstacles", &["[preflight.obstacles]", said]);
        stack.sql("primero_production", undo);
    }
    stack.docker(&["exec", "-u", "postgres", &database, "mkdir", "/tmp/elsewhere"]);
    stack.sql("primero_production", "CREATE TABLESPACE elsewhere LOCATION '/tmp/elsewhere'");
    refused(&stack, "obstacles", &["[preflight.obstacles]", "tablespace(s) outside the volume: elsewhere"]);
}

/// An image of the test's own; removed when the value goes.
pub struct Variant(pub String);

impl Variant {
    /// The image of version 17 with further lines of a Dockerfile.
    pub fn of(stack: &Stack, name: &str, lines: &str) -> Self {
        let image = Self(format!("pgscript-test/{name}:{}", stack.name));
        let dir = stack.dir.join(name);
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("Dockerfile"), format!("FROM pgscript-test/postgres:17\n{lines}\n")).unwrap();
        docker(&["build", "--quiet", "--tag", &image.0, &dir.display().to_string()]);
        image
    }
}

impl Drop for Variant {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", "--force", &self.0]).output();
    }
}
