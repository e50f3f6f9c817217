//! A value as an operator wants to see it: rows as a table, a handle as a card, sizes in units, times as ages.
//!
//! A value is looked at only as far as it is shown, so that four million rows cost what two hundred do. Passwords are
//! never shown: of an environment only the names, and in texts what looks like one, or what the redactor knows, gives
//! way to dots.

mod blot;
mod cards;
mod line;
mod rows;

use jiff::Timestamp;
use rhai::{Array, Dynamic, ImmutableString, Map};

use self::cards::{Card, Value};
use self::line::head;
use crate::ui::human;
use crate::ui::style::{Paint, Style};
use crate::ui::wrap::wrap;
use crate::world::Redactor;

/// Lines of a value that are shown, and rows of a table.
const LINES: usize = 200;
/// Characters of a text that are shown.
const CHARACTERS: usize = 20_000;
/// Characters of a text inside another value.
const INNER: usize = 1000;
/// How deep values in values are followed; a closure may hold itself.
const DEPTH: usize = 8;
/// Narrower than this nothing could be laid out.
const NARROWEST: usize = 20;

/// The value's text, without a line's end at the end; empty for `()`. At most [`LINES`] lines and [`CHARACTERS`]
/// characters of it, give or take a line; the last line then says how much more there is, and what shows it.
pub fn show(value: &Dynamic, style: Style, now: Timestamp, redactor: &Redactor) -> String {
    let style = Style { width: style.width.max(NARROWEST), ..style };
    let view = View { style, now, redactor: redactor.clone() };
    let Some(value) = value.read_lock::<Dynamic>() else { return view.line("", value, CHARACTERS).0 };
    if value.is_unit() {
        return String::new();
    }
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return view.text(&text);
    }
    let mut page = Page::default();
    let rest = view.block(&mut page, "", &value, 0, 0);
    if let Some(rest) = rest.or_else(|| page.is_cut.then(Rest::of_parts)) {
        page.lines.extend(view.rest(&rest));
    }
    page.lines.join("\n")
}

/// How values are shown.
struct View {
    style: Style,
    now: Timestamp,
    /// Asked before a text is laid out: a secret that goes on in the next line would not be found any more.
    redactor: Redactor,
}

/// Lines, as long as there is room.
#[derive(Default)]
struct Page {
    lines: Vec<String>,
    /// Whether anything was left out.
    is_cut: bool,
}

impl Page {
    fn is_full(&self) -> bool {
        self.lines.len() >= LINES
    }

    fn push(&mut self, line: String) {
        match self.is_full() {
            true => self.is_cut = true,
            false => self.lines.push(line),
        }
    }
}

/// What is not shown.
struct Rest {
    /// How many; 0 where that is not known.
    count: u64,
    what: &'static str,
    /// The statement that shows all of it; `VALUE` is what the operator has typed.
    statement: String,
}

impl Rest {
    /// `None` where nothing is left.
    fn new(count: usize, what: &'static str, statement: &str) -> Option<Self> {
        (count > 0).then(|| Self { count: count as u64, what, statement: statement.to_owned() })
    }

    /// Parts of parts were left out.
    fn of_parts() -> Self {
        Self { count: 0, what: "", statement: "ui::say(VALUE)".into() }
    }
}

impl View {
    fn dots(&self) -> &'static str {
        if self.style.unicode { "••••••" } else { "******" }
    }

    /// Stands where something was left out.
    fn ellipsis(&self) -> &'static str {
        if self.style.unicode { "…" } else { "..." }
    }

    fn rest(&self, rest: &Rest) -> Vec<String> {
        let count = if rest.count > 0 { format!(" {}", human::count(rest.count)) } else { String::new() };
        let what = if rest.what.is_empty() { String::new() } else { format!(" {}", rest.what) };
        let line = format!("{}{count} more{what}; all of it: {}", self.ellipsis(), rest.statement);
        wrap(&line, self.style.width).iter().map(|line| self.style.paint(Paint::Dim, line)).collect()
    }

    /// A text that is the whole value: in quotes where it is one line, else as it is.
    fn text(&self, text: &str) -> String {
        const ALL: &str = "ui::say(VALUE)";
        if !text.trim_end_matches('\n').contains('\n') {
            let shown = self.quoted(text, CHARACTERS);
            let rest = text.chars().count().saturating_sub(CHARACTERS);
            let rest = Rest::new(rest, "characters", ALL).map(|rest| self.rest(&rest)).unwrap_or_default();
            return std::iter::once(shown).chain(rest).collect::<Vec<_>>().join("\n");
        }
        let (mut lines, mut room, mut is_cut) = (Vec::new(), CHARACTERS, false);
        for line in text.lines().take(LINES) {
            if room == 0 {
                break;
            }
            is_cut |= head(line, room).1;
            lines.push(self.plain(line, room));
            room = room.saturating_sub(line.chars().count());
        }
        let rest = text.lines().count() - lines.len();
        let rest = Rest::new(rest, "lines", ALL).or_else(|| is_cut.then(Rest::of_parts));
        lines.extend(rest.iter().flat_map(|rest| self.rest(rest)));
        lines.join("\n")
    }

    /// Puts a value on the page, as many lines as it takes; gives what is left of it.
    fn block(&self, page: &mut Page, key: &str, value: &Dynamic, indent: usize, depth: usize) -> Option<Rest> {
        if depth > DEPTH {
            page.push(format!("{}{}", " ".repeat(indent), self.ellipsis()));
            page.is_cut = true;
            return None;
        }
        let value = value.read_lock::<Dynamic>()?;
        if let Some(items) = value.read_lock::<Array>() {
            return match rows::of(self, &items) {
                Some(table) => self.table(page, table, items.len(), indent),
                None => self.list(page, key, &items, indent, depth),
            };
        }
        if let Some(map) = value.read_lock::<Map>() {
            return self.map(page, &map, indent, depth);
        }
        match cards::of(&value) {
            Some(card) => self.card(page, &card, indent),
            None => self.entry(page, "", key, &value, indent, depth),
        }
        None
    }

    fn table(&self, page: &mut Page, table: rows::Table, count: usize, indent: usize) -> Option<Rest> {
        let (what, statement) = (table.what, table.statement.clone());
        let room = LINES.saturating_sub(page.lines.len()).max(1);
        let (lines, shown) = table.render(self.style.width.saturating_sub(indent).max(NARROWEST), self, room);
        let margin = " ".repeat(indent);
        page.lines.extend(lines.iter().map(|line| format!("{margin}{line}").trim_end().to_owned()));
        page.is_cut |= shown < count;
        Rest::new(count - shown, what, &statement)
    }

    fn list(&self, page: &mut Page, key: &str, items: &Array, indent: usize, depth: usize) -> Option<Rest> {
        let margin = " ".repeat(indent);
        let (line, is_cut) = self.array_line(key, items, self.style.width.saturating_sub(indent));
        if !is_cut {
            page.push(format!("{margin}{line}"));
            return None;
        }
        let digits = items.len().min(LINES).saturating_sub(1).to_string().len();
        let mut shown = 0;
        for (index, item) in items.iter().enumerate().take(LINES) {
            if page.is_full() {
                break;
            }
            self.entry(page, &format!("{index:>digits$}  "), key, item, indent, depth);
            shown = index + 1;
        }
        page.is_cut |= shown < items.len();
        Rest::new(items.len() - shown, "", "for each in VALUE { ui::say(each) }")
    }

    fn map(&self, page: &mut Page, map: &Map, indent: usize, depth: usize) -> Option<Rest> {
        if map.is_empty() {
            page.push(format!("{}#{{}}", " ".repeat(indent)));
        }
        let mut keys: Vec<_> = map.keys().take(LINES).map(|key| key.as_str()).collect();
        keys.sort_by_key(|key| rows::rank(key));
        let labels: Vec<_> = keys.iter().map(|key| format!("{}:", self.plain(key, INNER))).collect();
        let widest = self.style.width.saturating_sub(indent) / 2;
        let width = labels.iter().map(|label| label.chars().count()).filter(|w| *w <= widest).max().unwrap_or_default();
        let mut shown = 0;
        for (key, label) in keys.into_iter().zip(labels) {
            if page.is_full() {
                break;
            }
            shown += 1;
            let Some(value) = map.get(key) else { continue };
            match label.chars().count() <= width {
                true => self.entry(page, &format!("{label:<width$} "), key, value, indent, depth),
                false => {
                    let parts = wrap(&label, self.style.width.saturating_sub(indent));
                    parts.iter().for_each(|part| page.push(format!("{}{part}", " ".repeat(indent))));
                    self.entry(page, "", key, value, indent + 2, depth);
                }
            }
        }
        page.is_cut |= shown < map.len();
        Rest::new(map.len() - shown, "keys", "ui::say(VALUE)")
    }

    /// A value with a label before it: beside it where it is short, else below.
    fn entry(&self, page: &mut Page, label: &str, key: &str, value: &Dynamic, indent: usize, depth: usize) {
        let margin = " ".repeat(indent);
        let room = self.style.width.saturating_sub(indent + label.chars().count()).max(8);
        if let Some(text) = value.read_lock::<ImmutableString>().filter(|text| is_long(text) && !blot::is_secret(key)) {
            page.push(format!("{margin}{label}").trim_end().to_owned());
            return self.lines_of(page, &text, indent + 2);
        }
        let (line, is_cut) = self.line(key, value, room);
        if !is_cut {
            return page.push(format!("{margin}{label}{line}"));
        }
        if value.is_array() || value.is_map() || cards::of(value).is_some() {
            let label = label.trim_end();
            if !label.is_empty() {
                page.push(format!("{margin}{label}"));
            }
            self.block(page, key, value, indent + 2, depth + 1);
            return;
        }
        let (whole, is_cut) = self.line(key, value, INNER);
        page.is_cut |= is_cut;
        let (first, others) = (format!("{margin}{label}"), " ".repeat(indent + label.chars().count()));
        for (index, part) in wrap(&whole, room).iter().enumerate() {
            page.push(format!("{}{part}", if index == 0 { &first } else { &others }));
        }
    }

    /// A text of several lines as it is; lines that are too wide go on below.
    fn lines_of(&self, page: &mut Page, text: &str, indent: usize) {
        let (margin, room) = (" ".repeat(indent), self.style.width.saturating_sub(indent).max(8));
        let mut characters = 0;
        for line in text.lines() {
            if page.is_full() || characters >= CHARACTERS {
                page.is_cut = true;
                return;
            }
            let line: Vec<_> = self.plain(line, CHARACTERS).chars().collect();
            characters += line.len();
            if line.is_empty() {
                page.push(String::new());
            }
            line.chunks(room).for_each(|part| page.push(format!("{margin}{}", part.iter().collect::<String>())));
        }
    }

    fn card(&self, page: &mut Page, card: &Card, indent: usize) {
        let title = format!("{} {}", card.kind, self.plain(&card.name.1, INNER));
        let margin = " ".repeat(indent);
        for line in wrap(&title, self.style.width.saturating_sub(indent)) {
            page.push(format!("{margin}{}", self.style.paint(Paint::Bold, &line)));
        }
        let fields: Vec<_> = card.fields.iter().filter(|field| !field.value.is_empty()).collect();
        let width = fields.iter().map(|field| field.name.len()).max().unwrap_or_default();
        let room = self.style.width.saturating_sub(indent + width + 4).max(12);
        for field in fields {
            for (index, line) in self.card_lines(&field.value, room).iter().enumerate() {
                let name = if index == 0 { field.name } else { "" };
                page.push(format!("{margin}  {name:<width$}  {line}"));
            }
        }
    }

    /// A time has its age and, where there is room, itself.
    fn card_lines(&self, value: &Value, room: usize) -> Vec<String> {
        const ITEMS: usize = 20;
        match value {
            Value::List(items) => {
                let rest = items.len().saturating_sub(ITEMS);
                let rest = (rest > 0).then(|| format!("{} {rest} more", self.ellipsis()));
                let shown = items.iter().take(ITEMS).flat_map(|item| wrap(&self.plain(item, INNER), room));
                shown.chain(rest).collect()
            }
            Value::Time(time) => {
                let age = self.cell(value);
                let then = self.moment(time).map(|then| format!("{age} ({then})"));
                vec![then.filter(|both| both.len() <= room).unwrap_or(age)]
            }
            value => wrap(&self.cell(value), room),
        }
    }

    fn cell(&self, value: &Value) -> String {
        match value {
            Value::Text(text) => self.plain(text, INNER),
            Value::Time(text) => self.age(text).unwrap_or_else(|| self.plain(text, INNER)),
            Value::Size(bytes) => human::size(*bytes),
            Value::Secret => self.dots().to_owned(),
            Value::List(items) => self.plain(&items.join(", "), INNER),
        }
    }
}

/// Whether a text is better shown as it is than in quotes.
fn is_long(text: &str) -> bool {
    text.trim_end_matches('\n').contains('\n')
}

#[cfg(test)]
mod tests;
