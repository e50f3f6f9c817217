//! What an upgrade keeps beside the new server: what it survives, what a rollback says before it uses it, and when it
//! ends.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::after::{Site, files};
use super::engines::Engine;
use super::wayback::is_cleaned_up;
use crate::procedure::upgrades::private;
use crate::stack::{Watched, sh};

/// An upgraded stack.
fn upgraded(site: &Site, args: &[&str]) {
    site.is_upgraded(site.stack.upgrade(17, args));
}

/// The file system object that holds a cluster's version: another one after any copy.
fn identity(site: &Site, volume: &str) -> u64 {
    let mount_point = site.stack.docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", volume]);
    std::fs::metadata(Path::new(&mount_point).join("PG_VERSION")).unwrap().ino()
}

/// What the site does every day: the playbook's tag `prune`, and the job that removes exited containers.
fn tidied_up(site: &Site) {
    let nobodys = format!("{}-nobodys", site.stack.name);
    site.stack.docker(&["volume", "create", &nobodys]);
    let exited = site.stack.docker(&["run", "--detach", "--entrypoint", "true", "pgscript-test/app:1"]);
    site.stack.docker(&["wait", &exited]);
    // From engine 23 on named volumes are only pruned with --all.
    let version = site.stack.docker(&["version", "--format", "{{.Server.Version}}"]);
    let is_old = version.split('.').next().unwrap().parse::<u32>().unwrap() < 23;
    let prune: &[&str] = &["volume", "prune", "--force", "--all"];
    site.stack.docker(if is_old { &prune[..3] } else { prune });
    assert!(!site.stack.docker(&["volume", "ls", "--quiet"]).contains(&nobodys), "nothing was pruned");
    let found = site.stack.docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", "status=exited"]);
    assert!(found.contains(&exited));
    found.lines().for_each(|id| _ = site.stack.docker(&["rm", id]));
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn a_kept_volume_survives_the_daily_tidying_and_comes_back_without_a_copy() {
    let engine = Engine::start(&[]);
    let site = engine.site();
    let volume = &site.stack.volume;
    let before = identity(&site, volume);
    upgraded(&site, &[]);
    let kept = format!("{volume}_pg13_upgrade-1");
    tidied_up(&site);
    assert_eq!(site.stack.kept_volumes(), [kept]);
    let back = site.stack.rollback().expect(0, &["; mv -T ", "is rolled back"]);
    for copy in ["zstd", "cp -a"] {
        assert!(!back.text.contains(copy), "{}", back.text);
    }
    assert_eq!(identity(&site, volume), before);
    site.is_back();
    // What the new server held is kept the same way.
    tidied_up(&site);
    assert_eq!(site.stack.kept_volumes(), [format!("{volume}_pg17_upgrade-1")]);
    site.stack.cleanup().expect(0, &["Removed"]);
    assert_eq!(site.stack.kept_volumes(), Vec::<String>::new());
    site.is_back();
    drop(site);
    drop(engine);
}

/// The rest of the line that a table shows of a database's table.
#[track_caller]
fn row<'t>(text: &'t str, table: &str) -> Vec<&'t str> {
    let line = text.lines().find(|line| line.contains(&format!(" {table} "))).unwrap_or_else(|| panic!("{text}"));
    line.split_once(table).unwrap().1.split_whitespace().collect()
}

/// An image without a shell, and a container of it: the newest on the engine, and none of the stack.
struct Stranger {
    image: String,
    container: String,
}

impl Stranger {
    fn new(site: &Site) -> Self {
        let file = site.stack.dir.join("stranger.tar").display().to_string();
        sh("tar", &["-cf", &file, "-C", &site.stack.dir.display().to_string(), "postgres.env"]);
        let image = site.stack.docker(&["import", &file, &format!("pgscript-test/stranger-{}:1", site.stack.name)]);
        let label = format!("pgscript.test.stack={}", site.stack.name);
        let container = site.stack.docker(&["create", "--label", &label, &image, "/nothing"]);
        Self { image, container }
    }

    #[track_caller]
    fn has_made_no_helper(&self, site: &Site) {
        let helpers = site.stack.docker(&["ps", "-aq", "--filter", "label=pgscript.helper"]);
        for helper in helpers.lines() {
            // One of another stack may be gone by now.
            let image = ["inspect", "--format", "{{.Image}}", helper];
            let found = std::process::Command::new("docker").args(image).output().unwrap();
            assert_ne!(String::from_utf8_lossy(&found.stdout).trim(), self.image);
        }
    }

    /// As a tidying-up at night does.
    fn remove(&self, site: &Site) {
        site.stack.docker(&["rm", &self.container]);
        site.stack.docker(&["image", "rm", "--force", &self.image]);
    }
}

/// And no helper is made of an image that is no business of the run's, and that may be gone the next moment.
#[test]
fn a_rollback_tells_what_was_written_since_and_dumps_it_and_somebody_elses_image_is_left_alone() {
    let site = Site::up();
    let stranger = Stranger::new(&site);
    upgraded(&site, &[]);
    stranger.has_made_no_helper(&site);
    for sql in [
        "INSERT INTO cases SELECT i, 'late case ' || i FROM generate_series(2001, 2003) i",
        "UPDATE notes SET note = 'changed late' WHERE i <= 2",
        "DELETE FROM notes WHERE i = 100",
        "CREATE TABLE made_late AS SELECT 1 AS x",
    ] {
        site.stack.sql("primero_production", sql);
    }
    let mut back = Watched::start(site.stack.pgscript(&["rollback", "--yes"]));
    back.until("; mv -T ");
    stranger.remove(&site);
    let back = back.end().expect(0, &["written since the cutover, and not in the old server", "is rolled back"]);
    assert_eq!(row(&back.text, "public.cases"), ["2000", "2003", "3", "0", "0"]);
    assert_eq!(row(&back.text, "public.notes"), ["100", "99", "0", "2", "1"]);
    assert_eq!(row(&back.text, "public.made_late"), ["1", "1", "0", "0"]);
    assert!(!back.text.contains("public.counted"), "{}", back.text);
    site.is_back();
    private(&site.stack.artefacts());
    let late = restored_text(&site.stack.artefacts().join("written-since"), "made_late");
    for row in ["2003\tlate case 2003", "1\tchanged late", "CREATE TABLE \"public\".\"made_late\""] {
        assert!(late.contains(row), "{row:?} is not in the dump");
    }
    is_cleaned_up(&site);
}

/// What a dump restores of the database that has this table, as SQL.
fn restored_text(dump: &Path, table: &str) -> String {
    let names = |file: &PathBuf| {
        file.ends_with("toc.dat") && String::from_utf8_lossy(&std::fs::read(file).unwrap()).contains(table)
    };
    let toc = files(dump).into_iter().find(names).unwrap();
    let mount = format!("{}:/dump:ro", toc.parent().unwrap().display());
    let restore = ["--entrypoint", "pg_restore", "pgscript-test/postgres:17", "-f", "-", "/dump"];
    sh("docker", &[["run", "--rm", "--user", "0", "--network", "none", "-v", &mount].as_slice(), &restore].concat())
}
