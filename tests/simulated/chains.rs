//! A run that is killed, taken up, killed one line later, taken up again …: the upgrade comes to its end all the same,
//! and so does its way back.

use serde_json::Value;

use crate::kills::chain::{self, Upgrade};
use crate::kills::{self, Ended};
use crate::simulated::site::Site;

struct Killed {
    site: Site,
    strategy: &'static str,
}

impl Killed {
    fn up(strategy: &'static str) -> Self {
        Self { site: Site::up(), strategy }
    }
}

impl Upgrade for Killed {
    #[track_caller]
    fn killed_at(&self, instant: &str) {
        kills::killed_at(&mut self.site.script("upgrade.rhai", &["--set", self.strategy]), instant);
    }

    #[track_caller]
    fn go_on(&self, verb: &str, instant: &str) -> Ended {
        kills::gone_on(&mut self.site.pgscript(&[verb, "upgrade-1", "--yes"]), instant)
    }

    fn journal(&self) -> Vec<Value> {
        kills::journal(&self.site.store().join("upgrade-1"))
    }
}

#[track_caller]
fn chain_of_resumes(name: &str, strategy: &'static str) {
    let killed = Killed::up(strategy);
    let kills = chain::of_resumes(&killed);
    killed.site.has_moved_on();
    killed.site.rollback().expect(0, &["is rolled back"]);
    killed.site.is_back();
    kills::count(name, kills, kills);
}

#[test]
fn killed_again_and_again_while_it_resumes_the_upgrade_comes_to_its_end() {
    chain_of_resumes("simulated chain of resumes", "strategy=dump");
}

#[test]
fn killed_again_and_again_while_it_resumes_the_upgrade_of_a_copy_comes_to_its_end() {
    chain_of_resumes("simulated chain of resumes of the copy", "strategy=pg_upgrade");
}

#[test]
fn killed_again_and_again_while_it_is_rolled_back_the_old_server_returns() {
    let killed = Killed::up("strategy=pg_upgrade");
    killed.site.is_upgraded(killed.site.upgrade(&["--set", killed.strategy]));
    let kills = chain::of_rollbacks(&killed);
    killed.site.is_back();
    kills::count("simulated chain of rollbacks", kills, kills);
}
