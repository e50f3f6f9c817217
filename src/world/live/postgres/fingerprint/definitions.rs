//! Has a server read SQL text as a restore would, and write it as that server writes it. Nothing of it stays, and
//! nothing of it is run: views are made and functions replaced in a transaction that is rolled back.

use serde_json::{Value, json};

use super::unreadable;
use crate::world::content::{Definition, quoted};
use crate::world::error::Result;
use crate::world::live::postgres::Clients;
use crate::world::live::postgres::client::Client;
use crate::world::live::postgres::messages::Message;
use crate::world::live::postgres::psql::{Psql, Verdict, text_of};
use crate::world::live::postgres::rows::Collected;
use crate::world::postgres::{Binding, Server};
use crate::world::session::Purpose;

/// A server can lock only so many relations in one transaction.
const AT_ONCE: usize = 500;

/// How the server writes each definition; `None` for one that it can't read.
pub fn written(
    clients: &Clients,
    server: &Server,
    database: &str,
    definitions: &[Definition],
) -> Result<Vec<Option<String>>> {
    let client = Client::inside(clients, server);
    let some = definitions.chunks(AT_ONCE).map(|some| written_at_once(&client, database, some));
    Ok(some.collect::<Result<Vec<_>>>()?.concat())
}

/// Each statement is the server's own text, which psql must not look into: it comes as a value, and is run by `\gexec`.
/// What the server can't read is an error, after which the transaction goes on.
const SCRIPT: &str = "\
BEGIN;
\\set ON_ERROR_ROLLBACK on
SELECT statement FROM jsonb_to_recordset(:'definitions') AS d (number int, make text, read text)
    CROSS JOIN LATERAL (VALUES (1, make), (2, format(
        'SELECT jsonb_build_array(%s, (%s))', number, read))) AS s (step, statement)
ORDER BY number, step \\gexec
ROLLBACK;
";

fn written_at_once(client: &Client<'_>, database: &str, definitions: &[Definition]) -> Result<Vec<Option<String>>> {
    let all: Vec<Value> =
        definitions.iter().enumerate().map(|(number, definition)| steps(number, definition)).collect();
    let binding = Binding { name: "definitions".into(), value: Value::from(all).to_string() };
    let mut answer = Collected::default();
    let psql = Psql::new(client, database).any_text().bind(&[binding])?.tolerant().purpose(Purpose::Trying);
    // What can't be read shows by its absence.
    psql.judged(&mut SCRIPT.as_bytes(), &mut answer, &mut |_: Message| Verdict::GoOn)?;
    let mut written = vec![None; definitions.len()];
    for line in text_of(&answer.0).lines() {
        let (number, text): (usize, Option<String>) =
            serde_json::from_str(line).map_err(|e| unreadable(client, database, &e.to_string()))?;
        if let Some(place) = written.get_mut(number) {
            *place = text;
        }
    }
    Ok(written)
}

/// The statement that has it read, and the query that gives it as it is written.
fn steps(number: usize, definition: &Definition) -> Value {
    let name = format!("pgscript_{number}");
    let view = |query: String| (format!("CREATE TEMP VIEW {name} AS {query}"), read_view(&name));
    let (make, read) = match definition {
        Definition::Expression { sql, of: None } => view(format!("SELECT ROW({sql}) IS NULL")),
        Definition::Expression { sql, of: Some(of) } => {
            view(format!("SELECT ROW({sql}) IS NULL FROM ONLY {}", dotted(of)))
        }
        Definition::Condition { sql, of } => {
            let table = dotted(of);
            view(format!("SELECT ROW({sql}) IS NULL FROM ONLY {table} AS old, ONLY {table} AS new"))
        }
        Definition::Query(query) => view(query.clone()),
        Definition::Rule { of, name, sql } => {
            let read = format!(
                "SELECT pg_get_ruledef(oid) FROM pg_rewrite WHERE ev_class = {}::regclass AND rulename = {}",
                literal(&dotted(of)),
                literal(name)
            );
            (sql.replacen("CREATE RULE", "CREATE OR REPLACE RULE", 1), read)
        }
        Definition::Function { name, sql } => {
            (sql.clone(), format!("SELECT pg_get_functiondef({}::regprocedure)", literal(name)))
        }
        Definition::Domain { of, sql } => {
            let read = format!(
                "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contypid = 'pg_temp.{name}'::regtype"
            );
            (format!("CREATE DOMAIN pg_temp.{name} AS {of} {sql}"), read)
        }
        Definition::PartitionKey { of, sql } => {
            let read = format!("SELECT pg_get_partkeydef('pg_temp.{name}'::regclass)");
            (format!("CREATE TEMP TABLE {name} (LIKE {}) PARTITION BY {sql}", dotted(of)), read)
        }
    };
    json!({"number": number, "make": make, "read": read})
}

fn read_view(name: &str) -> String {
    format!("SELECT pg_get_viewdef('pg_temp.{name}'::regclass)")
}

fn dotted(of: &[String; 2]) -> String {
    format!("{}.{}", quoted(&of[0]), quoted(&of[1]))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
