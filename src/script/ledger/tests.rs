//! What facts add up to: each rule, and what takes it away.

use std::path::{Path, PathBuf};

use super::{Ledger, Place};
use crate::script::evidence::Fact;

fn created(volume: &str) -> Fact {
    Fact::VolumeCreated { volume: volume.into() }
}

fn backed_up(volume: &str, path: &str) -> Fact {
    Fact::BackupTaken { volume: volume.into(), path: path.into(), sha256: "5a".into() }
}

fn verified(path: &str) -> Fact {
    Fact::BackupVerified { path: path.into() }
}

fn used(volume: &str) -> Fact {
    Fact::VolumeInUse { volume: volume.into() }
}

fn written(volume: &str) -> Fact {
    Fact::VolumeWritten { volume: volume.into() }
}

fn moved(from: &str, to: &str) -> Fact {
    Fact::VolumeMoved { from: from.into(), to: to.into() }
}

fn removed(volume: &str) -> Fact {
    Fact::VolumeRemoved { volume: volume.into() }
}

fn restored_volume(volume: &str, path: &str) -> Fact {
    Fact::VolumeRestored { volume: volume.into(), path: path.into(), sha256: "5a".into() }
}

fn dumped(path: &str, volume: &str, tables: u64, fenced: bool) -> Fact {
    let (path, volume, container) = (path.into(), Some(volume.into()), "old".into());
    Fact::DumpTaken { path, container, volume, system_identifier: "71".into(), tables, fenced }
}

fn dump_verified(path: &str) -> Fact {
    Fact::DumpVerified { path: path.into() }
}

fn holder(container: &str, volume: &str) -> Fact {
    Fact::Holder { container: container.into(), volume: volume.into(), started_at: "2026-01-01T00:00:00Z".into() }
}

fn restored(path: &str, container: &str) -> Fact {
    Fact::Restored { path: path.into(), container: container.into() }
}

fn compared(system_identifier: &str, after: &str, tables: u64) -> Fact {
    Fact::Compared { system_identifier: system_identifier.into(), after: after.into(), tables, rows: 7 }
}

fn of_site(volume: &str) -> Fact {
    Fact::ClusterOf { volume: volume.into(), project: "site".into() }
}

fn backup(path: &str, sha256: &str) -> Place {
    Place::Backup { path: path.into(), sha256: sha256.into() }
}

fn ledger(parts: &[&[Fact]]) -> Ledger {
    Ledger::of(&parts.concat())
}

/// An old server whose volume `db` was backed up to `/b` and dumped to `/d`, both verified, and put aside as `kept`.
fn put_aside() -> Vec<Fact> {
    vec![
        of_site("db"),
        holder("old", "db"),
        backed_up("db", "/b"),
        verified("/b"),
        dumped("/d", "db", 3, true),
        dump_verified("/d"),
        moved("db", "kept"),
    ]
}

/// A new server on our own volume `db`, into which the dump was restored.
fn restored_anew() -> Vec<Fact> {
    [put_aside(), vec![created("db"), holder("new", "db"), used("db"), restored("/d", "new")]].concat()
}

#[test]
fn a_backup_counts_from_its_verification_to_the_next_use() {
    let copies = |facts: &[Fact]| Ledger::of(facts).copies_of("db");
    let facts = [backed_up("db", "/b"), verified("/b"), used("db"), backed_up("db", "/b"), verified("/b")];
    assert_eq!(copies(&facts[..1]), []);
    assert_eq!(copies(&facts[..2]), [backup("/b", "5a")]);
    assert_eq!(copies(&facts[..3]), []);
    assert_eq!(copies(&[&facts[..2], &[written("db")]].concat()), []);
    assert_eq!(copies(&facts[..4]), [], "what was proved of the first one says nothing about the second");
    assert_eq!(copies(&facts), [backup("/b", "5a")]);
    assert_eq!(ledger(&[&facts]).copies_of("another"), []);
}

#[test]
fn the_reason_why_a_copy_does_not_count_is_known() {
    let why = |facts: &[Fact]| Ledger::of(facts).insufficient_copies_of("db").pop().map(|(_, why)| why);
    assert_eq!(why(&[backed_up("db", "/b")]), Some("was not read back"));
    let stale = [backed_up("db", "/b"), verified("/b"), used("db")];
    assert_eq!(why(&stale), Some("is older than the last use of the volume"));
    assert_eq!(why(&[dumped("/d", "db", 0, true), dump_verified("/d")]), Some("holds no table"));
}

#[test]
fn a_dump_counts_when_it_has_tables_nobody_wrote_meanwhile_and_it_was_read_back_or_compared() {
    let copies = |facts: &[Fact]| Ledger::of(facts).copies_of("db");
    let good = [dumped("/d", "db", 3, true), dump_verified("/d")];
    assert_eq!(copies(&good[..1]), []);
    assert_eq!(copies(&good), [Place::Dump { path: "/d".into() }]);
    assert_eq!(copies(&[dumped("/d", "db", 0, true), dump_verified("/d")]), []);
    assert_eq!(copies(&[dumped("/d", "db", 3, false), dump_verified("/d")]), [], "the server could be reached");
    let by_comparison = [dumped("/d", "db", 3, true), restored("/d", "new"), compared("71", "new", 3)];
    assert_eq!(copies(&by_comparison), [Place::Dump { path: "/d".into() }]);
    assert_eq!(copies(&by_comparison[..2]), []);
    let of_another = [dumped("/d", "db", 3, true), restored("/d", "new"), compared("99", "new", 3)];
    assert_eq!(copies(&of_another), []);
    let elsewhere = [dumped("/d", "db", 3, true), restored("/d", "new"), compared("71", "another", 3)];
    assert_eq!(copies(&elsewhere), []);
}

#[test]
fn a_file_that_is_written_anew_or_removed_proves_nothing() {
    let good = [backed_up("db", "/a/b"), verified("/a/b")];
    let begun = Fact::ArtefactBegun { path: "/a/b".into() };
    let gone = |path: &str| Fact::ArtefactRemoved { path: path.into() };
    assert_eq!(ledger(&[&good, &[begun]]).copies_of("db"), []);
    assert_eq!(ledger(&[&good, &[gone("/a")]]).copies_of("db"), []);
    assert_eq!(ledger(&[&good, &[gone("/a/other")]]).copies_of("db"), [backup("/a/b", "5a")]);
}

#[test]
fn a_volume_of_our_own_is_ours_until_somebody_uses_it() {
    let ours = |facts: &[Fact]| Ledger::of(facts).is_ours("db");
    assert!(ours(&[created("db")]));
    assert!(!ours(&[created("db"), used("db")]));
    assert!(ours(&[created("db"), restored_volume("db", "/b"), written("db")]), "a copy to try something on");
    assert!(!ours(&[created("db"), restored_volume("db", "/b"), used("db")]));
    assert!(!ours(&[of_site("db"), created("db"), restored_volume("db", "/b")]), "it is the data now");
    assert!(!Ledger::of(&[created("scratch"), moved("scratch", "db")]).is_ours("db"));
    assert!(!ours(&[backed_up("db", "/b")]));
    // What a deploy does to a new volume while the old one is put aside is nobody's data, until it is compared.
    assert!(ledger(&[&restored_anew()]).is_ours("db"));
    assert!(!ledger(&[&restored_anew(), &[compared("71", "new", 3)]]).is_ours("db"));
    let lifted = Fact::FenceLifted { project: "site".into() };
    assert!(!ledger(&[&restored_anew(), &[lifted]]).is_ours("db"));
}

#[test]
fn content_takes_its_proofs_along_when_it_is_moved() {
    let aside = ledger(&[&put_aside()]);
    assert_eq!(aside.copies_of("kept"), [backup("/b", "5a"), Place::Dump { path: "/d".into() }]);
    assert_eq!(aside.copies_of("db"), [], "whatever has the name now is something else");
    assert_eq!(aside.put_aside_from("kept").as_deref(), Some("db"));
    assert!(aside.keeps("kept") && !aside.keeps("db"));
    let back = ledger(&[&put_aside(), &[moved("kept", "db")]]);
    assert_eq!(back.put_aside_from("db"), None);
    assert!(!back.keeps("kept"));
    let again = ledger(&[&put_aside(), &[moved("db", "kept")]]);
    assert_eq!(again.copies_of("kept"), aside.copies_of("kept"), "a step that is run again says it again");
}

#[test]
fn a_clone_is_a_copy_until_one_of_both_is_used() {
    let cloned = Fact::VolumeCloned { from: "db".into(), to: "twin".into() };
    let twin = || vec![Place::Volume { name: "twin".into() }];
    assert_eq!(Ledger::of(std::slice::from_ref(&cloned)).copies_of("db"), twin());
    assert_eq!(Ledger::of(&[cloned.clone(), used("twin")]).copies_of("db"), []);
    assert_eq!(Ledger::of(&[cloned.clone(), used("db")]).copies_of("db"), []);
    assert_eq!(Ledger::of(&[cloned, removed("twin")]).copies_of("db"), []);
}

#[test]
fn a_removal_that_did_not_happen_takes_nothing_away() {
    let going = [of_site("db"), backed_up("db", "/b"), verified("/b"), removed("db")];
    let (stays, gone) = (Fact::VolumeStays { volume: "db".into() }, Fact::VolumeGone { volume: "db".into() });
    assert!(ledger(&[&going]).is_fenced("site"));
    let kept = ledger(&[&going, &[stays]]);
    assert_eq!(kept.copies_of("db"), [backup("/b", "5a")]);
    assert!(!kept.is_fenced("site"));
    let gone = ledger(&[&going, &[gone]]);
    assert!(gone.is_fenced("site") && !gone.knows("db"));
    assert_eq!(gone.copies_of("db"), []);
    assert_eq!(ledger(&[&going, &[used("db")]]).copies_of("db"), [], "somebody has used one of that name");
}

#[test]
fn the_last_copy_is_the_one_without_another() {
    let others = |facts: &[Fact], path: &str, gone: &[&str]| {
        let gone: Vec<PathBuf> = gone.iter().map(PathBuf::from).collect();
        Ledger::of(facts).other_copies(Path::new(path), &gone)
    };
    let both = [backed_up("db", "/b"), verified("/b"), dumped("/d", "db", 3, true), dump_verified("/d")];
    let place = |name: &str| Place::Volume { name: name.into() };
    assert_eq!(others(&both, "/b", &["/b", "/d"]), Some(vec![place("db")]), "the original is in its place");
    assert_eq!(
        others(&[&both[..], &[used("db")]].concat(), "/b", &["/b", "/d"]),
        Some(vec![place("db")]),
        "and goes on"
    );
    let without = [&both[..], &[removed("db")]].concat();
    assert_eq!(others(&without, "/b", &["/b"]), Some(vec![Place::Dump { path: "/d".into() }]));
    assert_eq!(others(&without, "/b", &["/b", "/d"]), Some(Vec::new()));
    assert_eq!(others(&put_aside(), "/b", &["/b", "/d"]), Some(vec![place("kept")]));
    let done = [restored_anew(), vec![compared("71", "new", 3), removed("kept")]].concat();
    assert_eq!(others(&done, "/b", &["/b", "/d"]), Some(vec![Place::Server]));
    assert_eq!(others(&both, "/unknown", &[]), None);
}

#[test]
fn an_older_copy_is_not_another_one_of_a_newer() {
    let facts =
        [backed_up("db", "/1"), verified("/1"), used("db"), backed_up("db", "/2"), verified("/2"), removed("db")];
    let ledger = Ledger::of(&facts);
    assert_eq!(ledger.other_copies(Path::new("/1"), &["/1".into()]), Some(vec![backup("/2", "5a")]));
    assert_eq!(ledger.other_copies(Path::new("/2"), &["/2".into()]), Some(Vec::new()));
}

#[test]
fn the_fence_is_up_from_the_move_to_the_comparison() {
    assert!(!ledger(&[&put_aside()[..6]]).is_fenced("site"));
    assert!(ledger(&[&put_aside()]).is_fenced("site"));
    assert!(!ledger(&[&put_aside()]).is_fenced("another"));
    let anew = ledger(&[&restored_anew()]);
    assert!(anew.is_fenced("site") && anew.uncompared() == ["site"] && !anew.is_settled());
    let done = ledger(&[&restored_anew(), &[compared("71", "new", 3)]]);
    assert!(!done.is_fenced("site") && done.uncompared().is_empty() && done.is_settled());
}

#[test]
fn what_the_run_has_made_to_try_something_on_leaves_no_fence() {
    let cloned = Fact::VolumeCloned { from: "db".into(), to: "twin".into() };
    let of_twin = Fact::ClusterOf { volume: "twin".into(), project: "site".into() };
    for made in [created("twin"), cloned.clone()] {
        let tried = [of_site("db"), made, of_twin.clone(), written("twin"), removed("twin")];
        assert!(!Ledger::of(&tried).is_fenced("site"));
        assert!(ledger(&[&tried, &[removed("db")]]).is_fenced("site"));
    }
    assert!(Ledger::of(&[of_site("db"), cloned, removed("db")]).is_fenced("site"), "the clone is not in its place");
}

#[test]
fn a_comparison_of_something_else_lifts_no_fence() {
    for other in [compared("71", "new", 0), compared("99", "new", 3), compared("71", "another", 3)] {
        assert!(ledger(&[&restored_anew(), std::slice::from_ref(&other)]).is_fenced("site"), "{other:?}");
    }
    // One from before the data was put aside.
    assert!(ledger(&[&[holder("new", "db"), compared("71", "new", 3)], &put_aside()]).is_fenced("site"));
}

#[test]
fn the_old_data_lifts_the_fence_where_the_server_looks_for_it() {
    let is_fenced = |more: &[Fact]| ledger(&[&restored_anew(), more]).is_fenced("site");
    assert!(is_fenced(&[moved("db", "new-data")]));
    assert!(!is_fenced(&[moved("db", "new-data"), moved("kept", "db")]));
    assert!(is_fenced(&[moved("kept", "elsewhere")]));
    assert!(!is_fenced(&[removed("db"), created("db"), restored_volume("db", "/b")]));
    assert!(is_fenced(&[created("scratch"), restored_volume("scratch", "/b")]));
    let of_new =
        [backed_up("db", "/new"), verified("/new"), removed("db"), created("db"), restored_volume("db", "/new")];
    assert!(is_fenced(&of_new), "a backup of what came in its place is not the old data");
    // Another run's backup, in a run of its own.
    let foreign = [of_site("db"), removed("db"), created("db"), verified("/b"), restored_volume("db", "/b")];
    assert!(!Ledger::of(&foreign).is_fenced("site"));
    let unread = [of_site("db"), removed("db"), created("db"), restored_volume("db", "/b")];
    assert!(Ledger::of(&unread).is_fenced("site"));
    // A volume that another run has kept.
    let kept = [of_site("db"), moved("db", "new-data"), moved("kept", "db")];
    assert!(!Ledger::of(&kept).is_fenced("site"));
    let of_our_own = [of_site("db"), moved("db", "new-data"), created("empty"), moved("empty", "db")];
    assert!(Ledger::of(&of_our_own).is_fenced("site"));
}

#[test]
fn a_finished_upgrade_is_fenced_again_while_it_is_rolled_back() {
    let finished = [restored_anew(), vec![compared("71", "new", 3)]].concat();
    assert!(ledger(&[&finished, &[moved("db", "new-data")]]).is_fenced("site"));
    let back = ledger(&[&finished, &[moved("db", "new-data"), moved("kept", "db")]]);
    assert!(!back.is_fenced("site") && back.is_settled());
}

#[test]
fn what_the_operator_lifted_does_not_count_as_settled() {
    let lifted = ledger(&[&put_aside(), &[Fact::FenceLifted { project: "site".into() }]]);
    assert!(!lifted.is_fenced("site") && !lifted.is_settled());
    assert!(!Ledger::default().is_settled(), "nothing was put aside");
}

#[test]
fn a_start_is_known_by_its_time_or_by_its_announcement() {
    let starting = Fact::Starting { container: "old".into() };
    let ledger_of = |facts: &[Fact]| Ledger::of(facts);
    assert_eq!(ledger_of(&[holder("old", "db")]).start_of("old", "db").as_deref(), Some("2026-01-01T00:00:00Z"));
    assert_eq!(ledger_of(&[holder("old", "db")]).start_of("old", "another"), None);
    assert!(ledger_of(std::slice::from_ref(&starting)).is_starting("old"));
    assert!(!ledger_of(&[starting, holder("old", "db")]).is_starting("old"));
}

/// A new server that is proved on a volume of its own while the old one is still in place.
fn proved_beside() -> Vec<Fact> {
    let old = vec![of_site("db"), holder("old", "db"), dumped("/d", "db", 3, true), dump_verified("/d")];
    [old, vec![created("new"), holder("fresh", "new"), restored("/d", "fresh"), compared("71", "fresh", 3)]].concat()
}

#[test]
fn what_was_proved_beside_the_old_server_lowers_the_fence_when_it_takes_its_place() {
    let aside = [proved_beside(), vec![moved("db", "kept")]].concat();
    assert!(Ledger::of(&aside).is_fenced("site"));
    let in_place = ledger(&[&aside, &[moved("new", "db")]]);
    assert!(!in_place.is_fenced("site") && in_place.is_settled());
    assert_eq!(in_place.put_aside_from("kept").as_deref(), Some("db"));
    assert_eq!(in_place.put_aside_from("db"), None);
    // Gone back, and put aside once more.
    let back = [moved("db", "new-data"), moved("kept", "db")];
    assert!(ledger(&[&aside, &[moved("new", "db")], &back[..1]]).is_fenced("site"));
    assert!(!ledger(&[&aside, &[moved("new", "db")], &back]).is_fenced("site"));
}

#[test]
fn what_was_not_compared_or_was_used_since_takes_nobodys_place() {
    let uncompared: Vec<_> =
        proved_beside().into_iter().filter(|fact| !matches!(fact, Fact::Compared { .. })).collect();
    assert!(ledger(&[&uncompared, &[moved("db", "kept"), moved("new", "db")]]).is_fenced("site"));
    let used = ledger(&[&proved_beside(), &[used("new"), moved("db", "kept"), moved("new", "db")]]);
    assert!(used.is_fenced("site"));
    // Of another cluster than the one that was there.
    let of_another: Vec<_> = proved_beside()
        .into_iter()
        .map(|fact| if matches!(fact, Fact::Compared { .. }) { compared("72", "fresh", 3) } else { fact })
        .collect();
    assert!(ledger(&[&of_another, &[moved("db", "kept"), moved("new", "db")]]).is_fenced("site"));
}

fn caught_up(from: &str, to: &str) -> Fact {
    Fact::CopyCaughtUp { from: from.into(), to: to.into(), lsn: "0/17".into() }
}

fn upgraded(volume: &str, same: u64) -> Fact {
    let others = vec!["16384/16390".to_owned()];
    Fact::ClusterUpgraded { volume: volume.into(), from: "71".into(), to: "72".into(), same, others }
}

#[test]
fn a_copy_that_caught_up_is_one_until_it_is_upgraded() {
    let copied = [of_site("db"), holder("old", "db"), created("copy"), caught_up("db", "copy")];
    assert_eq!(Ledger::of(&copied).copies_of("db"), [Place::Volume { name: "copy".into() }]);
    assert!(ledger(&[&copied, &[used("db")]]).copies_of("db").is_empty());
    assert!(ledger(&[&copied, &[created("copy"), upgraded("copy", 9)]]).copies_of("db").is_empty());
}

#[test]
fn files_prove_an_upgrade_while_nobody_else_uses_them() {
    let upgrade = [created("copy"), upgraded("copy", 9), holder("fresh", "copy")];
    let proved = Fact::FilesProved { volume: "copy".into() };
    assert!(!Ledger::of(&upgrade).is_upgrade_of("fresh", "71"));
    let told = ledger(&[&upgrade, std::slice::from_ref(&proved)]);
    assert!(told.is_upgrade_of("fresh", "71"));
    assert!(!told.is_upgrade_of("fresh", "73") && !told.is_upgrade_of("another", "71"));
    assert_eq!(told.upgrade_in("copy").unwrap().others, ["16384/16390"]);
    assert!(ledger(&[&upgrade, &[proved.clone(), written("copy")]]).is_upgrade_of("fresh", "71"));
    assert!(!ledger(&[&upgrade, &[proved.clone(), used("copy")]]).is_upgrade_of("fresh", "71"));
    // Not a file of the copy is in it.
    let none = [created("copy"), upgraded("copy", 0), holder("fresh", "copy"), proved];
    assert!(!Ledger::of(&none).is_upgrade_of("fresh", "71"));
}

#[test]
fn a_backup_that_was_started_is_so_until_it_is_written_anew_or_gone() {
    let booted = |sha256: &str| Fact::BackupBooted {
        path: "/a/b".into(),
        sha256: sha256.into(),
        system_identifier: "71".into(),
    };
    let is_booted = |more: &[Fact]| {
        ledger(&[&[backed_up("db", "/a/b"), verified("/a/b")], more]).is_booted(Path::new("/a/b"), "5a")
    };
    assert!(!is_booted(&[]));
    assert!(is_booted(&[booted("5a")]));
    assert!(!is_booted(&[booted("other")]), "it was another file that was started");
    assert!(!is_booted(&[booted("5a"), Fact::ArtefactBegun { path: "/a/b".into() }]));
    assert!(!is_booted(&[booted("5a"), Fact::ArtefactRemoved { path: "/a".into() }]));
    assert!(!is_booted(&[booted("5a"), backed_up("db", "/a/b")]));
    // Another run's backup.
    assert!(Ledger::of(&[booted("5a")]).is_booted(Path::new("/a/b"), "5a"));
}

#[test]
fn what_was_unpacked_is_a_backup_s_until_somebody_writes_to_it() {
    let unpacked = |more: &[Fact]| {
        let facts = [&[created("scratch"), restored_volume("scratch", "/b")], more].concat();
        Ledger::of(&facts).unpacked_from("scratch").cloned()
    };
    assert_eq!(unpacked(&[]), Some(("/b".into(), "5a".into())));
    for end in [used("scratch"), written("scratch"), removed("scratch"), created("scratch"), moved("scratch", "db")] {
        assert_eq!(unpacked(std::slice::from_ref(&end)), None, "{end:?}");
    }
}

#[test]
fn the_old_data_is_replaced_once_the_new_server_was_compared_with_it() {
    let is_replaced = |more: &[Fact], volume: &str| ledger(&[&restored_anew(), more]).is_replaced(volume);
    assert!(!is_replaced(&[], "kept"));
    assert!(is_replaced(&[compared("71", "new", 3)], "kept"));
    assert!(!is_replaced(&[compared("71", "new", 3)], "db"), "that is the new server's");
    // A way back in a run of its own: what it has put aside is what came in the place of the old data.
    let back = [of_site("db"), moved("db", "new-data"), moved("kept", "db")];
    assert!(!Ledger::of(&back).is_replaced("new-data"));
    assert_eq!(ledger(&[&put_aside()]).backups_of("kept"), [("/b".into(), "5a".into())]);
}
