//! What the comparison of old and new server finds, what it knows to be no difference, and what is named because
//! nothing brings it along.

use super::before::Before;
use crate::stack::{Run, Stack, run};

/// A stack with something of the site's in its database.
fn stack_with(from: u32, sql: &str) -> Stack {
    let stack = Stack::with(from, &["--seed", "none"]);
    stack.deploy_by_command();
    stack.sql("primero_production", sql);
    stack
}

#[track_caller]
fn is_upgraded(stack: &Stack, to: u32, strategy: &str) -> Run {
    let done = stack.upgrade(to, &["--set", strategy]).expect(0, &["is done", "catalogs and all rows"]);
    assert_eq!(stack.major(), to.to_string(), "{strategy}");
    stack.writes();
    done
}

/// What no dump and no pg_upgrade brings along.
const SILENT: &str = "
    CREATE TABLE information_schema.site_codes (id int PRIMARY KEY);
    INSERT INTO information_schema.site_codes VALUES (1), (2);
    CREATE FUNCTION pg_catalog.my_helper(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1';
    CREATE TABLE t (id int PRIMARY KEY, v text);
    INSERT INTO t SELECT i, 'v' || i % 5 FROM generate_series(1, 100) i;
    CREATE INDEX t_v ON t (v); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.t_v'::regclass;
    SELECT pg_replication_origin_create('site_origin');
    CREATE ROLE ext_owner SUPERUSER; SET ROLE ext_owner; CREATE EXTENSION hstore; RESET ROLE;
    ALTER ROLE ext_owner NOSUPERUSER;
    ALTER ROLE ALL SET statement_timeout = '30s'; ALTER ROLE ALL SET search_path = public, pg_catalog;";

/// Names that only the new version quotes, and rows that are computed at a time of their own.
const NO_DIFFERENCE: &str = "
    CREATE TABLE system_user (json int); INSERT INTO system_user VALUES (1); CREATE TABLE json (id int);
    CREATE SEQUENCE json_value; CREATE TABLE json_table (id int, k varchar(9) CHECK (k IN ('a', 'b')));
    CREATE TABLE orders (id int, amount int); INSERT INTO orders SELECT i, i FROM generate_series(1, 100) i;
    CREATE MATERIALIZED VIEW nightly AS SELECT * FROM orders;
    CREATE MATERIALIZED VIEW total AS SELECT sum(amount) FROM orders;
    INSERT INTO orders VALUES (101, 101); UPDATE orders SET amount = amount * 2;
    ALTER SYSTEM SET quote_all_identifiers = on; SELECT pg_reload_conf();";

/// What the new image's first start makes: a role as it once was, which then is as it is; and what nobody had, which is
/// said.
const MADE_BY_IMAGE: &str = "
    CREATE ROLE reporting LOGIN CREATEDB PASSWORD 'once' CONNECTION LIMIT 3 VALID UNTIL '2031-01-01';
    ALTER ROLE reporting SET search_path = x; ALTER ROLE reporting IN DATABASE postgres SET work_mem = '5MB';
    GRANT pg_monitor TO reporting; COMMENT ON ROLE reporting IS 'as it once was';
    ALTER ROLE ALL SET work_mem = '6MB'; ALTER DATABASE postgres SET work_mem = '7MB';
    CREATE ROLE of_the_image; GRANT reporting TO of_the_image; CREATE DATABASE of_the_image;";
const REPORTING: &str = "
    SELECT a.*, s.setconfig, m.roleid, shobj_description(a.oid, 'pg_authid') FROM pg_authid a
    LEFT JOIN pg_db_role_setting s ON s.setrole = a.oid LEFT JOIN pg_auth_members m ON m.member = a.oid
    WHERE rolname = 'reporting'";

/// All of that in the cluster of a stack.
pub struct Awkward {
    /// As the role of that name is before.
    role: String,
}

impl Awkward {
    /// What the image is to make stands in `initdb.d` afterwards, for the deployment to mount.
    pub fn in_cluster_of(stack: &Stack) -> Self {
        stack.sql("primero_production", SILENT);
        stack.sql("primero_production", NO_DIFFERENCE);
        stack.sql("postgres", "CREATE ROLE reporting LOGIN");
        std::fs::create_dir(stack.dir.join("initdb.d")).unwrap();
        std::fs::write(stack.dir.join("initdb.d/90-roles.sql"), MADE_BY_IMAGE).unwrap();
        Self { role: role_of(stack) }
    }

    /// What does not come along is named, before the outage and at the end; so is what the image has made.
    #[track_caller]
    pub fn is_told_and_kept(&self, stack: &Stack, said: &str) {
        let (before, end) = said.split_once("open work:").unwrap();
        let (_, before) = before.split_once("what neither a dump nor pg_upgrade brings along").unwrap();
        for word in ["site_codes", "my_helper", "t_v", "site_origin", "ext_owner"] {
            assert!(before.contains(word) && end.contains(word), "{word} is not named, before and at the end:\n{said}");
        }
        assert_eq!(role_of(stack), self.role);
        for made in ["role of_the_image", "membership of of_the_image", "database of_the_image"] {
            let made = format!("made by the new image: {made}");
            assert!(said.contains(&made), "{made}:\n{said}");
        }
        let kept = "SELECT setconfig FROM pg_db_role_setting";
        assert_eq!(stack.sql("postgres", kept), "{statement_timeout=30s,\"search_path=public, pg_catalog\"}");
    }
}

fn role_of(stack: &Stack) -> String {
    stack.sql("postgres", REPORTING).split_once('|').unwrap().1.to_owned()
}

/// A restore computes what is stored, by a function that was replaced since. A copy has what is stored.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn generated_recomputed() {
    let stack = stack_with(
        15,
        "CREATE FUNCTION fee(a numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT a * 0.10';
         CREATE TABLE orders (id int PRIMARY KEY, a numeric, f numeric GENERATED ALWAYS AS (fee(a)) STORED);
         INSERT INTO orders (id, a) SELECT i, i FROM generate_series(1, 100) i;
         CREATE OR REPLACE FUNCTION fee(a numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT a * 0.19';",
    );
    stack.inventory_version(17);
    let before = Before::containers_of(&stack);
    run(&mut stack.upgrade_command(17, &["--set", "strategy=dump"]))
        .expect(1, &["content of public.orders: not the same (100 rows before and after)", "everything is back"]);
    before.is_back(&stack);
    is_upgraded(&stack, 17, "strategy=pg_upgrade");
    assert_eq!(stack.sql("primero_production", "SELECT sum(f) = sum(a) * 0.10 FROM orders"), "t");
}

/// More relations than a server locks in one transaction, with default settings.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn many_tables() {
    let stack = stack_with(
        15,
        "DO $$ BEGIN FOR i IN 1..5000 LOOP
             EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, v text UNIQUE)', i);
             IF i % 500 = 0 THEN COMMIT; END IF; END LOOP; END $$",
    );
    stack.inventory_version(17);
    is_upgraded(&stack, 17, "strategy=dump");
    stack.rollback().expect(0, &["is rolled back"]);
    is_upgraded(&stack, 17, "strategy=pg_upgrade");
}

/// Nothing was there to be compared, which is known before.
#[test]
fn empty_cluster() {
    let stack = stack_with(15, "SELECT 1");
    stack.docker(&["stop", &stack.container("application"), &stack.container("worker")]);
    stack.sql("primero_production", "DROP TABLE heartbeat");
    let before = Before::containers_of(&stack);
    run(&mut stack.upgrade_command(17, &["--set", "deploy=manual"])).expect(3, &["has a table"]);
    before.is_untouched(&stack);
}
