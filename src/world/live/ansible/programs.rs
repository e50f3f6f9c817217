//! Where a site's Ansible programs are, and the environment they run in.

use std::env;
use std::path::{Component, Path, PathBuf};

use crate::world::ansible::Site;
use crate::world::error::{Error, Result};
use crate::world::live::process::{find_program, is_program};

/// The programs of one installation.
#[derive(Debug)]
pub struct Programs {
    /// The virtual environment's directory of programs; `PATH` when `None`.
    bin: Option<PathBuf>,
}

impl Programs {
    /// Finds the installation a site names. `ansible.not_installed` says where it was looked for.
    pub fn find(site: &Site) -> Result<Self> {
        let Some(named) = &site.virtualenv else {
            search_path("ansible-playbook")?;
            return Ok(Self { bin: None });
        };
        // The programs start in the site's directory, where a relative path would mean another place.
        let named = std::path::absolute(site.dir.join(named)).unwrap_or_else(|_| site.dir.join(named));
        let mut tried = Vec::new();
        match virtualenv_bin(&named, &mut tried) {
            Some(bin) => Ok(Self { bin: Some(bin) }),
            None => Err(not_in_virtualenv(&named, &tried)),
        }
    }

    /// The program to start: an absolute path for a virtual environment.
    pub fn path(&self, program: &str) -> Result<String> {
        let path = match &self.bin {
            None => search_path(program)?,
            Some(bin) if is_program(&bin.join(program)) => bin.join(program),
            Some(bin) => return Err(not_installed(format!("there is no {program} in {}", bin.display()))),
        };
        Ok(path.to_string_lossy().into_owned())
    }

    /// What activating the environment would set, and output that can be read by a program.
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut env: Vec<(String, String)> =
            [("ANSIBLE_NOCOLOR", "1"), ("ANSIBLE_FORCE_COLOR", "0"), ("PYTHONUNBUFFERED", "1")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into();
        if let Some(bin) = &self.bin {
            let root = bin.parent().unwrap_or(bin);
            env.push(("VIRTUAL_ENV".into(), root.to_string_lossy().into_owned()));
            let rest = env::var_os("PATH").unwrap_or_default();
            let dirs = [bin.clone()].into_iter().chain(env::split_paths(&rest));
            if let Ok(path) = env::join_paths(dirs) {
                env.push(("PATH".into(), path.to_string_lossy().into_owned()));
            }
            // Python takes an empty one as unset; a set one would lead it out of the environment.
            if env::var_os("PYTHONHOME").is_some() {
                env.push(("PYTHONHOME".into(), String::new()));
            }
        }
        // Ansible refuses to start in another locale, and a service's environment often has none.
        if !locale_is_utf8() {
            env.push(("LC_ALL".into(), "C.UTF-8".into()));
        }
        env
    }
}

fn locale_is_utf8() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|n| env::var(n).ok().filter(|v| !v.is_empty()));
    set.is_some_and(|v| v.to_ascii_lowercase().replace('-', "").contains("utf8"))
}

fn not_installed(message: String) -> Error {
    Error::unavailable("ansible.not_installed", message)
}

fn not_in_virtualenv(named: &Path, tried: &[PathBuf]) -> Error {
    let state = if named.exists() { "has no ansible-playbook" } else { "does not exist" };
    let tried: Vec<String> = tried.iter().map(|p| p.join("ansible-playbook").display().to_string()).collect();
    not_installed(format!("the virtual environment {} {state} (looked for {})", named.display(), tried.join(", ")))
        .hint("name the directory that holds bin/ansible-playbook, or leave the virtual environment out to use PATH")
}

fn search_path(program: &str) -> Result<PathBuf> {
    find_program(program).ok_or_else(|| {
        let path = env::var_os("PATH").unwrap_or_default();
        not_installed(format!("there is no {program} in PATH ({})", path.to_string_lossy()))
            .hint("install Ansible, or name the virtual environment that holds it")
    })
}

/// The directory of programs for an environment's directory or its `bin/activate`. Where `activate` is a site's
/// own wrapper, the real environment is read out of it or looked for near it; it is never run, since
/// it may open an interactive shell.
fn virtualenv_bin(named: &Path, tried: &mut Vec<PathBuf>) -> Option<PathBuf> {
    let named = tidy(named);
    if named.is_dir() {
        return first_with_playbook([named.join("bin"), named.clone()], tried);
    }
    let beside = named.parent().unwrap_or(Path::new("/")).to_path_buf();
    if let Some(bin) = first_with_playbook([beside.clone()], tried) {
        return Some(bin);
    }
    let script = std::fs::read_to_string(&named).ok()?;
    let written = script.lines().filter_map(|line| named_in(line, &beside));
    let near = [beside.as_path(), &beside.join(".."), &beside.join("../..")]
        .into_iter()
        .flat_map(|dir| ["venv", ".venv"].map(|v| dir.join(v).join("bin")))
        .collect::<Vec<_>>();
    first_with_playbook(written.chain(near), tried)
}

fn first_with_playbook(dirs: impl IntoIterator<Item = PathBuf>, tried: &mut Vec<PathBuf>) -> Option<PathBuf> {
    for dir in dirs.into_iter().map(|d| tidy(&d)) {
        if is_program(&dir.join("ansible-playbook")) {
            return Some(dir);
        }
        if !tried.contains(&dir) {
            tried.push(dir);
        }
    }
    None
}

/// The directory of programs that a line of a wrapper names: `VIRTUAL_ENV=DIR` or `source DIR/bin/activate`.
fn named_in(line: &str, beside: &Path) -> Option<PathBuf> {
    let line = line.trim().trim_start_matches("export ");
    let value = |text: &str| {
        let text = text.trim().trim_matches(['"', '\'']);
        expand(text, beside)
    };
    if let Some(dir) = line.strip_prefix("VIRTUAL_ENV=") {
        return Some(value(dir)?.join("bin"));
    }
    let words = line.split(['&', ';']).map(str::trim);
    let sourced = words.filter_map(|w| w.strip_prefix("source ").or_else(|| w.strip_prefix(". "))).next()?;
    let path = value(sourced)?;
    path.ends_with("activate").then(|| path.parent().map(Path::to_path_buf)).flatten()
}

/// A path as a shell would read it, for the few forms wrappers use; `None` when it needs a real shell.
fn expand(text: &str, beside: &Path) -> Option<PathBuf> {
    let home = env::var("HOME").unwrap_or_default();
    let here = beside.to_string_lossy();
    let mut text = text.to_owned();
    for own in ["$(dirname \"$0\")", "$(dirname $0)", "$(dirname \"${BASH_SOURCE[0]}\")", "$(dirname \"$BASH_SOURCE\")"]
    {
        text = text.replace(own, &here);
    }
    text = text.replace("${HOME}", &home).replace("$HOME", &home);
    if let Some(rest) = text.strip_prefix("~/") {
        text = format!("{home}/{rest}");
    }
    (!text.is_empty() && !text.contains(['$', '`', '"'])).then(|| beside.join(text))
}

/// Without `.` and `..`, so that messages show the place itself. Links are not followed: a virtual environment's
/// programs are found by the path they are called by.
fn tidy(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if out.file_name().is_some() => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn program(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn bin(dir: &Path, named: &str) -> Option<PathBuf> {
        let site = Site { dir: dir.into(), virtualenv: Some(named.into()), ..Site::default() };
        Programs::find(&site).ok()?.bin
    }

    #[test]
    fn a_directory_its_bin_and_its_activate_all_name_it() {
        let dir = tempfile::tempdir().unwrap();
        program(&dir.path().join("venv/bin/ansible-playbook"));
        let found = Some(dir.path().join("venv/bin"));
        for named in ["venv", "venv/bin", "venv/bin/activate", "./x/../venv"] {
            assert_eq!(bin(dir.path(), named), found, "{named}");
        }
    }

    #[test]
    fn a_wrapper_is_read_but_never_run() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real/bin");
        program(&real.join("ansible-playbook"));
        let wrapper = dir.path().join("site/bin/activate");
        std::fs::create_dir_all(wrapper.parent().unwrap()).unwrap();
        for text in [
            format!("export VIRTUAL_ENV=\"{}\"\nexec bash -i", dir.path().join("real").display()),
            format!("cd x && source {}/activate && bash", real.display()),
            ". \"$(dirname \"$0\")/../../real/bin/activate\"\n".to_owned(),
        ] {
            std::fs::write(&wrapper, &text).unwrap();
            assert_eq!(bin(dir.path(), "site/bin/activate"), Some(real.clone()), "{text}");
        }
    }

    #[test]
    fn a_wrapper_that_says_nothing_is_looked_around() {
        let dir = tempfile::tempdir().unwrap();
        program(&dir.path().join("top/venv/bin/ansible-playbook"));
        let wrapper = dir.path().join("top/ansible/bin/activate");
        std::fs::create_dir_all(wrapper.parent().unwrap()).unwrap();
        std::fs::write(&wrapper, "#!/usr/bin/env python3\n").unwrap();
        assert_eq!(bin(dir.path(), "top/ansible/bin/activate"), Some(dir.path().join("top/venv/bin")));
    }

    #[test]
    fn the_error_names_what_was_looked_for() {
        let site = Site { dir: "/srv/site".into(), virtualenv: Some("nowhere/venv".into()), ..Site::default() };
        let error = Programs::find(&site).unwrap_err();
        assert_eq!(error.code, "ansible.not_installed");
        assert!(error.message.contains("/srv/site/nowhere/venv does not exist"), "{}", error.message);
    }
}
