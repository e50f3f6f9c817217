use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::event::{Event, Silent};
use crate::script::api::values;
use crate::script::engine::Language;
use crate::script::loader::Places;
use crate::ui::narrator::Narrator;
use crate::ui::style::clean;
use crate::world::Error;
use crate::world::Secret;
use crate::world::ansible::Site;
use crate::world::container::{Attachment, Container, Image, Mount, Volume};
use crate::world::content::{Content, DatabaseContent};
use crate::world::postgres::{Dump, DumpedDatabase, Format, Server};
use crate::world::volume::{Backup, Manifest};

const PASSWORD: &str = "hunter22";

fn now() -> Timestamp {
    "2026-05-01T12:00:00Z".parse().unwrap()
}

fn narrow(width: usize) -> Style {
    Style { width, ..Style::plain(true) }
}

fn shown(value: &Dynamic) -> String {
    styled(value, Style::plain(true))
}

fn styled(value: &Dynamic, style: Style) -> String {
    show(value, style, now(), &Redactor::default())
}

/// A value as a script makes it.
fn eval(script: &str) -> Dynamic {
    let language = Language::new(Places::new(None).unwrap(), Arc::new(Silent), None);
    language.engine.eval(script).unwrap()
}

fn container(name: &str) -> Container {
    let compose = |key: &str, value: &str| (format!("com.docker.compose.{key}"), value.to_owned());
    Container {
        id: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef".into(),
        name: name.into(),
        image: "postgres:15".into(),
        image_id: "sha256:fedcba9876543210".into(),
        state: "running".into(),
        started_at: "2026-05-01T08:59:00.123456Z".into(),
        exit_code: 0,
        restart_count: 0,
        health: "healthy".into(),
        restart_policy: "unless-stopped".into(),
        project: "primero".into(),
        service: "database".into(),
        labels: BTreeMap::from([
            compose("project", "primero"),
            compose("service", "database"),
            ("backup.password".into(), PASSWORD.into()),
        ]),
        env: vec![format!("POSTGRES_PASSWORD={PASSWORD}"), "PGDATA=/data".into(), format!("NOTE={PASSWORD}")],
        mounts: vec![Mount {
            kind: "volume".into(),
            name: "primero_database".into(),
            source: "/var/lib/docker/volumes/primero_database/_data".into(),
            destination: "/var/lib/postgresql/data".into(),
            read_only: false,
        }],
        networks: vec![Attachment {
            network: "primero_default".into(),
            network_id: String::new(),
            ip: "172.18.0.2".into(),
            aliases: vec!["database".into(), "db".into()],
            endpoint: Default::default(),
        }],
        inspect: serde_json::json!({"Config": {"Env": [format!("POSTGRES_PASSWORD={PASSWORD}")]}}).into(),
    }
}

fn handles() -> Vec<Dynamic> {
    let volume = Volume {
        name: "primero_database".into(),
        driver: "local".into(),
        mount_point: "/var/lib/docker/volumes/primero_database/_data".into(),
        labels: BTreeMap::new(),
        options: BTreeMap::from([("o".into(), format!("addr=10.0.0.1,password={PASSWORD}"))]),
        created_at: "2025-05-01T12:00:00Z".into(),
    };
    let manifest = Manifest {
        volume: "primero_database".into(),
        pg_version: "15".into(),
        entries: 1200,
        files: 1100,
        bytes: 1_234_567_890,
        compressed_bytes: 230_000_000,
        sha256: "ab".repeat(32),
        uid: 999,
        gid: 999,
        owners: "container".into(),
        created_at: "2026-05-01T11:58:00Z".into(),
    };
    let dump = Dump {
        path: "/var/backups/primero.dump".into(),
        system_identifier: "7412345678901234567".into(),
        format: Format::Directory,
        server_major: 15,
        client_major: 17,
        superuser: "postgres".into(),
        databases: vec![DumpedDatabase { name: "primero".into(), path: "primero".into(), entries: 900, tables: 110 }],
        bytes: 120_000_000,
        files: vec![("globals.sql".into(), "cd".repeat(32))],
        created_at: "2026-05-01T11:00:00Z".into(),
    };
    let image = Image {
        id: "sha256:fedcba9876543210fedc".into(),
        tags: vec!["postgres:15".into(), "postgres:15.4".into()],
        digests: Vec::new(),
        env: vec!["PG_MAJOR=15".into(), format!("SECRET={PASSWORD}")],
        volumes: vec!["/var/lib/postgresql/data".into()],
        size: 412_000_000,
        entrypoint: Vec::new(),
        command: Vec::new(),
    };
    let server = Server {
        container: "0123456789abcdef".into(),
        container_name: "primero-database-1".into(),
        user: "primero".into(),
        password: Some(Secret::new(PASSWORD)),
        database: "primero".into(),
        is_database_chosen: false,
    };
    let database = DatabaseContent {
        tables: BTreeMap::from([("public.cases".into(), 1200), ("public.users".into(), 7)]),
        ..DatabaseContent::default()
    };
    let content = Content {
        system_identifier: "7412345678901234567".into(),
        server_major: 15,
        container: "0123456789abcdef".into(),
        roles: BTreeMap::from([("app".into(), "LOGIN".into()), ("postgres".into(), "SUPERUSER".into())]),
        databases: BTreeMap::from([("primero".into(), database)]),
        user: "primero".into(),
        ..Content::default()
    };
    let site = Site { dir: "/srv/ansible".into(), limit: Some("alpha".into()), ..Site::default() };
    let error = Error::failed("docker.not_found", "no container `db`").hint("docker ps -a shows what there is");
    vec![
        values::handle(container("primero-database-1")),
        values::handle(volume),
        values::handle(Backup { path: "/var/backups/primero.tar.zst".into(), manifest }),
        values::handle(dump),
        values::handle(image),
        values::handle(server),
        values::handle(site),
        values::handle(content),
        Dynamic::from(error),
        Dynamic::from(Secret::new(PASSWORD)),
    ]
}

#[test]
fn scalars_are_written_as_in_a_script() {
    let cases = [
        ("()", ""),
        ("1 + 1", "2"),
        ("2.0", "2.0"),
        ("true", "true"),
        ("'x'", "'x'"),
        (r#""a \"b\"\t""#, r#""a \"b\"\t""#),
        ("\"\"", "\"\""),
        ("\"one\\ntwo\"", "one\ntwo"),
        ("\"one\\n\"", "\"one\\n\""),
        ("0..3", "0..3"),
        ("[]", "[]"),
        ("#{}", "#{}"),
        ("[1, (), \"x\", #{a: 1, \"b c\": 'd'}]", "[1, (), \"x\", #{a: 1, \"b c\": 'd'}]"),
        ("|x| x", "closure"),
        ("fn stop(c) { c } Fn(\"stop\")", "fn stop"),
        ("let x = 1; let f = || x; x", "1"),
    ];
    for (script, text) in cases {
        assert_eq!(shown(&eval(script)), text, "{script}");
    }
}

#[test]
fn what_a_session_tells_of_its_run_is_read_from_left_to_right() {
    let script = r##"[#{ what: "it begins", n: 7, seconds: 0.25, at: "2026-05-01T08:59:00Z", by: "x" }]"##;
    insta::assert_snapshot!(shown(&eval(script)), @"
     n   at        what        by   seconds
    ────────────────────────────────────────
     7   3 h ago   it begins   x      0.2 s
    ");
}

#[test]
fn a_map_is_a_line_a_key() {
    let script = r##"#{ name: "web", list: [1, 2], stdout: "a\nb  c\n", created_at: "2026-05-01T08:59:00Z",
        free_bytes: 1500, nested: #{ one: "a text of some length", two: ["one of the longer texts",
        "two of the longer texts", "three of the longer texts"] } }"##;
    insta::assert_snapshot!(shown(&eval(script)), @r#"
    name:       "web"
    created_at: 3 h ago
    free_bytes: 1.5 kB
    list:       [1, 2]
    nested:
      one: "a text of some length"
      two: ["one of the longer texts", "two of the longer texts", "three of the longer texts"]
    stdout:
      a
      b  c
    "#);
}

#[test]
fn rows_are_a_table_with_names_first_and_missing_keys_empty() {
    let script = r#"[#{ size: 1500, id: 7, name: "one", note: () }, #{ name: "two", size: 0, more: "x\ny" }]"#;
    insta::assert_snapshot!(shown(&eval(script)), @r"
     name   id   note     size   more
    ──────────────────────────────────
     one     7          1.5 kB
     two                   0 B   x
                                 y
    ");
}

#[test]
fn rows_that_would_be_squeezed_are_lists() {
    let script =
        r#"[#{ name: "one", a: "some words", b: "some words", c: "some words", d: "some longer words again" }]"#;
    insta::assert_snapshot!(styled(&eval(script), narrow(40)), @r"
    row 1
      name  one
      a     some words
      b     some words
      c     some words
      d     some longer words again
    ");
}

#[test]
fn a_handle_is_a_card() {
    insta::assert_snapshot!(shown(&values::handle(container("primero-database-1"))), @r"
    Container primero-database-1
      image           postgres:15
      state           running (healthy)
      started_at      3 h ago (2026-05-01T08:59:00Z)
      service         database
      project         primero
      id              0123456789ab
      restart_policy  unless-stopped
      mounts          /var/lib/postgresql/data from volume primero_database
      networks        primero_default 172.18.0.2 as database, db
      env names       NOTE, PGDATA, POSTGRES_PASSWORD
      labels          backup.password=••••••
                      2 of Compose
      image_id        fedcba987654
    ");
    insta::assert_snapshot!(styled(&values::handle(container("primero-database-1")), narrow(40)), @r"
    Container primero-database-1
      image           postgres:15
      state           running (healthy)
      started_at      3 h ago
      service         database
      project         primero
      id              0123456789ab
      restart_policy  unless-stopped
      mounts          /var/lib/postgresql/da
                      ta from volume
                      primero_database
      networks        primero_default
                      172.18.0.2 as
                      database, db
      env names       NOTE, PGDATA,
                      POSTGRES_PASSWORD
      labels          backup.password=••••••
                      2 of Compose
      image_id        fedcba987654
    ");
}

#[test]
fn each_kind_of_handle_has_its_card() {
    let cards: Vec<_> = handles()[1..].iter().map(shown).collect();
    insta::assert_snapshot!(cards.join("\n"), @r"
    Volume primero_database
      driver       local
      mount_point  /var/lib/docker/volumes/primero_database/_data
      created_at   365 d ago (2025-05-01T12:00:00Z)
      options      o=addr=10.0.0.1,password=••••••
    Backup /var/backups/primero.tar.zst
      volume            primero_database
      pg_version        15
      compressed_bytes  230 MB
      bytes             1.2 GB
      created_at        2 m ago (2026-05-01T11:58:00Z)
      files             1100
      sha256            abababababababababababababababababababababababababababababababab
      owners            container
    Dump /var/backups/primero.dump
      bytes              120 MB
      server_major       15
      client_major       17
      format             directory
      created_at         1 h ago (2026-05-01T11:00:00Z)
      databases          primero, 110 tables
      superuser          postgres
      system_identifier  7412345678901234567
      files              1
    Image postgres:15
      size       412 MB
      id         fedcba987654
      tags       postgres:15.4
      volumes    /var/lib/postgresql/data
      env names  PG_MAJOR, SECRET
    Server primero-database-1
      user       primero
      database   primero
      container  0123456789ab
      password   ••••••
    AnsibleSite /srv/ansible
      limit  alpha
    Content 7412345678901234567
      server_major  15
      level         counts
      tables        2
      rows          1207
      databases     primero, 2 tables, 1207 rows
      roles         app, postgres
      container     0123456789ab
    Error docker.not_found
      message  no container `db`
      hint     docker ps -a shows what there is
    ••••••
    ");
}

#[test]
fn handles_of_one_kind_are_a_table() {
    let stopped =
        Container { state: "exited".into(), exit_code: 137, health: String::new(), ..container("primero-web-1") };
    let created = Container {
        state: "created".into(),
        started_at: "0001-01-01T00:00:00Z".into(),
        health: String::new(),
        ..container("keeper")
    };
    let containers: Array = [container("primero-database-1"), stopped, created].map(values::handle).to_vec();
    insta::assert_snapshot!(shown(&containers.clone().into()), @r"
     name                 image         state               started_at   service    project
    ────────────────────────────────────────────────────────────────────────────────────────
     primero-database-1   postgres:15   running (healthy)   3 h ago      database   primero
     primero-web-1        postgres:15   exited (137)        3 h ago      database   primero
     keeper               postgres:15   created             never        database   primero
    ");
    insta::assert_snapshot!(styled(&containers.into(), narrow(40)), @r"
     name          image         state
    ────────────────────────────────────────
     primero-dat   postgres:15   running
     abase-1                     (healthy)
     primero-web   postgres:15   exited
     -1                          (137)
     keeper        postgres:15   created
    ");
}

#[test]
fn handles_of_several_kinds_are_a_list() {
    let mixed: Array = handles().into_iter().take(3).collect();
    insta::assert_snapshot!(styled(&mixed.into(), narrow(40)), @r"
    0  Container(primero-database-1)
    1  Volume(primero_database)
    2  Backup(/var/backups/primero.tar.zst)
    ");
}

/// What a password could be found in: handles, an inventory, a log, a compose file, an error.
fn with_passwords() -> Vec<Dynamic> {
    let mut values = handles();
    values.push(handles().into());
    for handle in handles() {
        values.push(vec![handle.clone()].into());
        values.push(Map::from([("handle".into(), handle)]).into());
    }
    for script in [
        "#{ ansible_password: PASSWORD, hosts: [#{ vault: #{ db_password: PASSWORD, secrets: [PASSWORD] } }] }",
        "[#{ role: \"app\", password: PASSWORD }]",
        "[#{ role: \"app\", url: `postgres://app:${PASSWORD}@db/x` }]",
        "`POSTGRES_PASSWORD=${PASSWORD}`",
        "`services:\n  db:\n    environment:\n      POSTGRES_PASSWORD: ${PASSWORD}\n`",
        "`line\nALTER ROLE app PASSWORD '${PASSWORD}'`",
        "let text = \"\"; text.pad(19_996, ' '); text + `postgres://app:${PASSWORD}@db`",
    ] {
        values.push(eval(&format!("const PASSWORD = \"{PASSWORD}\"; {script}")));
    }
    values
}

#[test]
fn a_password_is_never_shown() {
    for value in with_passwords() {
        for style in [Style::plain(true), Style::plain(false), narrow(40)] {
            let text = styled(&value, style);
            assert!(!text.replace(['\n', ' '], "").contains(PASSWORD), "{text}");
        }
    }
}

#[test]
fn without_unicode_everything_is_ascii_and_without_colour_there_is_none() {
    let mut values = with_passwords();
    values.push(eval("\"äöü 𝄞\""));
    values.push(eval("`ä\nö`"));
    values.push(eval("[#{ näme: 1, text: \"≠\" }]".replace("näme", "\"näme\"").as_str()));
    values.push(eval("let a = []; a.pad(1000, \"ä\"); a"));
    for value in values {
        let text = styled(&value, Style::plain(false));
        assert!(text.is_ascii() && !text.contains('\x1b'), "{text}");
    }
    assert_eq!(styled(&eval("\"ä 𝄞\""), Style::plain(false)), "\"\\u00e4 \\U0001d11e\"");
}

#[test]
fn colours_take_no_room() {
    let coloured = Style { colour: true, ..narrow(40) };
    for value in handles() {
        let text = styled(&value, coloured);
        let plain: Vec<_> = text.lines().map(clean).collect();
        assert_eq!(plain.join("\n"), styled(&value, narrow(40)));
    }
}

#[test]
fn control_characters_of_a_value_do_not_reach_the_terminal() {
    for script in ["\"\\x1b[31mred\\x1b[0m\"", "\"a\\n\\x1b]0;title\\x07b\"", "[#{ a: \"\\x1b[2J\" }]"] {
        let text = shown(&eval(script));
        assert!(!text.contains('\x1b') && !text.contains('\x07'), "{text:?}");
    }
}

#[test]
fn nothing_is_wider_than_the_terminal() {
    let mut values = with_passwords();
    values.push(eval("let a = []; for i in 0..300 { a.push(#{ id: i, text: `row ${i} of several`, when: () }); } a"));
    values
        .push(eval("#{ a_rather_long_key_that_is_wider_than_half: \"a text that is longer than the line\", b: [1] }"));
    for value in values.iter().filter(|value| !value.is_string()) {
        for width in [40, 80] {
            for line in styled(value, narrow(width)).lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }
}

#[test]
fn much_is_cut_and_says_so() {
    let cases = [
        ("let a = []; a.pad(10_000, 7); a", "… 9 800 more; all of it: for each in VALUE { ui::say(each) }"),
        ("let a = []; a.pad(10_000, #{ id: 1 }); a", "… 9 800 more rows; all of it: for row in VALUE { ui::say(row) }"),
        ("let m = #{}; for i in 0..1000 { m.set(`k${i}`, i); } m", "… 800 more keys; all of it: ui::say(VALUE)"),
        ("let t = \"\"; t.pad(1_000_000, 'x'); t", "… 980 000 more characters; all of it: ui::say(VALUE)"),
        ("let t = \"\"; t.pad(1_000_000, \"line\\n\"); t", "… 199 800 more lines; all of it: ui::say(VALUE)"),
        ("let t = \"\"; t.pad(1_000_000, 'x'); \"a\\n\" + t", "… more; all of it: ui::say(VALUE)"),
        ("let t = \"\"; t.pad(1_000_000, 'x'); #{ t: t }", "… more; all of it: ui::say(VALUE)"),
        ("let a = []; a.pad(10_000, 7); #{ a: a, b: 1 }", "… 1 more keys; all of it: ui::say(VALUE)"),
    ];
    for (script, last) in cases {
        let text = shown(&eval(script));
        assert_eq!(text.lines().last(), Some(last), "{script}");
        assert!(text.lines().count() <= LINES + 3 && text.len() < 2 * CHARACTERS, "{script}: {}", text.len());
    }
    let containers: Array = (0..300).map(|index| values::handle(container(&format!("c{index}")))).collect();
    let text = shown(&containers.into());
    assert_eq!(text.lines().last(), Some("… 100 more rows; all of it: for each in VALUE { ui::say(each.name) }"));
}

#[test]
fn what_is_said_to_show_all_of_it_does() {
    let language = Language::new(Places::new(None).unwrap(), Arc::new(Silent), None);
    for statement in
        ["ui::say(VALUE)", "for each in VALUE { ui::say(each) }", "for each in VALUE { ui::say(each.name) }"]
    {
        language.engine.compile(format!("let VALUE = []; {statement}")).unwrap();
    }
    let text = "line\n".repeat(10_000);
    assert_eq!(Narrator::new(Style::plain(true)).say(&Event::Say { text }).lines.len(), 10_000);
    let rows = eval("let a = []; a.pad(5000, #{ id: 1 }); a");
    assert_eq!(rows.to_string().matches("id").count(), 5000);
}

#[test]
fn four_million_elements_cost_what_is_shown() {
    let mut items: Array = vec![Map::from([("id".into(), 1.into())]).into()];
    items.resize(4_000_000, Dynamic::UNIT);
    let numbers: Dynamic = vec![Dynamic::from(7_i64); 4_000_000].into();
    let values = [Dynamic::from(items), numbers.clone(), numbers.into_shared()];
    let begun = std::time::Instant::now();
    for value in &values {
        assert!(shown(value).contains("3 999 800 more"), "{}", shown(value));
    }
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[test]
fn what_holds_itself_is_shown_and_ends() {
    for script in [
        "let f = (); f = || f; f",
        "let m = #{}; let f = || m; m.f = f; m",
        "let a = [1]; let f = || a; a[0] = f; a",
        "let a = [1]; let f = || a; a[0] = #{ f: f, a: [f] }; [a, a]",
    ] {
        assert!(shown(&eval(script)).lines().count() <= LINES + 1, "{script}");
    }
    let shared = Dynamic::from(Array::new()).into_shared();
    shared.clone().write_lock::<Array>().unwrap().push(shared.clone());
    assert!(shown(&shared).contains('…'));
    // Its cycle would never be freed.
    shared.clone().write_lock::<Array>().unwrap().clear();
}
