//! The engine is elsewhere: every procedure over SSH, where no volume is reached at its mount point and each primitive
//! needs a helper container, also when no container mounts the volume any more.

use std::process::Command;

use super::after::Site;
use crate::ssh::{ALIAS, Ssh};
use crate::stack::{Run, run};

struct Remote {
    ssh: Ssh,
    site: Site,
}

impl Remote {
    fn up() -> Option<Self> {
        Some(Self { ssh: Ssh::start()?, site: Site::up() })
    }

    fn over_ssh(&self, mut command: Command) -> Run {
        self.ssh.dress(&mut command).env("PGSCRIPT_STORE", &self.site.stack.base);
        run(&mut command)
    }

    fn upgrade(&self, args: &[&str]) -> Run {
        self.over_ssh(self.site.stack.upgrade_command(17, &[&["--docker", ALIAS], args].concat()))
    }

    /// A later command: that the engine is reached over SSH is known from the journal.
    fn pgscript(&self, args: &[&str]) -> Run {
        self.over_ssh(self.site.stack.pgscript(args))
    }

    fn script(&self, name: &str) -> Run {
        self.pgscript(&["run", name, "--docker", ALIAS, "--yes", "--set", "run=upgrade-1"])
    }

    #[track_caller]
    fn is_cleaned_up(&self) {
        self.script("cleanup.rhai").expect(0, &["Removed."]);
        assert_eq!(self.site.stack.kept_volumes(), Vec::<String>::new());
        self.site.stack.no_helpers_left();
        assert_eq!(self.site.stack.content(), self.site.before);
    }
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn remote_no_way_back_is_none_any_more() {
    let Some(remote) = Remote::up() else { return };
    let stack = &remote.site.stack;
    let old_image = stack.inspect("postgres", "{{.Image}}");
    remote.site.is_upgraded(remote.upgrade(&[]));
    // The keeper holds on to the old server's image as well: nobody's `docker image prune` takes it.
    let kept = stack.kept_volumes();
    assert_eq!(stack.docker(&["inspect", "-f", "{{.Image}}", &format!("{}-keeper", kept[0])]), old_image);
    remote.pgscript(&["rollback", "--yes"]).expect(0, &["is rolled back"]);
    remote.site.is_back();
    remote.is_cleaned_up();
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn over_ssh_without_a_kept_volume_the_backup_brings_the_old_server_back() {
    let Some(remote) = Remote::up() else { return };
    remote.site.is_upgraded(remote.upgrade(&["--set", "keep_volume=no"]));
    assert_eq!(remote.site.stack.kept_volumes(), Vec::<String>::new());
    remote.pgscript(&["rollback", "--yes"]).expect(0, &["is rolled back"]);
    remote.site.is_back();
    remote.is_cleaned_up();
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn over_ssh_the_way_back_without_a_journal_works_and_an_upgrade_is_cleaned_up() {
    let Some(remote) = Remote::up() else { return };
    remote.site.is_upgraded(remote.upgrade(&[]));
    remote.script("rollback.rhai").expect(0, &["runs on PostgreSQL 13 again"]);
    remote.site.is_back();
    remote.is_cleaned_up();
    remote.site.is_upgraded(remote.upgrade(&[]));
    let newest = ["run", "cleanup.rhai", "--docker", ALIAS, "--yes"];
    remote.pgscript(&newest).expect(0, &["Removed."]);
    assert_eq!(remote.site.stack.kept_volumes(), Vec::<String>::new());
    remote.site.stack.no_helpers_left();
}
