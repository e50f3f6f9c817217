//! Writing to stdout and stderr without a panic when nobody reads any more.

use std::io::Write;

/// Writes a text to stdout. `pgscript list | head -1` ends it early, which is no error.
pub fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Writes a message to stderr.
pub fn complain(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// `45 s`, `2 m 05 s`, `1 h 02 m`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 10.0 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} m {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} m", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_an_operator_says_them() {
        assert_eq!(duration(1.26), "1.3 s");
        assert_eq!(duration(45.2), "45 s");
        assert_eq!(duration(125.0), "2 m 05 s");
        assert_eq!(duration(3725.0), "1 h 02 m");
    }
}
