//! A value in one line, and texts as they may be shown.

use jiff::Timestamp;
use rhai::{Array, Dynamic, FnPtr, ImmutableString, Map};

use super::{DEPTH, INNER, View, blot, cards};
use crate::script::api::type_name;
use crate::ui::human;
use crate::ui::style::clean;
use crate::world::Secret;

/// A password that begins within what is shown may end this much later.
const SLACK: usize = 1000;

impl View {
    /// The age of an RFC 3339 time; Docker's time of what never happened is that of the year 1.
    pub fn age(&self, text: &str) -> Option<String> {
        if text.starts_with("0001-01-01") {
            return Some("never".into());
        }
        self.moment(text).map(|then| human::age(then, self.now))
    }

    /// A time without its fraction of a second.
    pub fn moment(&self, text: &str) -> Option<Timestamp> {
        let then: Timestamp = text.parse().ok()?;
        Timestamp::from_second(then.as_second()).ok().filter(|_| !text.starts_with("0001-01-01"))
    }

    /// A value in one line of at most `room` characters, and whether that is not all of it.
    pub fn line(&self, key: &str, value: &Dynamic, room: usize) -> (String, bool) {
        let mut line = Line { text: String::new(), room, is_cut: false };
        self.write(&mut line, key, value, 0);
        (line.text, line.is_cut)
    }

    pub fn array_line(&self, key: &str, items: &Array, room: usize) -> (String, bool) {
        let mut line = Line { text: String::new(), room, is_cut: false };
        self.write_array(&mut line, key, items, 0);
        (line.text, line.is_cut)
    }

    fn write(&self, line: &mut Line, key: &str, value: &Dynamic, depth: usize) {
        if line.is_cut {
            return;
        }
        let Some(value) = value.read_lock::<Dynamic>() else { return line.push("(in use)") };
        if depth > DEPTH {
            line.push(self.ellipsis());
        } else if blot::is_secret(key) && (value.is_array() || value.is_map()) {
            line.push(self.dots());
        } else if let Some(items) = value.read_lock::<Array>() {
            self.write_array(line, key, &items, depth);
        } else if let Some(map) = value.read_lock::<Map>() {
            line.push("#{");
            for (index, (key, value)) in map.iter().enumerate().take(line.room + 1) {
                let comma = if index > 0 { ", " } else { "" };
                line.push(&format!("{comma}{}: ", self.key(key)));
                self.write(line, key, value, depth + 1);
            }
            line.push("}");
        } else {
            line.push(&self.scalar(key, &value, line.room + 1));
        }
    }

    fn write_array(&self, line: &mut Line, key: &str, items: &Array, depth: usize) {
        line.push("[");
        // Each takes a character at least.
        for (index, item) in items.iter().enumerate().take(line.room + 1) {
            line.push(if index > 0 { ", " } else { "" });
            self.write(line, key, item, depth + 1);
        }
        line.push("]");
    }

    /// A key as a map literal has it.
    fn key(&self, key: &str) -> String {
        let is_name = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if is_name { key.to_owned() } else { self.quoted(key, INNER) }
    }

    /// What is neither array nor map; at most `room` characters of a text.
    fn scalar(&self, key: &str, value: &Dynamic, room: usize) -> String {
        if let Some(text) = value.read_lock::<ImmutableString>() {
            return match blot::is_secret(key) {
                true => self.dots().to_owned(),
                false => self.measured(key, value).unwrap_or_else(|| self.quoted(&text, room)),
            };
        }
        if let Some(function) = value.read_lock::<FnPtr>() {
            let is_closure = function.fn_name().starts_with("anon$");
            return if is_closure { "closure".into() } else { format!("fn {}", function.fn_name()) };
        }
        if let Some(bytes) = value.read_lock::<rhai::Blob>() {
            return format!("blob of {}", human::size(bytes.len() as u64));
        }
        if let Some(card) = cards::of(value) {
            return format!("{}({})", card.kind, self.plain(&card.name.1, room));
        }
        if value.is_unit() {
            return "()".into();
        }
        if let Ok(c) = value.as_char() {
            return format!("'{}'", self.escaped(c.encode_utf8(&mut [0; 4]), '\''));
        }
        if value.is::<Secret>() {
            return self.dots().to_owned();
        }
        let shown = value.to_string();
        // What the engine has no words for is called by the path of its Rust type.
        let shown = if shown.contains("::") { type_name(&shown).to_owned() } else { shown };
        self.measured(key, value).unwrap_or(shown)
    }

    /// Bytes and seconds in units, times as ages, where the name of a value tells what it is.
    pub fn measured(&self, key: &str, value: &Dynamic) -> Option<String> {
        if matches!(key, "size" | "bytes") || key.ends_with("_bytes") {
            return value.as_int().ok().and_then(|bytes| u64::try_from(bytes).ok()).map(human::size);
        }
        if key == "seconds" || key.ends_with("_seconds") {
            return value.as_float().ok().map(human::seconds);
        }
        if !key.ends_with("_at") && !matches!(key, "at" | "modified") {
            return None;
        }
        match value.as_int() {
            // Seconds since the epoch: of this century.
            Ok(seconds @ 946_684_800..4_102_444_800) => {
                Timestamp::from_second(seconds).ok().map(|then| human::age(then, self.now))
            }
            _ => self.age(&value.read_lock::<ImmutableString>()?),
        }
    }

    /// A text as a table or card has it: without quotes, control characters and passwords.
    pub fn plain(&self, text: &str, room: usize) -> String {
        let (text, _) = head(text, room.saturating_add(SLACK));
        let blotted = blot::blot(&self.redactor.redact(&clean(text)), self.dots());
        let (shown, is_cut) = head(&blotted, room);
        self.style.ascii(if is_cut { format!("{shown}{}", self.ellipsis()) } else { shown.to_owned() })
    }

    /// A text as a script would write it.
    pub fn quoted(&self, text: &str, room: usize) -> String {
        let (text, _) = head(text, room.saturating_add(SLACK));
        let blotted = blot::blot(&self.redactor.redact(text), self.dots());
        let (shown, is_cut) = head(&blotted, room);
        format!("\"{}\"{}", self.escaped(shown, '"'), if is_cut { self.ellipsis() } else { "" })
    }

    fn escaped(&self, text: &str, quote: char) -> String {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\\' => out.push_str("\\\\"),
                c if c == quote => out.extend(['\\', quote]),
                c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => out.push(c),
            }
        }
        self.style.ascii(out)
    }
}

/// The first `count` characters, and whether there are more.
pub fn head(text: &str, count: usize) -> (&str, bool) {
    match text.char_indices().nth(count) {
        Some((end, _)) => (&text[..end], true),
        None => (text, false),
    }
}

/// A line with only so much room.
struct Line {
    text: String,
    room: usize,
    is_cut: bool,
}

impl Line {
    fn push(&mut self, part: &str) {
        if self.is_cut {
            return;
        }
        let (shown, is_cut) = head(part, self.room);
        self.text.push_str(shown);
        self.room -= shown.chars().count();
        self.is_cut = is_cut;
    }
}
