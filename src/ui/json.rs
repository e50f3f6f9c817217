//! Events for programs: one JSON object a line.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::event::{Event, Listener};

/// Writes `{"time":"2026-05-01T22:03:04Z","event":"step_started",…}`. A reader that goes away is no error of the run.
pub struct Json(Mutex<Inner>);

struct Inner {
    out: Box<dyn Write + Send>,
    /// When each stream was last told of.
    told: HashMap<u64, Instant>,
}

impl Json {
    /// A stream tells five times a second; a log needs less.
    const PROGRESS: Duration = Duration::from_secs(1);

    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self(Mutex::new(Inner { out, told: HashMap::new() }))
    }
}

impl Listener for Json {
    fn hear(&self, event: &Event) {
        let mut inner = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if let Event::Progress { id, finished, .. } = event {
            let now = Instant::now();
            if !finished && inner.told.get(id).is_some_and(|at| now - *at < Self::PROGRESS) {
                return;
            }
            if *finished {
                inner.told.remove(id)
            } else {
                inner.told.insert(*id, now)
            };
        }
        let line = line(event, &jiff::Timestamp::now());
        let _ = inner.out.write_all(line.as_bytes()).and_then(|()| inner.out.flush());
    }
}

/// The time stands first, then the event's own fields in their order.
fn line(event: &Event, now: &jiff::Timestamp) -> String {
    let fields = serde_json::to_string(event).unwrap_or_else(|_| "{}".to_owned());
    let separator = if fields == "{}" { "" } else { "," };
    format!("{{\"time\":\"{now:.3}\"{separator}{}\n", &fields[1..])
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::ui::testing::{Written, a_short_run};

    #[test]
    fn an_event_is_a_line_with_its_time() {
        let now: jiff::Timestamp = "2026-05-01T22:03:04.5Z".parse().unwrap();
        let event = Event::StepDone { path: "stop".into(), seconds: 1.5 };
        let value: Value = serde_json::from_str(&line(&event, &now)).unwrap();
        let expected = serde_json::json!({
            "time": "2026-05-01T22:03:04.500Z", "event": "step_done", "path": "stop", "seconds": 1.5,
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn every_event_of_a_run_is_one_parsable_line() {
        let written = Written::default();
        let json = Json::new(Box::new(written.clone()));
        a_short_run().iter().for_each(|e| json.hear(e));
        let lines = written.text();
        assert_eq!(lines.lines().count(), a_short_run().len());
        assert!(lines.lines().all(|l| serde_json::from_str::<Value>(l).unwrap()["time"].is_string()));
    }

    #[test]
    fn progress_is_told_once_a_second_and_at_its_end() {
        let written = Written::default();
        let json = Json::new(Box::new(written.clone()));
        for (done, finished) in [(0, false), (1, false), (2, false), (3, true)] {
            json.hear(&Event::Progress { id: 1, label: "x".into(), unit: "bytes", done, total: None, finished });
        }
        assert_eq!(written.text().lines().count(), 2);
    }
}
