//! The closed list of errors that a restore may meet without losing anything. What is not on it is fatal.

use super::messages::Message;

/// What was known of the target before the restore.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The role that restores.
    pub superuser: String,
    pub roles: Vec<String>,
    pub tablespaces: Vec<String>,
}

/// Why an error is no loss, or `None`. `dropping` says that it comes from the part of a dump made with `--clean` that
/// only drops what is about to be created.
pub fn expected(message: &Message, known: &Known, dropping: bool) -> Option<&'static str> {
    let text = message.text.as_str();
    match message.sqlstate.as_str() {
        "42710" => {
            let existed = |names: &[String], name: &str| names.iter().any(|known| known == name);
            if let Some(role) = between(text, "role \"", "\" already exists") {
                if role == known.superuser {
                    return Some("the role that restores is there already; its attributes and password follow");
                }
                return existed(&known.roles, role)
                    .then_some("the role was there before; its attributes and password follow");
            }
            let tablespace = between(text, "tablespace \"", "\" already exists")?;
            existed(&known.tablespaces, tablespace).then_some("the tablespace was there before")
        }
        "42P04" => match between(text, "database \"", "\" already exists")? {
            // A fresh cluster has both; they were made empty before.
            "postgres" | "template1" => Some("every cluster has this database; the dump fills it"),
            _ => None,
        },
        "55006" => match text {
            "current user cannot be dropped" => {
                Some("the role that restores stays; its attributes and password follow")
            }
            "cannot drop the currently open database" => {
                Some("the database that the restore begins in is empty and stays")
            }
            _ => None,
        },
        "42704" if dropping => between(text, "role \"", "\" does not exist")
            .or_else(|| between(text, "tablespace \"", "\" does not exist"))
            .map(|_| "the dump drops what a new cluster does not have"),
        "3D000" if dropping => {
            between(text, "database \"", "\" does not exist").map(|_| "the dump drops what a new cluster does not have")
        }
        "2BP01" if dropping => between(text, "role \"", "\" cannot be dropped because some objects depend on it")
            .map(|_| "the role stays; its attributes and password follow"),
        _ => None,
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.strip_suffix(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known {
            superuser: "primero".into(),
            roles: vec!["primero".into(), "app".into(), "we\"ird".into()],
            tablespaces: vec!["fast".into()],
        }
    }

    fn is_expected(sqlstate: &str, text: &str, dropping: bool) -> bool {
        let message =
            Message { severity: "ERROR".into(), sqlstate: sqlstate.into(), text: text.into(), ..Message::default() };
        expected(&message, &known(), dropping).is_some()
    }

    #[test]
    fn what_a_cluster_has_already_is_expected() {
        assert!(is_expected("42710", "role \"primero\" already exists", false));
        assert!(is_expected("42710", "role \"we\"ird\" already exists", false));
        assert!(is_expected("42710", "tablespace \"fast\" already exists", false));
        assert!(is_expected("42P04", "database \"postgres\" already exists", false));
        assert!(is_expected("55006", "current user cannot be dropped", true));
        assert!(is_expected("55006", "cannot drop the currently open database", true));
    }

    #[test]
    fn what_a_clean_dump_drops_in_vain_is_expected_only_while_it_drops() {
        for (state, text) in [
            ("42704", "role \"x\" does not exist"),
            ("3D000", "database \"x\" does not exist"),
            ("2BP01", "role \"app\" cannot be dropped because some objects depend on it"),
        ] {
            assert!(is_expected(state, text, true), "{text}");
            assert!(!is_expected(state, text, false), "{text}");
        }
    }

    #[test]
    fn everything_else_is_fatal() {
        for (state, text) in [
            ("42710", "role \"other\" already exists"),
            ("42710", "extension \"primero\" already exists"),
            ("42P04", "database \"primero_production\" already exists"),
            ("55006", "database \"primero_production\" is being accessed by other users"),
            ("42P07", "relation \"t\" already exists"),
            ("23505", "duplicate key value violates unique constraint \"t_pkey\""),
            ("42601", "syntax error at or near \"x\""),
            ("0A000", "extension \"postgis\" is not available"),
            ("22021", "invalid byte sequence for encoding \"UTF8\": 0x00"),
            ("57P01", "terminating connection due to administrator command"),
            ("", "invalid command \\restrict"),
        ] {
            assert!(!is_expected(state, text, true), "{text}");
        }
    }
}
