//! On which port the server of a container listens, as far as its container tells without asking it.
//!
//! A server takes the port of its command line before that of `postgresql.conf`, and that before `PGPORT`. What is in
//! `postgresql.conf` only the running server tells, in its lock file; see [`said_port`].

use super::container::Container;

/// The port where nobody has said another one.
const DEFAULT: u16 = 5432;

/// Where the official image keeps the cluster when nothing else is said.
pub const DATA_DIRECTORY: &str = "/var/lib/postgresql/data";

/// Part of a shell script: prints the port of the server whose data directory is `$1`, or nothing where none runs.
/// `postmaster.pid` has it in its fourth line.
pub const SAY_PORT: &str = r#"sed -n 4p "$1/postmaster.pid" 2>/dev/null"#;

/// The port that the container's command or environment names, else PostgreSQL's own.
pub fn port(container: &Container) -> u16 {
    let told = setting(&container.argv(), "-p", "port").or_else(|| container.variable("PGPORT"));
    told.and_then(said_port).unwrap_or(DEFAULT)
}

/// A port as somebody has written it.
pub fn said_port(text: &str) -> Option<u16> {
    text.trim().parse().ok().filter(|port| *port > 0)
}

/// The directory in which the server has its lock file.
pub fn data_directory(container: &Container) -> String {
    let told = setting(&container.argv(), "-D", "data_directory").or_else(|| container.variable("PGDATA"));
    told.unwrap_or(DATA_DIRECTORY).to_owned()
}

/// The value of a setting on a server's command line, in all forms that `postgres` takes: `-p 5433`, `-p5433`,
/// `-c port=5433`, `-cport=5433`, `--port=5433`. The last one wins.
fn setting<'a>(argv: &[&'a str], letter: &str, name: &str) -> Option<&'a str> {
    let assigned = |word: &'a str| {
        let (left, value) = word.split_once('=')?;
        left.replace('-', "_").eq_ignore_ascii_case(name).then_some(value)
    };
    let at = |index: usize| {
        let next = || argv.get(index + 1).copied();
        let word = argv[index];
        if let Some(long) = word.strip_prefix("--") {
            return assigned(long);
        }
        if let Some(rest) = word.strip_prefix("-c") {
            return assigned(if rest.is_empty() { next()? } else { rest });
        }
        word.strip_prefix(letter).and_then(|rest| if rest.is_empty() { next() } else { Some(rest) })
    };
    (0..argv.len()).rev().find_map(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_read_in_every_form_that_postgres_takes() {
        let forms: [&[&str]; 6] = [
            &["-p", "5433"],
            &["-p5433"],
            &["-c", "port=5433"],
            &["-cport=5433"],
            &["--port=5433"],
            &["-c", "shared_buffers=1GB", "-c", "PORT=5433", "-c", "fsync=off"],
        ];
        for form in forms {
            let argv = [&["docker-entrypoint.sh", "postgres"], form].concat();
            assert_eq!(setting(&argv, "-p", "port").and_then(said_port), Some(5433), "{form:?}");
        }
    }

    #[test]
    fn the_last_one_wins_and_others_are_none() {
        let argv = ["postgres", "-p", "5433", "-c", "port=5434", "-c", "superuser_reserved_connections=3"];
        assert_eq!(setting(&argv, "-p", "port"), Some("5434"));
        assert_eq!(setting(&["postgres", "-c", "ssl_port=1", "--port-range=2", "-c"], "-p", "port"), None);
        assert_eq!(setting(&["sh", "-c", "exec postgres"], "-p", "port"), None);
        assert_eq!(setting(&["postgres", "-D", "/data"], "-D", "data_directory"), Some("/data"));
        assert_eq!(setting(&["postgres", "--data-directory=/data"], "-D", "data_directory"), Some("/data"));
    }

    #[test]
    fn what_is_no_port_is_none() {
        assert_eq!(said_port("5433\n"), Some(5433));
        for text in ["", "0", "70000", "x", "/var/run/postgresql"] {
            assert_eq!(said_port(text), None, "{text:?}");
        }
    }
}
