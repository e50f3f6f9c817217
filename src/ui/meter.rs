//! How fast a stream moves and how long it will take.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::human;

/// One stream's progress over time.
pub struct Meter {
    pub label: String,
    unit: &'static str,
    begun: Instant,
    done: u64,
    total: Option<u64>,
    /// The last seconds' points: the rate that counts for the estimate.
    points: VecDeque<(Instant, u64)>,
}

impl Meter {
    const WINDOW: Duration = Duration::from_secs(15);

    pub fn new(label: &str, unit: &'static str, now: Instant) -> Self {
        Self { label: label.to_owned(), unit, begun: now, done: 0, total: None, points: VecDeque::new() }
    }

    pub fn update(&mut self, done: u64, total: Option<u64>, now: Instant) {
        (self.done, self.total) = (done, total);
        self.points.push_back((now, done));
        while self.points.len() > 2 && self.points.front().is_some_and(|(at, _)| now - *at > Self::WINDOW) {
            self.points.pop_front();
        }
    }

    /// Units per second of the last seconds; `None` before that can be told.
    fn rate(&self) -> Option<f64> {
        let ((from, first), (to, last)) = (self.points.front()?, self.points.back()?);
        let seconds = (*to - *from).as_secs_f64();
        (seconds >= 0.5).then(|| last.saturating_sub(*first) as f64 / seconds)
    }

    /// Done of total, 0 to 1.
    pub fn fraction(&self) -> Option<f64> {
        self.total.filter(|t| *t > 0).map(|total| (self.done as f64 / total as f64).min(1.0))
    }

    /// `1.2 GB of 2.3 GB  230 MB/s  5 s left`
    pub fn text(&self) -> String {
        let mut text = match self.total {
            Some(total) if self.unit == "bytes" => format!("{} of {}", human::size(self.done), human::size(total)),
            Some(total) => format!("{} of {total} {}", self.done, self.unit),
            None => human::amount(self.done, self.unit),
        };
        let Some(rate) = self.rate() else { return text };
        text += &format!("  {}", human::rate(rate, self.unit));
        // An estimate of size can be too small: then nothing can be said of the rest.
        let left = self.total.and_then(|total| total.checked_sub(self.done)).filter(|left| *left > 0 && rate > 0.0);
        if let Some(left) = left {
            text += &format!("  {} left", human::estimate(left as f64 / rate));
        }
        text
    }

    /// `2.3 GB in 12 s, 190 MB/s`, or `None` when it was over at once and not worth a line.
    pub fn summary(&self, now: Instant) -> Option<String> {
        let took = now - self.begun;
        if took < Duration::from_secs(1) || self.done == 0 {
            return None;
        }
        let rate = human::rate(self.done as f64 / took.as_secs_f64(), self.unit);
        Some(format!("{} in {}, {rate}", human::amount(self.done, self.unit), human::duration(took)))
    }
}

/// The streams under way, by the id of their events.
#[derive(Default)]
pub struct Meters(HashMap<u64, Meter>);

impl Meters {
    /// Takes an event's numbers; gives the stream as it stands.
    pub fn update(&mut self, id: u64, label: &str, unit: &'static str, done: u64, total: Option<u64>) -> &mut Meter {
        let now = Instant::now();
        let meter = self.0.entry(id).or_insert_with(|| Meter::new(label, unit, now));
        meter.update(done, total, now);
        meter
    }

    pub fn finish(&mut self, id: u64) -> Option<Meter> {
        self.0.remove(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_estimate_come_from_the_last_seconds() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut meter = Meter::new("backup", "bytes", start);
        meter.update(0, Some(2_300_000_000), start);
        assert_eq!(meter.text(), "0 B of 2.3 GB");
        for second in 1..=60u64 {
            // Slow for 40 s, then 100 MB/s.
            let done = if second <= 40 { second } else { 40 + (second - 40) * 100_000_000 };
            meter.update(done, Some(2_300_000_000), at(second));
        }
        assert_eq!(meter.text(), "2.0 GB of 2.3 GB  100 MB/s  3 s left");
        assert_eq!(meter.summary(at(60)).as_deref(), Some("2.0 GB in 1 m 00 s, 33.3 MB/s"));
    }

    #[test]
    fn without_a_total_or_past_it_nothing_is_estimated() {
        let start = Instant::now();
        let mut meter = Meter::new("dump", "tables", start);
        meter.update(0, None, start);
        meter.update(7, None, start + Duration::from_secs(2));
        assert_eq!(meter.text(), "7 tables  3.5 tables/s");
        meter.update(9, Some(8), start + Duration::from_secs(3));
        assert_eq!(meter.text(), "9 of 8 tables  3.0 tables/s");
        assert_eq!(meter.summary(start + Duration::from_millis(500)), None);
    }
}
