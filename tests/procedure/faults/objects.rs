//! What the cluster or the stack holds that a dump, the target or Compose can't take: found before the outage.

use std::process::Command;

use super::before::Before;
use super::upgrade;
use crate::stack::{Stack, docker, run};

#[track_caller]
fn refused(stack: &Stack, further: &[&str], said: &[&str]) {
    let before = Before::containers_of(stack);
    run(&mut upgrade(stack, further)).expect(3, said).expect(3, &["✗ failed in step `preflight`"]);
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
        refused(&stack, &[], &["[preflight.obstacles]", said, "nothing was changed"]);
        stack.sql("primero_production", undo);
    }
    stack.docker(&["exec", "-u", "postgres", &database, "mkdir", "/tmp/elsewhere"]);
    stack.sql("primero_production", "CREATE TABLESPACE elsewhere LOCATION '/tmp/elsewhere'");
    refused(&stack, &[], &["[preflight.obstacles]", "tablespace(s) outside the volume: elsewhere"]);
}

/// An image of the test's own; removed when the value goes.
struct Variant(String);

impl Drop for Variant {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", "--force", &self.0]).output();
    }
}

#[test]
fn extension_missing_on_the_target() {
    let stack = Stack::with(13, &["--seed", "none"]);
    stack.sql("primero_production", "CREATE EXTENSION pg_trgm");
    let image = Variant(format!("pgscript-test/without-pg-trgm:{}", stack.name));
    let dir = stack.dir.join("image");
    std::fs::create_dir(&dir).unwrap();
    let dockerfile = "FROM pgscript-test/postgres:17\nRUN find / -xdev -name pg_trgm.control -delete\n";
    std::fs::write(dir.join("Dockerfile"), dockerfile).unwrap();
    docker(&["build", "--quiet", "--tag", &image.0, &dir.display().to_string()]);
    let lacks = format!("image {} lacks", image.0);
    let said = ["[preflight.missing_on_target]", &lacks, "extension pg_trgm (database primero_production)"];
    refused(&stack, &["--set", &format!("image={}", image.0)], &said);
}

#[test]
fn network_recreated_without_its_labels() {
    let stack = Stack::with(13, &["--seed", "none"]);
    let network = format!("{}_default", stack.name);
    let services = ["postgres", "application", "worker", "nginx"];
    for service in services {
        stack.docker(&["network", "disconnect", "--force", &network, &stack.container(service)]);
    }
    stack.docker(&["network", "rm", &network]);
    stack.docker(&["network", "create", &network]);
    for service in services {
        stack.docker(&["network", "connect", "--alias", service, &network, &stack.container(service)]);
    }
    stack.writes();
    refused(&stack, &[], &["[preflight.unlabelled]", &format!("network {network}"), "Compose", "nothing was changed"]);
}

#[test]
fn volume_recreated_without_its_labels() {
    let stack = Stack::with(13, &["--seed", "none"]);
    let volume = format!("{}_database", stack.name);
    stack.docker(&["rm", "--force", &stack.container("postgres")]);
    stack.docker(&["volume", "rm", &volume]);
    stack.docker(&["volume", "create", &volume]);
    stack.stack("deploy", &[]);
    stack.writes();
    refused(&stack, &[], &["[preflight.unlabelled]", &format!("volume {volume}"), "Compose", "nothing was changed"]);
}
