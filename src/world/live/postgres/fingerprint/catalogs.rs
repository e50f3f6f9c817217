//! The statements that read catalogs: `cluster.sql` and `database.sql`, a statement for each kind of object.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What can be said of an object's name and of a fact is in these files' heads.
const CLUSTER: &str = include_str!("cluster.sql");
const DATABASE: &str = include_str!("database.sql");
const ROWS: &str = include_str!("rows.sql");

/// Reads the objects of one kind.
pub struct Statement {
    pub kind: &'static str,
    /// Major version that has brought such objects.
    pub since: u32,
    /// A server takes a lock for each object that this reads, and keeps it: only so many are read in one transaction.
    pub is_batched: bool,
    sql: String,
}

pub fn of_cluster() -> &'static [Statement] {
    static STATEMENTS: LazyLock<Vec<Statement>> = LazyLock::new(|| statements(CLUSTER));
    &STATEMENTS
}

pub fn of_database() -> &'static [Statement] {
    static STATEMENTS: LazyLock<Vec<Statement>> = LazyLock::new(|| statements(DATABASE));
    &STATEMENTS
}

/// The text of one that reads rows; see the file's head.
pub fn of_rows(kind: &str) -> &'static str {
    static STATEMENTS: LazyLock<Vec<Statement>> = LazyLock::new(|| with_hash(statements(ROWS)));
    STATEMENTS.iter().find(|statement| statement.kind == kind).map_or("", |statement| &statement.sql)
}

/// Puts the statement `hash` where others stand for it.
fn with_hash(mut all: Vec<Statement>) -> Vec<Statement> {
    let hash = all.iter().find(|statement| statement.kind == "hash").map(|hash| hash.sql.clone()).unwrap_or_default();
    all.iter_mut().for_each(|statement| statement.sql = statement.sql.replace("@hash", &hash));
    all
}

impl Statement {
    /// As psql gets it: a JSON array a line, of kind, name and facts. `share`: which part of how many.
    pub fn sql(&self, share: usize, shares: usize) -> String {
        let sql = self.sql.replace("@share", &share.to_string()).replace("@of", &shares.to_string());
        format!(
            "SELECT jsonb_build_array('{}', name, jsonb_strip_nulls(facts::jsonb))
             FROM (\n{sql}\n) AS q (name, facts);\n",
            self.kind
        )
    }
}

/// Statements begin with a line `-- @kind NAME`, to which `since MAJOR` or `in batches` may be added in parentheses.
fn statements(text: &'static str) -> Vec<Statement> {
    let parts = text.split("-- @kind ").skip(1);
    parts
        .map(|part| {
            let (head, sql) = part.split_once('\n').unwrap_or((part, ""));
            let (kind, more) = head.split_once(" (").unwrap_or((head, ""));
            let since = more.strip_prefix("since ").and_then(|text| text.trim_end_matches(')').parse().ok());
            let lines: Vec<_> = sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
            let sql = expanded(lines.join("\n").trim());
            Statement { kind, since: since.unwrap_or(0), is_batched: more == "in batches)", sql }
        })
        .collect()
}

/// See the head of `rows.sql`.
const TABLES: &str = "(
    SELECT c.oid, c.relname, c.relpersistence, n.nspname,
           rn.nspname AS root_schema, r.relname AS root, r.oid AS root_oid, e.condition
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_class r ON r.oid = (
            WITH RECURSIVE up AS (
                SELECT c.oid AS it, c.relispartition AS is_part
                UNION ALL SELECT p.oid, p.relispartition
                FROM up JOIN pg_inherits ON inhrelid = it AND is_part JOIN pg_class p ON p.oid = inhparent)
            SELECT it FROM up WHERE NOT is_part)
        JOIN pg_namespace rn ON rn.oid = r.relnamespace
        LEFT JOIN LATERAL (
            SELECT x.oid, c.oid = ANY (extconfig) AS is_dumped,
                   extcondition[array_position(extconfig, c.oid)] AS condition
            FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') AS e ON true
    WHERE c.relkind = 'r' AND c.oid >= 16384 AND n.nspname !~ '^pg_(toast|temp)'
        AND (e.oid IS NULL OR e.is_dumped)) AS c";

/// The macros that the files' heads explain.
fn expanded(sql: &str) -> String {
    static MACRO: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"@(proc|secret|options|own|name)\(([^()]*)\)|@tables").ok());
    let secret = |text: &str| format!("'{{secret ' || left(encode(sha256(textsend({text})), 'hex'), 4) || '}}'");
    let plain = |part: &str| {
        format!(
            "CASE WHEN {part} ~ '^[a-z_][a-z0-9_]*$' THEN {part}::text \
             ELSE '\"' || replace({part}::text, '\"', '\"\"') || '\"' END"
        )
    };
    let expand = |found: &Captures<'_>| {
        let (word, given) =
            (found.get(1).map_or("tables", |word| word.as_str()), found.get(2).map_or("", |g| g.as_str()));
        match word {
            "tables" => TABLES.to_owned(),
            "name" => {
                let (schema, name) = given.split_once(", ").unwrap_or((given, given));
                format!("({} || '.' || {})", plain(schema), plain(name))
            }
            "proc" => format!(
                "(SELECT CASE pn.nspname WHEN 'pg_catalog' THEN proname ELSE pn.nspname || '.' || proname END
                  FROM pg_proc pp JOIN pg_namespace pn ON pn.oid = pronamespace WHERE pp.oid = {given})"
            ),
            "secret" => format!("({})", secret(given)),
            "options" => format!(
                "(SELECT json_agg(CASE WHEN split_part(o, '=', 1) ~* 'pass|secret|token|key'
                      THEN split_part(o, '=', 1) || '=' || {} ELSE o END ORDER BY o) FROM unnest({given}) AS o)",
                secret("o")
            ),
            _ => {
                let (catalog, oid) = given.split_once(", ").unwrap_or((given, "NULL"));
                format!(
                    "({oid} >= 16384 AND NOT EXISTS (SELECT FROM pg_depend e
                      WHERE e.classid = '{catalog}'::regclass AND e.objid = {oid} AND e.deptype = 'e'))"
                )
            }
        }
    };
    match &*MACRO {
        Some(regex) => regex.replace_all(sql, expand).into_owned(),
        None => sql.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_is_found_and_nothing_of_a_macro_is_left() {
        let all: Vec<&Statement> = of_cluster().iter().chain(of_database()).collect();
        assert!(all.len() > 40, "{}", all.len());
        for statement in &all {
            let sql = statement.sql(0, 1);
            assert!(!sql.contains('@') || sql.contains("@+@"), "{}: {sql}", statement.kind);
            assert_eq!(all.iter().filter(|other| other.kind == statement.kind).count(), 1, "{}", statement.kind);
        }
        let batched: Vec<_> = all.iter().filter(|statement| statement.is_batched).map(|s| s.kind).collect();
        assert_eq!(batched, ["view", "rule"]);
        assert_eq!(all.iter().filter(|statement| statement.since == 15).count(), 1);
    }
}
