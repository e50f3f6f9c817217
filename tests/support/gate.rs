//! A socket in front of the engine: what is asked there is written down; it can be taken away, fall silent, and answer
//! in the place of the engine.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ENGINE: &str = "/var/run/docker.sock";

/// Closed at first.
pub struct Gate {
    _dir: tempfile::TempDir,
    path: PathBuf,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_open: AtomicBool,
    is_silent: AtomicBool,
    connections: Mutex<Vec<UnixStream>>,
    asked: Mutex<String>,
    refused: Mutex<Vec<(String, String)>>,
}

impl Gate {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        Self { _dir: dir, path, state: Arc::default() }
    }

    pub fn opened() -> Self {
        let gate = Self::new();
        gate.open();
        gate
    }

    /// As in `DOCKER_HOST`.
    pub fn url(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    pub fn open(&self) {
        let listener = UnixListener::bind(&self.path).unwrap();
        self.state.is_open.store(true, Ordering::SeqCst);
        let state = self.state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if !state.is_open.load(Ordering::SeqCst) {
                    return;
                }
                let engine = UnixStream::connect(ENGINE).unwrap();
                state.connections.lock().unwrap().push(client.try_clone().unwrap());
                let (from_client, to_engine) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
                let (up, down) = (state.clone(), state.clone());
                std::thread::spawn(move || up.pump(from_client, to_engine, true));
                std::thread::spawn(move || down.pump(engine, client, false));
            }
        });
    }

    /// As if the engine had ended: the socket is gone, and every connection.
    pub fn close(&self) {
        self.state.is_open.store(false, Ordering::SeqCst);
        _ = UnixStream::connect(&self.path);
        std::fs::remove_file(&self.path).unwrap();
        self.state.connections.lock().unwrap().drain(..).for_each(|client| _ = client.shutdown(Shutdown::Both));
    }

    /// Nothing passes any more, but everything stays open; or all passes that has waited.
    pub fn be_silent(&self, is_silent: bool) {
        self.state.is_silent.store(is_silent, Ordering::SeqCst);
    }

    /// From now on a request whose first line contains `request` fails with this reason, and the engine does not hear
    /// of it.
    pub fn refuse(&self, request: &str, reason: &str) {
        self.state.refused.lock().unwrap().push((request.to_owned(), reason.to_owned()));
    }

    /// All that was asked since this was called before.
    pub fn asked(&self) -> String {
        std::mem::take(&mut *self.state.asked.lock().unwrap())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.be_silent(false);
        if self.state.is_open.load(Ordering::SeqCst) {
            self.close();
        }
    }
}

impl State {
    fn refusal(&self, request: &str) -> Option<String> {
        let refused = self.refused.lock().unwrap();
        let (_, reason) = refused.iter().find(|(part, _)| request.contains(part.as_str()))?;
        let body = format!("{{\"message\":\"{reason}\"}}");
        let head = "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length:";
        Some(format!("{head} {}\r\n\r\n{body}", body.len()))
    }

    fn pump(&self, mut from: UnixStream, mut to: UnixStream, is_asked: bool) {
        let mut bytes = [0; 65536];
        while let Ok(length @ 1..) = from.read(&mut bytes) {
            if is_asked {
                let text = String::from_utf8_lossy(&bytes[..length]);
                self.asked.lock().unwrap().push_str(&text);
                if let Some(refusal) = self.refusal(text.lines().next().unwrap_or_default()) {
                    _ = from.write_all(refusal.as_bytes());
                    continue;
                }
            }
            while self.is_silent.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            if to.write_all(&bytes[..length]).is_err() {
                break;
            }
        }
        _ = to.shutdown(Shutdown::Write);
    }
}
