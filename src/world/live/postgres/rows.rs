//! The answers of psql: rows of a query as JSON objects, command tags of statements.

use std::fmt;
use std::io::{self, Write};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::client::Client;
use super::psql::{Psql, text_of};
use crate::world::error::{Error, Result};
use crate::world::postgres::Binding;
use crate::world::session::Purpose;

/// What a query or the output of `execute` may take in memory.
const LIMIT: usize = 256 << 20;

/// Rows of one SELECT. The transaction is read-only: a query never changes anything.
pub fn query(client: &Client<'_>, database: &str, sql: &str, bindings: &[Binding]) -> Result<Vec<Map<String, Value>>> {
    let select = as_json(sql);
    if let Some(answer) = client.clients.standing.ask(client, database, &select, bindings) {
        return parse_rows(&text_of(&answer));
    }
    let mut answer = Collected::default();
    session(client, database)
        .bind(bindings)?
        .run(&mut format!("{select};\n").as_bytes(), &mut answer)
        .map_err(explain)?;
    parse_rows(&text_of(&answer.0))
}

pub fn session<'a>(client: &'a Client<'a>, database: &'a str) -> Psql<'a> {
    Psql::new(client, database).any_text().wrapped(1).purpose(Purpose::Reading)
}

/// A query of which each row is a line, a JSON object. The line break ends a comment at the end of the caller's text.
fn as_json(sql: &str) -> String {
    let sql = sql.trim().trim_end_matches([';', ' ', '\n', '\t', '\r']);
    format!("SELECT pg_catalog.row_to_json(pgscript_row) FROM (\n{sql}\n) pgscript_row")
}

fn explain(error: Error) -> Error {
    let hint = match &error.message {
        message if message.contains("25006") => "a query only reads; use psql::execute in a step to change something",
        message if message.contains("42601") => {
            "a query is one SELECT, VALUES, TABLE or WITH … SELECT; instead of SHOW x, SELECT current_setting('x')"
        }
        _ => return error,
    };
    if error.hint.is_none() { error.hint(hint) } else { error }
}

fn parse_rows(answer: &str) -> Result<Vec<Map<String, Value>>> {
    let rows = serde_json::Deserializer::from_str(answer).into_iter::<Row>();
    rows.map(|row| row.map(|row| row.0)).collect::<std::result::Result<_, _>>().map_err(|e| {
        Error::failed("psql.failed", format!("the rows cannot be read: {e}")).hint("give each column a name of its own")
    })
}

/// A JSON object in which no name comes twice: `SELECT 1, 2` has two columns `?column?`, and one would be lost.
struct Row(Map<String, Value>);

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Columns;
        impl<'de> Visitor<'de> for Columns {
            type Value = Row;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a row")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> std::result::Result<Row, A::Error> {
                let mut row = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if row.contains_key(&name) {
                        return Err(serde::de::Error::custom(format!("two columns are called {name:?}")));
                    }
                    row.insert(name, value);
                }
                Ok(Row(row))
            }
        }
        deserializer.deserialize_map(Columns)
    }
}

/// Statements one after another; the command tags as psql prints them. Rows of a SELECT are dropped, and give no tag.
pub fn execute(client: &Client<'_>, database: &str, sql: &str, bindings: &[Binding]) -> Result<Vec<String>> {
    let marks = Marks::new()?;
    let mut output = Collected::default();
    Psql::new(client, database)
        .any_text()
        .bind(bindings)?
        .preamble("\\pset tuples_only off")
        .preamble(&format!("\\pset recordsep '{}'", marks.record))
        .preamble(&format!("\\pset title '{}'", marks.title))
        .preamble("\\set QUIET off")
        .run(&mut sql.as_bytes(), &mut output)?;
    Ok(marks.tags(&String::from_utf8_lossy(&output.0)))
}

/// Random words that tell tables from tags in psql's output: a table is its title, then records, the last one the
/// footer `(3 rows)`; a value cannot look like them.
struct Marks {
    title: String,
    record: String,
}

impl Marks {
    fn new() -> Result<Self> {
        let mut random = [0_u8; 12];
        getrandom::fill(&mut random).map_err(|e| Error::failed("host.io", format!("no random numbers: {e}")))?;
        let word: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { title: format!("<title {word}>"), record: format!("<record {word}>") })
    }

    fn tags(&self, output: &str) -> Vec<String> {
        let mut tags = Vec::new();
        let pieces: Vec<&str> = output.split(&self.record).collect();
        for (index, piece) in pieces.iter().enumerate() {
            let begins_table = piece.ends_with(&self.title);
            if index > 0 && index + 1 < pieces.len() && !begins_table {
                continue;
            }
            let piece = piece.strip_suffix(self.title.as_str()).unwrap_or(piece);
            let footer = usize::from(index > 0);
            tags.extend(piece.lines().skip(footer).filter(|line| !line.is_empty()).map(str::to_owned));
        }
        tags
    }
}

/// Output in memory, up to [`LIMIT`].
#[derive(Default)]
pub struct Collected(pub Vec<u8>);

impl Write for Collected {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.0.len() + buf.len() > LIMIT {
            return Err(io::Error::other("the answer has more than 256 MiB; narrow it, or use psql::script"));
        }
        self.0.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_the_order_of_their_columns() {
        let rows = parse_rows("{\"z\":1,\"a\":\"x\\ny\",\"m\":null}\n{\"z\":2,\"a\":\"\",\"m\":[1]}\n").unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].keys().collect::<Vec<_>>(), ["z", "a", "m"]);
    }

    #[test]
    fn two_columns_of_one_name_are_refused() {
        let error = parse_rows("{\"?column?\":1,\"?column?\":2}").unwrap_err();
        assert!(error.message.contains("?column?"), "{error}");
    }

    #[test]
    fn tags_are_told_from_rows_that_look_like_tags() {
        let marks = Marks { title: "<T>".into(), record: "<R>".into() };
        assert_eq!(marks.tags("CREATE TABLE\nINSERT 0 2\n"), ["CREATE TABLE", "INSERT 0 2"]);
        let table = "SET\n<T><R>a<R>UPDATE 3\nDELETE 4\n<R>(1 row)(2 rows)\nUPDATE 5\n";
        assert_eq!(marks.tags(table), ["SET", "UPDATE 5"]);
        let two = "<T><R>a<R>1<R>(1 row)\n<T><R>b<R>(0 rows)\nDROP TABLE\n";
        assert_eq!(marks.tags(two), ["DROP TABLE"]);
        assert!(marks.tags("").is_empty());
    }
}
