//! What a program has written to its terminal: as bytes, as text, and as the screen that it makes.

use std::num::NonZeroU16;

pub struct Shown {
    raw: Vec<u8>,
    text: Text,
    parser: vte::Parser,
    screen: vt100::Parser<Answers>,
    /// No process has the terminal open any more.
    pub has_ended: bool,
    /// How often it was found that nothing came.
    pub pulses: u64,
}

impl Shown {
    pub fn new(columns: NonZeroU16, rows: NonZeroU16) -> Self {
        Self {
            raw: Vec::new(),
            text: Text::default(),
            parser: vte::Parser::new(),
            screen: vt100::Parser::new_with_callbacks(rows, columns, 0, Answers::default()),
            has_ended: false,
            pulses: 0,
        }
    }

    /// Gives what the terminal answers to that.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.raw.extend_from_slice(bytes);
        self.parser.advance(&mut self.text, bytes);
        self.screen.process(bytes);
        std::mem::take(&mut self.screen.callbacks_mut().0)
    }

    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Without escape sequences and carriage returns.
    pub fn text(&self) -> &str {
        &self.text.0
    }

    pub fn screen(&self) -> String {
        let screen = self.screen.screen();
        let rows = screen.rows(0, screen.size().1.get()).map(|row| row.trim_end().to_owned());
        rows.collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    /// Column and row, from 0.
    pub fn cursor(&self) -> (u16, u16) {
        let (row, column) = self.screen.screen().cursor_position();
        (column, row)
    }

    pub fn brackets_pastes(&self) -> bool {
        self.screen.screen().bracketed_paste()
    }

    pub fn resize(&mut self, columns: NonZeroU16, rows: NonZeroU16) {
        self.screen.set_size(rows, columns);
    }
}

#[derive(Default)]
struct Text(String);

impl vte::Perform for Text {
    fn print(&mut self, c: char) {
        self.0.push(c);
    }

    fn execute(&mut self, byte: u8) {
        if matches!(byte, b'\n' | b'\t' | b'\x07') {
            self.0.push(byte.into());
        }
    }
}

/// A terminal is asked where its cursor is, and whether it is there.
#[derive(Default)]
struct Answers(Vec<u8>);

impl vt100::Callbacks for Answers {
    fn unhandled_csi(
        &mut self,
        screen: &mut vt100::Screen,
        i1: Option<u8>,
        _: Option<u8>,
        params: &[&[u16]],
        action: char,
    ) {
        match (i1, params, action) {
            (None, [[6]], 'n') => {
                let (row, column) = screen.cursor_position();
                self.0.extend(format!("\x1b[{};{}R", row + 1, column + 1).into_bytes());
            }
            (None, [[5]], 'n') => self.0.extend(b"\x1b[0n"),
            _ => {}
        }
    }
}
