//! Extra vars in a private file, so that no value appears in any argv.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::world::error::{Error, Result};

/// A file of 0600 in a directory of 0700, both gone when this is dropped.
pub struct PrivateVars {
    dir: PathBuf,
}

impl PrivateVars {
    pub fn write(vars: &Map<String, Value>) -> Result<Self> {
        let mut random = [0u8; 12];
        getrandom::fill(&mut random).map_err(|e| Error::failed("host.io", format!("no random numbers: {e}")))?;
        let name: String = random.iter().map(|b| format!("{b:02x}")).collect();
        let dir = std::env::temp_dir().join(format!("pgscript-{name}"));
        DirBuilder::new().mode(0o700).create(&dir).map_err(|e| Error::io("create", dir.display(), &e))?;
        let file = Self { dir };
        let path = file.path();
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut f| f.write_all(render(&Value::Object(vars.clone())).as_bytes()))
            .map_err(|e| Error::io("write", path.display(), &e))?;
        Ok(file)
    }

    pub fn path(&self) -> PathBuf {
        self.dir.join("extra-vars.yml")
    }
}

impl Drop for PrivateVars {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and the directory is private.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// JSON, which Ansible reads as YAML; a text that looks like a template is marked `!unsafe`, because Ansible
/// would otherwise evaluate it: a password may hold `{{`.
fn render(value: &Value) -> String {
    match value {
        Value::String(text) if ["{{", "{%", "{#"].iter().any(|t| text.contains(t)) => format!("!unsafe {value}"),
        Value::Array(items) => format!("[{}]", items.iter().map(render).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pairs = map.iter().map(|(k, v)| format!("{}: {}", Value::from(k.as_str()), render(v)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_file_is_private_and_goes_away() {
        let vars = serde_json::json!({"a": 1, "b": ["x", {"c": null}], "p": "x{{ y"});
        let file = PrivateVars::write(vars.as_object().unwrap()).unwrap();
        let path = file.path();
        let mode = |p: &std::path::Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, r#"{"a": 1, "b": ["x", {"c": null}], "p": !unsafe "x{{ y"}"#);
        drop(file);
        assert!(!path.parent().unwrap().exists());
    }
}
