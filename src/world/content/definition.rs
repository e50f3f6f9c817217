//! SQL text in a catalog, which a server writes anew from what it has parsed: each version in its own way.
//!
//! A restore goes by that text as well: the old server writes it, the new one reads it. So two texts mean the same when
//! the newer server, which has read one of them already, writes the other one alike once it has read it.

use serde_json::Value;

use super::objects::{Facts, Name};
use crate::world::error::Result;

/// What a server is given to read, so that it writes it in its own way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Definition {
    /// An expression, or several between commas, on the columns of a table (schema and name), if on any.
    Expression { sql: String, of: Option<[String; 2]> },
    /// The condition of a trigger: on the old and the new row of a table.
    Condition { sql: String, of: [String; 2] },
    /// A view's query.
    Query(String),
    /// A rule: schema, table, name, and the statement that makes it.
    Rule { of: [String; 2], name: String, sql: String },
    /// The statement that makes a function with a body of parsed SQL; `name` is a `regprocedure`.
    Function { name: String, sql: String },
    /// A CHECK on values of a type.
    Domain { of: String, sql: String },
    /// How a table is partitioned, on its columns.
    PartitionKey { of: [String; 2], sql: String },
}

/// Whoever can have definitions read and written.
pub trait Reader {
    /// How the server writes each of them; `None` for one that it can't read.
    fn written(&self, database: &str, definitions: &[Definition]) -> Result<Vec<Option<String>>>;
}

/// The definition that a fact is; several where it is a list of them. `None` where the fact is none.
pub fn of_fact(kind: &str, name: &Name, facts: &Facts, fact: &str) -> Option<Vec<Definition>> {
    let sql = facts.get(fact)?;
    let of = || Some([name.first()?.clone(), name.get(1)?.clone()]);
    let expression = |of| Some(vec![Definition::Expression { sql: sql.as_str()?.to_owned(), of }]);
    match (kind, fact) {
        ("column", "default") | ("function", "defaults") | ("type", "default") => expression(None),
        ("column", "generated") | ("constraint", "check") | ("policy", "using" | "with check") => {
            expression(Some(of()?))
        }
        ("index", "predicate") => expression(Some(table_of(name, facts)?)),
        ("index", "columns") => {
            let of = table_of(name, facts)?;
            let one =
                |item: &Value| Some(Definition::Expression { sql: item.as_str()?.to_owned(), of: Some(of.clone()) });
            sql.as_array()?.iter().map(one).collect()
        }
        ("statistics object", "expressions") => {
            let table = facts.get("table")?.as_array()?;
            expression(Some([table.first()?.as_str()?.to_owned(), table.get(1)?.as_str()?.to_owned()]))
        }
        ("table of publication", "filter") => expression(Some([name.get(1)?.clone(), name.get(2)?.clone()])),
        ("table", "partition key") => Some(vec![Definition::PartitionKey { of: of()?, sql: sql.as_str()?.to_owned() }]),
        ("view", "definition") => Some(vec![Definition::Query(sql.as_str()?.trim_end_matches(';').to_owned())]),
        ("rule", "definition") => {
            let (name, sql) = (name.get(2)?.clone(), sql.as_str()?.to_owned());
            Some(vec![Definition::Rule { of: of()?, name, sql }])
        }
        ("trigger", "definition") => {
            let sql = parts_of_trigger(sql.as_str()?)?.1.to_owned();
            Some(vec![Definition::Condition { sql, of: of()? }])
        }
        ("domain constraint", "definition") => {
            let of = facts.get("of")?.as_str()?.to_owned();
            Some(vec![Definition::Domain { of, sql: sql.as_str()?.to_owned() }])
        }
        ("function", "statements") => {
            let name = format!("{}.{}({})", quoted(name.first()?), quoted(name.get(1)?), name.get(2)?);
            Some(vec![Definition::Function { name, sql: sql.as_str()?.to_owned() }])
        }
        _ => None,
    }
}

/// What of a fact stays outside of its definitions, and must be equal as it is.
pub fn rest_of_fact(kind: &str, fact: &str, value: &Value) -> Option<String> {
    match (kind, fact) {
        ("trigger", "definition") => {
            let (before, _, after) = parts_of_trigger(value.as_str()?)?;
            Some(format!("{before} … {after}"))
        }
        _ => None,
    }
}

fn table_of(index: &Name, facts: &Facts) -> Option<[String; 2]> {
    Some([index.first()?.clone(), facts.get("table")?.as_str()?.to_owned()])
}

/// What stands before a trigger's condition, the condition, and what stands after it.
fn parts_of_trigger(sql: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = sql.split_once(" WHEN (")?;
    // Arguments come after the function's name, and may hold anything.
    let end = [") EXECUTE FUNCTION ", ") EXECUTE PROCEDURE "].iter().filter_map(|words| rest.find(words)).min()?;
    Some((before, &rest[..end], &rest[end + 1..]))
}

/// A name as SQL quotes it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_of_a_trigger_is_told_from_its_arguments() {
        let sql = "CREATE TRIGGER t BEFORE UPDATE ON public.x FOR EACH ROW WHEN ((old.a > 1)) \
                   EXECUTE FUNCTION public.f(' WHEN (', ') EXECUTE FUNCTION ')";
        let (before, condition, after) = parts_of_trigger(sql).unwrap();
        assert_eq!((before, condition), ("CREATE TRIGGER t BEFORE UPDATE ON public.x FOR EACH ROW", "(old.a > 1)"));
        assert_eq!(after, " EXECUTE FUNCTION public.f(' WHEN (', ') EXECUTE FUNCTION ')");
        assert_eq!(parts_of_trigger("CREATE TRIGGER t AFTER INSERT ON x EXECUTE FUNCTION f()"), None);
    }
}
