//! Statements that make, change and remove what a cluster consists of.

use super::{Session, first, named, without};
use crate::world::error::Result;
use crate::world::sim::cluster::{Database, Password, Role, Table};
use crate::world::sim::contents::parts;
use crate::world::sim::settings;
use crate::world::sim::sql::{failed, server, words};

impl Session<'_> {
    pub(super) fn create(&mut self, rest: &str) -> Result<String> {
        let (mut kind, mut rest) = first(rest);
        let is_unlogged = kind.eq_ignore_ascii_case("UNLOGGED");
        if is_unlogged {
            (kind, rest) = first(rest);
        }
        let kind = kind.to_uppercase();
        let rest = without(rest, "IF NOT EXISTS");
        let (name, more) = named(rest);
        match kind.as_str() {
            "TABLE" => self.create_table(&name, more, is_unlogged)?,
            "DATABASE" => self.create_database(&words::name(&name), more)?,
            "ROLE" | "USER" => {
                let role = words::name(&name);
                if self.cluster()?.roles.contains_key(&role) {
                    return Err(failed("42710", format!("role \"{role}\" already exists")));
                }
                let can_login = kind == "USER";
                self.cluster()?.roles.insert(role.clone(), Role { can_login, ..Role::default() });
                self.attributes(&role, more)?;
                return Ok("CREATE ROLE".into());
            }
            "EXTENSION" => self.create_extension(&words::name(&name))?,
            "SEQUENCE" => {
                let name = self.relation(&name)?;
                self.own()?.sequences.insert(name, 0);
            }
            // Gone with its session.
            "TEMPORARY" | "TEMP" => return Ok(if more.contains(" AS ") { "SELECT 0" } else { "CREATE TABLE" }.into()),
            _ => {}
        }
        self.cluster()?.advance();
        let is_filled = kind == "TABLE" && more.trim_start().starts_with("AS ");
        Ok(if is_filled { "SELECT 0".into() } else { format!("CREATE {kind}") })
    }

    fn create_table(&mut self, name: &str, more: &str, is_unlogged: bool) -> Result<()> {
        let name = self.relation(name)?;
        // What was tried in a throw-away, and is asked for again.
        if name == "public.pgscript_refused" {
            return Ok(());
        }
        if self.own()?.tables.contains_key(&name) {
            return Err(failed("42P07", format!("relation \"{}\" already exists", parts(&name).join("."))));
        }
        if more.to_lowercase().contains("serial") || more.to_lowercase().contains("as identity") {
            self.own()?.sequences.insert(format!("{name}_id_seq"), 0);
        }
        self.own()?.tables.insert(name, Table { is_unlogged, ..Table::default() });
        Ok(())
    }

    fn create_database(&mut self, name: &str, more: &str) -> Result<()> {
        let counted_since = self.state.number();
        let cluster = self.cluster()?;
        if cluster.databases.contains_key(name) {
            return Err(failed("42P04", format!("database \"{name}\" already exists")));
        }
        let owner = more.split_once("OWNER ").map(|(_, rest)| words::name(&named(rest).0)).unwrap_or_default();
        cluster.databases.insert(name.to_owned(), Database { counted_since, owner, ..Database::default() });
        Ok(())
    }

    fn create_extension(&mut self, name: &str) -> Result<()> {
        if !server::has_extension(self.state, self.container, name) {
            return Err(failed("0A000", format!("extension \"{name}\" is not available")));
        }
        let version = server::version_of(name, self.cluster()?.major);
        self.own()?.extensions.insert(name.to_owned(), version);
        Ok(())
    }

    pub(super) fn drop(&mut self, rest: &str) -> Result<String> {
        let (kind, rest) = first(rest);
        let (kind, is_lenient) = (kind.to_uppercase(), rest.to_uppercase().starts_with("IF EXISTS"));
        let (name, _) = named(without(rest, "IF EXISTS"));
        let (is_gone, what) = match kind.as_str() {
            "TABLE" => {
                let name = self.relation(&name)?;
                (self.own()?.tables.remove(&name).is_some(), format!("table \"{name}\""))
            }
            "SEQUENCE" => {
                let name = self.relation(&name)?;
                (self.own()?.sequences.remove(&name).is_some(), format!("sequence \"{name}\""))
            }
            "DATABASE" => (self.drop_database(&words::name(&name))?, format!("database \"{}\"", words::name(&name))),
            "ROLE" | "USER" => {
                let name = words::name(&name);
                (self.cluster()?.roles.remove(&name).is_some(), format!("role \"{name}\""))
            }
            "EXTENSION" => {
                let name = words::name(&name);
                (self.own()?.extensions.remove(&name).is_some(), format!("extension \"{name}\""))
            }
            _ => (true, String::new()),
        };
        if !is_gone && !is_lenient {
            return Err(failed(if kind == "DATABASE" { "3D000" } else { "42704" }, format!("{what} does not exist")));
        }
        self.cluster()?.advance();
        Ok(format!("DROP {}", if kind == "USER" { "ROLE" } else { &kind }))
    }

    fn drop_database(&mut self, name: &str) -> Result<bool> {
        if name == self.database {
            return Err(failed("55006", "cannot drop the currently open database"));
        }
        if self.state.sessions(self.container).iter().any(|session| session.database == name) {
            return Err(failed("55006", format!("database \"{name}\" is being accessed by other users")));
        }
        Ok(self.cluster()?.databases.remove(name).is_some())
    }

    pub(super) fn alter(&mut self, rest: &str) -> Result<String> {
        let (kind, rest) = first(rest);
        let kind = kind.to_uppercase();
        let (name, more) = named(rest);
        match kind.as_str() {
            "SYSTEM" => self.alter_system(rest)?,
            "ROLE" | "USER" if !name.eq_ignore_ascii_case("ALL") => {
                let role = words::name(&name);
                if !self.cluster()?.roles.contains_key(&role) {
                    return Err(failed("42704", format!("role \"{role}\" does not exist")));
                }
                self.attributes(&role, more)?;
                self.cluster()?.advance();
                return Ok("ALTER ROLE".into());
            }
            "DATABASE" => {
                let name = words::name(&name);
                let missing = || failed("3D000", format!("database \"{name}\" does not exist"));
                let cluster = self.cluster()?;
                let mut database = cluster.databases.get(&name).cloned().ok_or_else(missing)?;
                if let Some((_, new)) = more.split_once("RENAME TO ") {
                    cluster.databases.remove(&name);
                    cluster.databases.insert(words::name(new.trim()), database);
                } else if let Some((_, owner)) = more.split_once("OWNER TO ") {
                    database.owner = words::name(owner.trim());
                    cluster.databases.insert(name, database);
                }
                cluster.advance();
            }
            _ => self.cluster()?.advance(),
        }
        Ok(format!("ALTER {kind}"))
    }

    /// `SET name = value`, `SET name TO value`, `RESET name`, `RESET ALL`; what is after SYSTEM.
    fn alter_system(&mut self, rest: &str) -> Result<()> {
        let (verb, rest) = first(rest);
        let (name, value) = named(rest);
        let name = words::name(&name);
        let cluster = self.cluster()?;
        if name != "all" && !settings::is_known(&name, cluster.major) {
            return Err(failed("42704", format!("unrecognized configuration parameter \"{name}\"")));
        }
        match (verb.to_uppercase().as_str(), name.as_str()) {
            ("RESET", "all") => cluster.settings.clear(),
            ("RESET", name) => _ = cluster.settings.remove(name),
            _ => {
                let value = value.trim_start_matches(['=', ' ']);
                let value = value.strip_prefix("TO ").unwrap_or(value).trim();
                let value = words::literal(value).unwrap_or_else(|| value.to_owned());
                cluster.settings.insert(name, value);
            }
        }
        Ok(())
    }

    fn attributes(&mut self, role: &str, more: &str) -> Result<()> {
        let container = self.container;
        let kept = self.state.setting(container, "password_encryption").map(|(value, _)| value);
        let cluster = self.cluster()?;
        if let Some((_, new)) = more.split_once("RENAME TO ") {
            if let Some(found) = cluster.roles.remove(role) {
                cluster.roles.insert(words::name(new.trim()), found);
            }
            return Ok(());
        }
        let Some(found) = cluster.roles.get_mut(role) else { return Ok(()) };
        for word in more.split_whitespace() {
            match word.to_uppercase().as_str() {
                "SUPERUSER" => found.is_superuser = true,
                "NOSUPERUSER" => found.is_superuser = false,
                "LOGIN" => found.can_login = true,
                "NOLOGIN" => found.can_login = false,
                _ => {}
            }
        }
        if let Some((_, told)) = more.split_once("PASSWORD ") {
            let clear = words::literals(told).into_iter().next();
            let encryption = kept.unwrap_or_default();
            let clear = clear.filter(|_| !told.to_uppercase().starts_with("NULL"));
            found.password = clear.map(|clear| Password::kept(&encryption, &clear));
        }
        Ok(())
    }
}
