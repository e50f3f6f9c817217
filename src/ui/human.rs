//! Numbers for people: sizes, durations, ages, rates.

use std::time::Duration;

use jiff::Timestamp;

/// Bytes in decimal units: `999 B`, `1.2 GB`, `230 MB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    // 999.5 would be shown as 1000.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if value < 99.95 { 1 } else { 0 };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// `0.3 s`, `42 s`, `2 m 05 s`, `1 h 02 m`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} m {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} m", whole / 3600, whole % 3600 / 60),
    }
}

/// [`duration`] of seconds as events carry them.
pub fn seconds(seconds: f64) -> String {
    duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// What is still to come, in whole seconds: an estimate has no tenths.
pub fn estimate(seconds: f64) -> String {
    if seconds < 10.0 { format!("{} s", seconds.ceil()) } else { self::seconds(seconds.ceil()) }
}

/// How long ago something was, in its largest unit: `just now`, `12 s ago`, `3 h ago`, `45 d ago`, `2 y ago`. What is
/// still to come, by a clock that differs perhaps: `in 5 m`.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second() - then.as_second();
    let passed = seconds.unsigned_abs();
    let text = match passed {
        0 => return "just now".into(),
        1..60 => format!("{passed} s"),
        60..3600 => format!("{} m", passed / 60),
        3600..86_400 => format!("{} h", passed / 3600),
        // Up to two years: "1 y ago" would be anything between twelve and twenty-four months.
        86_400..63_072_000 => format!("{} d", passed / 86_400),
        _ => format!("{} y", passed / 31_536_000),
    };
    if seconds > 0 { format!("{text} ago") } else { format!("in {text}") }
}

/// A time as the journal has it (RFC 3339), by the operator's clock, and how long ago that was: `2026-03-01 22:14:07
/// (5 m ago)`. What is no time stays as it is.
pub fn moment(text: &str, now: Timestamp) -> String {
    let Ok(then) = text.parse::<Timestamp>() else { return text.to_owned() };
    let shown = then.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S");
    format!("{shown} ({})", age(then, now))
}

/// A count with its thousands apart: `9 800`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// A count in an event's unit: bytes as [`size`], others as `12 tables`.
pub fn amount(count: u64, unit: &str) -> String {
    if unit == "bytes" { size(count) } else { format!("{count} {unit}") }
}

/// Units per second: `230 MB/s`, `3.5 tables/s`.
pub fn rate(per_second: f64, unit: &str) -> String {
    if unit == "bytes" {
        format!("{}/s", size(per_second.max(0.0) as u64))
    } else {
        format!("{per_second:.1} {unit}/s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal_and_never_show_a_thousand() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_234_567_890, "1.2 GB"),
            (99_940_000, "99.9 MB"),
            (230_000_000, "230 MB"),
            (999_600_000, "1.0 GB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn durations_change_their_unit_where_a_reader_would() {
        let cases = [
            (0.04, "0.0 s"),
            (9.94, "9.9 s"),
            (9.96, "10 s"),
            (59.6, "1 m 00 s"),
            (125.0, "2 m 05 s"),
            (3725.0, "1 h 02 m"),
        ];
        for (given, text) in cases {
            assert_eq!(seconds(given), text);
        }
        assert_eq!(seconds(f64::NAN), "0.0 s");
        assert_eq!([estimate(4.2), estimate(9.0), estimate(61.0)], ["5 s", "9 s", "1 m 01 s"]);
    }

    #[test]
    fn an_age_has_one_unit_and_may_lie_ahead() {
        let now: Timestamp = "2026-05-01T12:00:00Z".parse().unwrap();
        let cases = [
            ("2026-05-01T12:00:00Z", "just now"),
            ("2026-05-01T11:59:01Z", "59 s ago"),
            ("2026-05-01T11:00:01Z", "59 m ago"),
            ("2026-05-01T08:59:00Z", "3 h ago"),
            ("2026-04-30T11:00:00Z", "1 d ago"),
            ("2025-05-01T12:00:00Z", "365 d ago"),
            ("2023-05-01T12:00:00Z", "3 y ago"),
            ("2026-05-01T12:05:30Z", "in 5 m"),
        ];
        for (then, text) in cases {
            assert_eq!(age(then.parse().unwrap(), now), text);
        }
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 9_800, 1_234_567].map(count), ["0", "999", "9 800", "1 234 567"]);
    }

    #[test]
    fn rates_follow_their_unit() {
        assert_eq!((rate(230e6, "bytes"), rate(3.46, "tables")), ("230 MB/s".into(), "3.5 tables/s".into()));
    }
}
