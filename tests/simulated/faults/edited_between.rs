//! A script that is edited in the middle of the night, after its run has failed: what is recorded stays, and what is
//! mended is shown before it is gone by.

use std::path::PathBuf;

use crate::program::{Run, run};
use crate::simulated::site::Site;

/// A stack whose upgrade has failed after the commit, because of a mistake in the site's copy of the script.
struct Night {
    site: Site,
    script: PathBuf,
    /// The script as it has failed.
    text: String,
}

const MISTAKE: &str = "new_server::take_place(record, fresh, proved.identifer);";
const MENDED: &str = "new_server::take_place(record, fresh, proved.identifier);";

impl Night {
    fn falls() -> Self {
        let site = Site::up();
        let script = site.edited("upgrade.rhai", MENDED, MISTAKE);
        run(&mut site.script(&script.display().to_string(), &[]))
            .expect(1, &["✗ failed in step `put the new cluster in place`", "next: pgscript resume upgrade-1 "]);
        let text = std::fs::read_to_string(&script).unwrap();
        Self { site, script, text }
    }

    fn resume(&self, arguments: &[&str]) -> Run {
        run(&mut self.site.pgscript(&[&["resume", "upgrade-1"], arguments].concat()))
    }

    /// With this script the run is not gone on with, also when the change is accepted; nothing is done.
    #[track_caller]
    fn refuses(&self, text: &str, diff: &str, steps: &[&str]) {
        std::fs::write(&self.script, text).unwrap();
        let containers = self.site.containers();
        self.resume(&[]).expect(3, &["error[run.edited_script]", diff, "--accept-changes", "--as-recorded"]);
        self.resume(&["--accept-changes"]).expect(3, &["error[run.changed_sequence]"]).expect(3, steps);
        assert_eq!(self.site.containers(), containers);
        let status = self.site.status();
        assert!(status.contains("upgrade-1: failed") && status.contains("Your data is safe"), "{status}");
    }

    /// The text without what begins and ends so.
    #[track_caller]
    fn without(&self, begin: &str, end: &str) -> String {
        let from = self.text.find(begin).unwrap();
        let to = from + self.text[from..].find(end).unwrap() + end.len();
        format!("{}{}", &self.text[..from], &self.text[to..])
    }
}

#[test]
fn a_step_added_before_renamed_or_removed_is_refused_and_a_mended_body_is_taken() {
    let night = Night::falls();
    let first = "let plan = step(\"preflight\"";
    let added = night.text.replacen(first, &format!("step(\"look around\", || ui::say(\"here\"));\n{first}"), 1);
    night.refuses(&added, "+step(\"look around\"", &["+look around"]);
    let renamed = night.text.replacen("step(\"dump the cluster\"", "step(\"take a dump\"", 1);
    night.refuses(&renamed, "+    step(\"take a dump\"", &["-dump the cluster", "+take a dump"]);
    let removed = night.without("step(\"prove the login\"", "undo: false });\n");
    night.refuses(&removed, "-step(\"prove the login\"", &["-prove the login"]);

    std::fs::write(&night.script, night.text.replace(MISTAKE, MENDED)).unwrap();
    night.resume(&[]).expect(3, &["error[run.edited_script]", MISTAKE, MENDED, "nothing was done"]);
    let done = night.resume(&["--accept-changes"]).expect(0, &["accepted change of", MENDED, "(done before)"]);
    night.site.is_upgraded(done);
    // The way back is that of the script as it was mended.
    night.site.rollback().expect(0, &["is rolled back"]);
    night.site.is_back();
}
