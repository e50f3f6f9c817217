//! A psql that stays, and is asked one thing after another.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use super::psql::{Psql, text_of};
use crate::world::error::{Error, Result};

/// The last line of each answer. No line of an answer looks like it: those are JSON.
const END: &str = "pgscript-end-of-answer";

/// One psql, on a thread of its own.
pub struct Talk<'scope> {
    pipe: Arc<Pipe>,
    psql: ScopedJoinHandle<'scope, Result<()>>,
}

impl<'scope> Talk<'scope> {
    pub fn open<'env>(scope: &'scope Scope<'scope, 'env>, psql: Psql<'env>) -> Self
    where
        'env: 'scope,
    {
        let pipe = Arc::new(Pipe::default());
        let (mut input, mut output) = (Input(pipe.clone()), Output { pipe: pipe.clone(), line: Vec::new() });
        let psql = scope.spawn(move || {
            // Whatever ends it, nobody waits for an answer any more.
            let _ended = Ended(output.pipe.clone());
            psql.run(&mut input, &mut output)
        });
        Self { pipe, psql }
    }

    /// Sends statements and hands on each line of the answer.
    pub fn ask(&self, script: &str, mut line: impl FnMut(&str) -> Result<()>) -> Result<()> {
        self.pipe.send(format!("{script}\n\\echo {END}\n").as_bytes());
        while let Some(answer) = self.pipe.line() {
            match &*text_of(&answer) {
                END => return Ok(()),
                text => line(text)?,
            }
        }
        // Why it has ended is what `end` tells.
        Err(Error::failed("psql.failed", "psql ended before its answer did"))
    }

    /// Ends it. `outcome` is what came of the questions; what psql itself has to say goes before it.
    pub fn end<T>(self, outcome: Result<T>) -> Result<T> {
        self.pipe.close();
        let ended = self.psql.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
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
}

#[derive(Default)]
struct State {
    input: VecDeque<u8>,
    lines: VecDeque<Vec<u8>>,
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

    fn send(&self, bytes: &[u8]) {
        self.change(|state| state.input.extend(bytes));
    }

    fn close(&self) {
        self.change(|state| state.is_closed = true);
    }

    /// Waits until `take` gives something.
    fn wait<T>(&self, mut take: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut state = self.state();
        loop {
            if let Some(taken) = take(&mut state) {
                self.moved.notify_all();
                return taken;
            }
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
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
