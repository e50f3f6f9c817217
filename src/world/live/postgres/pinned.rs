//! Extensions that a newer version keeps in a schema of its own choice (`pg_cron` is in `pg_catalog` by now): a dump
//! creates them where they were, which the new server refuses. Created beforehand, where they have to be, they are left
//! alone by what the dump says.

use std::path::Path;

use super::archive::{self, Source};
use super::client::{Client, connection_string};
use super::psql;
use super::watch::Watch;
use crate::event::Event;
use crate::world::error::Result;
use crate::world::session::Purpose;

/// The extension that a restore stumbled over, by what the server said.
pub fn extension(message: &str) -> Option<String> {
    let (before, _) = message.split_once("\" must be installed in schema \"")?;
    before.rsplit_once("extension \"").map(|(_, name)| name.to_owned())
}

/// Creates a database as the dump has it, without what is in it, and these extensions there.
pub fn create(
    client: &Client<'_>,
    root: &Path,
    (path, name): (&str, &str),
    maintenance: &str,
    extensions: &[String],
) -> Result<()> {
    let context = &client.clients.context;
    context.emit(Event::Say { text: format!("{name}: {} first, in the new version's schema", extensions.join(", ")) });
    let listing = archive::listing(client, root, path)?;
    let own: String = listing.lines().filter(|line| is_of_database(line)).map(|line| format!("{line}\n")).collect();
    let connection = connection_string(maintenance);
    let mut argv = archive::RESTORE.to_vec();
    argv.extend(["--use-list", "/dev/stdin", "--dbname", &connection]);
    let mut watch = Watch::new(context, "restore.unexpected_error", None);
    Source::open(client, root, path)?.pg_restore_of(client, &argv, &mut own.as_bytes(), &mut watch)?;
    create_extensions(client, name, extensions)
}

/// Creates extensions where they have to be.
pub fn create_extensions(client: &Client<'_>, database: &str, extensions: &[String]) -> Result<()> {
    let statements: String = extensions
        .iter()
        .map(|extension| format!("CREATE EXTENSION IF NOT EXISTS \"{}\" CASCADE;\n", extension.replace('"', "\"\"")))
        .collect();
    let session = psql::Psql::new(client, database).purpose(Purpose::Loading);
    session.run(&mut statements.as_bytes(), &mut std::io::sink())
}

/// Whether a line of a table of contents is about the database itself: it, its settings, rights and comment.
fn is_of_database(line: &str) -> bool {
    let Some(entry) = line.splitn(4, ' ').nth(3) else { return false };
    ["DATABASE ", "DATABASE PROPERTIES ", "ACL - DATABASE ", "COMMENT - DATABASE ", "SECURITY LABEL - DATABASE "]
        .iter()
        .any(|kind| entry.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_the_database_itself_and_which_extension_it_was() {
        let lines = [
            "3458; 1262 16385 DATABASE - app primero",
            "3459; 0 0 ACL - DATABASE app primero",
            "3460; 0 0 COMMENT - DATABASE app primero",
            "3461; 0 0 DATABASE PROPERTIES - app primero",
        ];
        assert!(lines.iter().all(|line| is_of_database(line)));
        assert!(!is_of_database("2; 3079 16400 EXTENSION - pg_cron "));
        assert!(!is_of_database("; Archive created at 2026-01-01"));
        let message = "ERROR:  extension \"pg_cron\" must be installed in schema \"pg_catalog\"";
        assert_eq!(extension(message).as_deref(), Some("pg_cron"));
        assert_eq!(extension("extension \"pg_cron\" is not available"), None);
    }
}
