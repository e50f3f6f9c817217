//! Tables for people.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use super::style::clean;

/// Rows below their columns, without a line's end at the end. Cells wrap so that nothing is wider than `width`;
/// columns of numbers are aligned at their right.
pub fn render(columns: &[String], rows: &[Vec<String>], width: Option<usize>, unicode: bool) -> String {
    let mut table = Table::new();
    // One rule below the columns' names: a long table stays short.
    let rule = if unicode { '─' } else { '-' };
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill(rule).junction(rule)));
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    }
    table.set_header(columns.iter().map(|c| clean(c)));
    for row in rows {
        table.add_row(row.iter().map(|cell| cell.lines().map(clean).collect::<Vec<_>>().join("\n")));
    }
    for index in 0..columns.len() {
        let mut cells = rows.iter().filter_map(|r| r.get(index)).filter(|c| !c.is_empty()).peekable();
        let numbers = cells.peek().is_some() && cells.all(|c| is_number(c));
        if let Some(column) = table.column_mut(index).filter(|_| numbers) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// A number, with a unit perhaps: `12`, `-3.5`, `1.2 GB`, `5 s`.
fn is_number(cell: &str) -> bool {
    let first = cell.split(' ').next().unwrap_or(cell);
    let unit = cell.split(' ').nth(1).unwrap_or_default();
    first.replace(',', "").parse::<f64>().is_ok() && cell.split(' ').count() <= 2 && unit.len() <= 3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|c| (*c).to_owned()).collect()
    }

    #[test]
    fn numbers_are_aligned_at_the_right() {
        let rows = [strings(&["cases", "1200", "1.2 GB"]), strings(&["users", "7", "12 kB"])];
        insta::assert_snapshot!(render(&strings(&["table", "rows", "size"]), &rows, Some(60), true), @r"
         table   rows     size
        ───────────────────────
         cases   1200   1.2 GB
         users      7    12 kB
        ");
    }

    #[test]
    fn nothing_is_wider_than_asked_and_ascii_stays_ascii() {
        let rows = [strings(&["a", &"word ".repeat(30)])];
        let text = render(&strings(&["name", "text"]), &rows, Some(40), false);
        assert!(text.is_ascii() && text.lines().all(|l| l.len() <= 40), "{text}");
    }
}
