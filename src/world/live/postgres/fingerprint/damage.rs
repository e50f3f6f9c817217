//! Which rows can't be read, where reading all of them has failed.

use std::io::Cursor;

use super::catalogs;
use super::tables::Round;
use crate::world::error::{Error, Result};
use crate::world::live::postgres::psql::Verdict;
use crate::world::live::postgres::quoted;

/// Classes of SQLSTATE that tell of data: program limits, data exceptions, errors of the disk, what is corrupted.
const OF_DATA: [&str; 4] = ["54", "22", "58", "XX"];

/// An error as it is, or one that names the tables and rows that are in the way, where the data is why reading a
/// database has failed. All of it is read once more for that, each table by itself.
pub fn named(round: &Round<'_>, database: &str, error: Error) -> Error {
    if !OF_DATA.iter().any(|class| error.message.contains(&format!("(SQLSTATE {class}"))) {
        return error;
    }
    match look(round, database) {
        Ok(damaged) if !damaged.is_empty() => told(database, &damaged),
        _ => error,
    }
}

/// A table, why it can't be read, how many of its rows that is, and where the first of them are.
type Damaged = (String, String, u64, Vec<String>);

fn look(round: &Round<'_>, database: &str) -> Result<Vec<Damaged>> {
    let mut output = Vec::new();
    let mut input = Cursor::new(catalogs::of_rows("damage"));
    // A table that has gone meanwhile has no damage.
    round.session(database).tolerant().judged(&mut input, &mut output, &mut |_| Verdict::GoOn)?;
    let text = String::from_utf8_lossy(&output);
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn told(database: &str, damaged: &[Damaged]) -> Error {
    let mut message = format!("database {database:?} has rows that can't be read:");
    let mut cure = String::from(
        "take them from a backup, or give them up with what refers to them; what is left of a row can be looked at",
    );
    for (table, reason, amount, places) in damaged {
        let rows = match places.join(", ") {
            first if first.is_empty() => first,
            first if *amount > places.len() as u64 => format!("{amount} rows, the first at ctid {first}: "),
            all => format!("rows at ctid {all}: "),
        };
        message += &format!("\n  {table}: {rows}{}", quoted::text(reason));
        if let Some(place) = places.first() {
            cure += &format!("\n  SELECT the columns that can be read FROM {table} WHERE ctid = '{place}';");
        }
    }
    Error::failed("postgres.damaged", message).hint(cure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_named_with_their_rows_or_the_page() {
        let damaged = [
            ("public.scanned_doc".into(), "missing chunk number 0".into(), 1, vec!["(0,1)".into()]),
            ("public.many".into(), "corrupt".into(), 9, vec!["(0,1)".into(), "(0,2)".into()]),
            ("public.holed".into(), "invalid page in block 10".into(), 0, vec![]),
        ];
        let error = told("primero_production", &damaged);
        let lines: Vec<_> = error.message.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "  public.scanned_doc: rows at ctid (0,1): missing chunk number 0",
                "  public.many: 9 rows, the first at ctid (0,1), (0,2): corrupt",
                "  public.holed: invalid page in block 10",
            ]
        );
        let cure = error.hint.unwrap();
        assert!(cure.contains("FROM public.scanned_doc WHERE ctid = '(0,1)'"), "{cure}");
    }
}
