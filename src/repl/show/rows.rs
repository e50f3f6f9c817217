//! Rows as a table: an array of maps, or of handles of one kind.

use rhai::{Array, Dynamic, ImmutableString, Map};

use super::{LINES, View, blot, cards};
use crate::ui::style::Paint;
use crate::ui::table;
use crate::ui::wrap::wrap;

/// Characters of a cell that are shown, and lines of a text in one.
const CELL: usize = 200;
const CELL_LINES: usize = 5;
/// Columns that are shown.
const COLUMNS: usize = 60;
/// Characters of all cells together.
const CHARACTERS: usize = 100_000;
/// A column that is squeezed below this is not readable.
const SQUEEZED: usize = 10;
/// What names a row comes first; the keys of a map are known by the alphabet only.
const FIRST: [&str; 22] = [
    "n", "at", "name", "id", "step", "what", "place", "proof", "project", "service", "database", "schema", "table",
    "path", "script", "volume", "network", "host", "role", "user", "kind", "state",
];

/// Rows that are ready to be laid out.
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Whether columns may be left out, because a card shows them.
    is_of_handles: bool,
    pub what: &'static str,
    /// Shows all of them; see [`super::Rest`].
    pub statement: String,
}

/// Where a key stands among others.
pub fn rank(key: &str) -> usize {
    let named = || if key.ends_with("name") { FIRST.len() } else { FIRST.len() + 1 };
    FIRST.iter().position(|first| *first == key).unwrap_or_else(named)
}

/// `None` where the items are neither maps nor handles of one kind.
pub fn of(view: &View, items: &Array) -> Option<Table> {
    of_handles(view, items).or_else(|| of_maps(view, items))
}

fn of_handles(view: &View, items: &Array) -> Option<Table> {
    let first = cards::of(items.first()?)?;
    let has_column = |field: &&cards::Field| field.is_column;
    let names = first.fields.iter().filter(has_column).map(|field| field.name);
    let columns = std::iter::once(first.name.0).chain(names).map(str::to_owned).collect();
    let row = |card: cards::Card| {
        let cells = card.fields.iter().filter(has_column).map(|field| view.cell(&field.value));
        std::iter::once(view.plain(&card.name.1, CELL)).chain(cells).collect()
    };
    let cards = items.iter().take(LINES).map(|item| cards::of(item).filter(|card| card.kind == first.kind));
    let rows = cards.map(|card| card.map(row)).collect::<Option<_>>()?;
    let statement = format!("for each in VALUE {{ ui::say(each.{}) }}", first.name.0);
    Some(Table { columns, rows, is_of_handles: true, what: "rows", statement })
}

fn of_maps(view: &View, items: &Array) -> Option<Table> {
    let mut columns: Vec<String> = Vec::new();
    for item in items.iter().take(LINES) {
        let map = item.read_lock::<Map>()?;
        // Rows of a query have the same keys, and looking is cheap; others may add some.
        let room = COLUMNS.saturating_sub(columns.len());
        let new = map.keys().take(COLUMNS).filter(|key| !columns.iter().any(|column| column == key.as_str()));
        let new: Vec<_> = new.take(room).map(|key| key.to_string()).collect();
        columns.extend(new);
    }
    columns.sort_by_key(|key| rank(key));
    if columns.is_empty() {
        return None;
    }
    let (mut rows, mut room) = (Vec::new(), CHARACTERS);
    for item in items.iter().take(LINES) {
        let map = item.read_lock::<Map>()?;
        let cell =
            |column: &String| map.get(column.as_str()).map(|value| cell(view, column, value)).unwrap_or_default();
        let row: Vec<_> = columns.iter().map(cell).collect();
        room = room.saturating_sub(row.iter().map(String::len).sum());
        rows.push(row);
        if room == 0 {
            break;
        }
    }
    let columns = columns.iter().map(|column| view.plain(column, CELL)).collect();
    let statement = "for row in VALUE { ui::say(row) }".to_owned();
    Some(Table { columns, rows, is_of_handles: false, what: "rows", statement })
}

/// A value without quotes; `()` is an empty cell.
fn cell(view: &View, key: &str, value: &Dynamic) -> String {
    let text = value.read_lock::<ImmutableString>().filter(|_| !blot::is_secret(key));
    let Some(text) = text else {
        if value.is_unit() {
            return String::new();
        }
        let (line, is_cut) = view.line(key, value, CELL);
        return if is_cut { line + view.ellipsis() } else { line };
    };
    view.measured(key, value).unwrap_or_else(|| {
        let mut lines: Vec<_> = text.lines().take(CELL_LINES).map(|line| view.plain(line, CELL)).collect();
        if text.lines().nth(CELL_LINES).is_some() {
            lines.push(view.ellipsis().to_owned());
        }
        lines.join("\n")
    })
}

impl Table {
    /// Lines of at most `width` columns, about `room` of them, and how many rows they show. Where the columns would
    /// have to be squeezed too much, each row is a list of its values, as psql's expanded display has it.
    pub fn render(mut self, width: usize, view: &View, room: usize) -> (Vec<String>, usize) {
        let mut widths = self.widths();
        while self.is_of_handles && widths.len() > 3 && whole(&widths) > width {
            widths.pop();
        }
        self.columns.truncate(widths.len());
        self.rows.iter_mut().for_each(|row| row.truncate(widths.len()));
        let squeezed: Vec<_> = widths.iter().map(|column| (*column).min(SQUEEZED)).collect();
        if whole(&squeezed) > width && !self.is_of_handles {
            return self.records(width, view, room);
        }
        let mut shown = self.rows.len();
        loop {
            let text = table::render(&self.columns, &self.rows[..shown], Some(width), view.style.unicode);
            let lines: Vec<_> = text.lines().map(str::to_owned).collect();
            if lines.len() <= room + 2 || shown <= 1 {
                return (lines, shown);
            }
            // Cells that wrap make more lines than rows.
            shown = (shown * room / lines.len()).clamp(1, shown - 1);
        }
    }

    /// The widest line of each column.
    fn widths(&self) -> Vec<usize> {
        let widest = |text: &String| text.lines().map(|line| line.chars().count()).max().unwrap_or_default();
        let column = |index: usize| self.rows.iter().filter_map(move |row| row.get(index)).map(widest).max();
        let columns = self.columns.iter().enumerate();
        columns.map(|(index, name)| widest(name).max(column(index).unwrap_or_default())).collect()
    }

    fn records(&self, width: usize, view: &View, room: usize) -> (Vec<String>, usize) {
        let label = self.columns.iter().map(|column| column.chars().count()).max().unwrap_or_default().min(width / 2);
        let mut lines = Vec::new();
        let mut shown = 0;
        for (index, row) in self.rows.iter().enumerate() {
            if lines.len() >= room {
                break;
            }
            lines.push(view.style.paint(Paint::Dim, &format!("row {}", index + 1)));
            for (column, cell) in self.columns.iter().zip(row).filter(|(_, cell)| !cell.is_empty()) {
                let name = view.plain(column, label);
                let parts = wrap(cell, width.saturating_sub(label + 4).max(8));
                let named = |(part, text): (usize, &String)| {
                    format!("  {:<label$}  {text}", if part == 0 { name.as_str() } else { "" })
                };
                lines.extend(parts.iter().enumerate().map(named));
            }
            shown = index + 1;
        }
        (lines, shown)
    }
}

/// The width of a table: a space on both sides of each column, and one between two.
fn whole(widths: &[usize]) -> usize {
    (widths.iter().sum::<usize>() + 3 * widths.len()).saturating_sub(1)
}
