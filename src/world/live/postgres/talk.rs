//! A psql that stays, and is asked one thing after another.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::Duration;

use super::psql::{Psql, text_of};
use crate::world::error::{Error, Result};

/// The last line of each answer. No line of an answer looks like it: those are JSON.
const END: &str = "pgscript-end-of-answer";

/// One psql, on a thread of its own.
pub struct Talk<'scope> {
    pipe: Arc<Pipe>,
    /// Waits for the thread.
    psql: Box<dyn FnOnce() -> thread::Result<Result<()>> + Send + 'scope>,
}

impl<'scope> Talk<'scope> {
    pub fn open<'env>(scope: &'scope Scope<'scope, 'env>, psql: Psql<'env>) -> Self
    where
        'env: 'scope,
    {
        let pipe = Arc::new(Pipe::default());
        let ends = pipe.clone();
        let psql = scope.spawn(move || ends.converse(|input, output| psql.run(input, output)));
        Self { pipe, psql: Box::new(|| psql.join()) }
    }

    /// One that ends by itself when it is asked nothing for so long. `psql` runs it, with what it reads and writes.
    pub fn open_for<F>(patience: Duration, psql: F) -> Self
    where
        F: FnOnce(&mut (dyn Read + Send), &mut (dyn Write + Send)) -> Result<()> + Send + 'static,
    {
        let pipe = Arc::new(Pipe { patience: Some(patience), ..Pipe::default() });
        let ends = pipe.clone();
        let psql = thread::spawn(move || ends.converse(psql));
        Self { pipe, psql: Box::new(|| psql.join()) }
    }

    /// Sends statements and hands on each line of the answer.
    pub fn ask(&self, script: &str, mut line: impl FnMut(&str) -> Result<()>) -> Result<()> {
        self.pipe.send(format!("{script}\n\\echo {END}\n").as_bytes());
        while let Some(answer) = self.pipe.line() {
            match &*text_of(&answer) {
                END => {
                    self.pipe.change(|state| state.is_asked = false);
                    return Ok(());
                }
                text => line(text)?,
            }
        }
        // Why it has ended is what `end` tells.
        Err(Error::failed("psql.failed", "psql ended before its answer did"))
    }

    /// Ends it. `outcome` is what came of the questions; what psql itself has to say goes before it.
    pub fn end<T>(self, outcome: Result<T>) -> Result<T> {
        self.pipe.close();
        let ended = (self.psql)().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match ended {
            Err(error) => Err(error),
            Ok(()) => outcome,
        }
    }
}

#[derive(Default)]
struct Pipe {
    state: Mutex<State>,
    moved: Condvar,
    /// How long psql waits for a question.
    patience: Option<Duration>,
}

#[derive(Default)]
struct State {
    input: VecDeque<u8>,
    lines: VecDeque<Vec<u8>>,
    /// A question is under way.
    is_asked: bool,
    is_closed: bool,
    has_ended: bool,
}

impl Pipe {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.moved.notify_all();
    }

    /// Runs psql between both ends.
    fn converse<F>(self: Arc<Self>, psql: F) -> Result<()>
    where
        F: FnOnce(&mut (dyn Read + Send), &mut (dyn Write + Send)) -> Result<()>,
    {
        // Whatever ends it, nobody waits for an answer any more.
        let _ended = Ended(self.clone());
        psql(&mut Input(self.clone()), &mut Output { pipe: self, line: Vec::new() })
    }

    fn send(&self, bytes: &[u8]) {
        self.change(|state| {
            state.is_asked = true;
            state.input.extend(bytes);
        });
    }

    fn close(&self) {
        self.change(|state| state.is_closed = true);
    }

    /// Waits until `take` gives something. When nothing was asked for too long, nothing more will be.
    fn wait<T>(&self, mut take: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut state = self.state();
        loop {
            if let Some(taken) = take(&mut state) {
                self.moved.notify_all();
                return taken;
            }
            state = match self.patience.filter(|_| !state.is_asked && !state.is_closed) {
                None => self.moved.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let waited = self.moved.wait_timeout(state, patience);
                    let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                    state.is_closed |= waited.timed_out() && !state.is_asked;
                    state
                }
            };
        }
    }

    /// The next line of output; `None` when there will be none.
    fn line(&self) -> Option<Vec<u8>> {
        self.wait(|state| match state.lines.pop_front() {
            Some(line) => Some(Some(line)),
            None => state.has_ended.then_some(None),
        })
    }
}

/// Lines that may wait to be taken: whoever asks sets the pace.
const WAITING: usize = 1024;

struct Input(Arc<Pipe>);

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.wait(|state| match state.input.len().min(buffer.len()) {
            0 => (state.is_closed || state.has_ended).then_some(Ok(0)),
            length => {
                state.input.drain(..length).zip(buffer.iter_mut()).for_each(|(byte, place)| *place = byte);
                Some(Ok(length))
            }
        })
    }
}

struct Output {
    pipe: Arc<Pipe>,
    line: Vec<u8>,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.ends_with(b"\n") {
                self.line.pop();
                let mut line = Some(std::mem::take(&mut self.line));
                self.pipe.wait(|state| {
                    (state.lines.len() < WAITING || state.is_closed).then(|| state.lines.extend(line.take()))
                });
            }
        }
        Ok(bytes.len())
    }

    /// The program's output is at its end: nothing more is read from whoever feeds it.
    fn flush(&mut self) -> io::Result<()> {
        self.pipe.change(|state| state.has_ended = true);
        Ok(())
    }
}

struct Ended(Arc<Pipe>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.change(|state| state.has_ended = true);
    }
}
