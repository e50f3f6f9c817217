use std::sync::Arc;

use super::*;
use crate::event::Silent;
use crate::script::check::Checker;
use crate::script::engine::Language;
use crate::script::source::{Origin, Source};

fn plain(text: &str) -> Saved {
    Saved { text: text.into(), ..Saved::default() }
}

fn effect(text: &str) -> Saved {
    Saved { had_effect: true, ..plain(text) }
}

fn failed(text: &str, error: &str) -> Saved {
    Saved { error: Some(error.into()), when: "14:03:22".into(), ..plain(text) }
}

fn command(text: &str) -> Saved {
    Saved { is_command: true, ..plain(text) }
}

/// The script without its head, which must pass the check, and give the warnings that it gives.
fn saved(inputs: &[Saved]) -> String {
    let places = Places::new(None).unwrap();
    let text = script(inputs, &places);
    let source = Source { id: "s.rhai".into(), name: "s".into(), origin: Origin::BuiltIn, text: text.clone().into() };
    let language = Language::new(places, Arc::new(Silent), None);
    let findings = Checker::new(&language).check(&source);
    let errors: Vec<_> = findings.iter().filter(|f| !f.is_warning).map(|f| f.report.render()).collect();
    assert!(errors.is_empty(), "{}\n{text}", errors.join("\n"));
    let lost = findings.iter().find(|f| f.report.code == "check.lost_variable");
    assert!(lost.is_none(), "{}\n{text}", lost.unwrap().report.render());
    text.lines().skip_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n").trim().to_owned()
}

#[test]
fn a_variable_that_a_change_needs_stays_visible() {
    let inputs = [effect("let c = docker::container(\"x\"); docker::stop(c);"), plain("c.state")];
    insta::assert_snapshot!(saved(&inputs), @r#"
    let c = docker::container("x");
    step("docker stop c", || { docker::stop(c); });

    c.state;
    "#);
}

#[test]
fn what_a_change_gives_is_the_value_of_its_step() {
    let inputs = [
        effect("let c = docker::create(#{ image: \"x\" })"),
        effect("const R = docker::exec(c, [\"true\"]); let n = R.exit_code;"),
        plain("let m = #{ n: 0 }"),
        effect("m.n = docker::exec(c, [\"true\"]).exit_code"),
        plain("m.n + n"),
    ];
    insta::assert_snapshot!(saved(&inputs), @r#"
    let c = step("docker create image", || docker::create(#{ image: "x" }));

    const R = step("docker exec c", || docker::exec(c, ["true"]));
    let n = R.exit_code;

    let m = #{ n: 0 };

    m.n = step("docker exec c exit_code", || docker::exec(c, ["true"]).exit_code);

    m.n + n;
    "#);
}

#[test]
fn steps_have_names_of_their_own() {
    let inputs = [
        plain("let c = docker::container(\"c\")"),
        effect("step(\"c stop\", || c.stop())"),
        effect("c.stop()"),
        effect("c.stop()"),
        effect("docker::container(\"web\").stop()"),
    ];
    insta::assert_snapshot!(saved(&inputs), @r#"
    let c = docker::container("c");

    step("c stop", || c.stop());

    step("c stop 2", || { c.stop(); });

    step("c stop 3", || { c.stop(); });

    step("docker container web stop", || { docker::container("web").stop(); });
    "#);
}

#[test]
fn a_name_has_no_separators_and_no_texts() {
    let inputs = [
        plain("let c = docker::container(\"a/b#c\"); let s = psql::server(c)"),
        effect("psql::execute(s, `\n  SELECT '#', 1 / 2;\n  -- ${1 + 1}\n`)"),
        effect("docker::copy_out(c, \"/data\", \"/tmp/x\")"),
        effect("psql::set_password(s, \"app\", \"hunter22\")"),
        effect(&format!("docker::exec(c, [{}])", vec!["s.user"; 30].join(", "))),
    ];
    insta::assert_snapshot!(saved(&inputs), @r#"
    let c = docker::container("a/b#c");
    let s = psql::server(c);

    step("psql execute s 1 1", || {
        psql::execute(s, `
      SELECT '#', 1 / 2;
      -- ${1 + 1}
    `);
    });

    step("docker copy_out c", || { docker::copy_out(c, "/data", "/tmp/x"); });

    step("psql set_password s", || { psql::set_password(s, "app", "hunter22"); });

    step("docker exec c s user s user s user s user s user s user s", || { docker::exec(c, [s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user, s.user]); });
    "#);
}

#[test]
fn variables_that_a_step_changes_are_what_it_gives() {
    let inputs = [
        plain("let list = docker::containers(); let done = []; let a = 0; let b = 1;"),
        effect("for c in list { if c.running { c.stop(); done.push(c.name); } }"),
        effect("if a == 0 { a = 1; b += 2; list[0].stop(); }"),
        effect("let r = { a += 1; list[0].start(); a };"),
        plain("let m = #{ n: 0 };"),
        effect("m.n = { b += 1; list[0].start(); b };"),
        plain("done.len() + a + b + r + m.n"),
    ];
    insta::assert_snapshot!(saved(&inputs), @r#"
    let list = docker::containers();
    let done = [];
    let a = 0;
    let b = 1;

    done = step("for c in list if c running c stop done push c name", || {
        for c in list { if c.running { c.stop(); done.push(c.name); } }
        done
    });

    let changed = step("if a 0 a 1 b 2 list 0 stop", || {
        let a = a; let b = b;
        if a == 0 { a = 1; b += 2; list[0].stop(); }
        #{ a: a, b: b }
    });
    a = changed.a;
    b = changed.b;

    let changed = step("a 1 list 0 start a", || {
        let a = a;
        let r = { a += 1; list[0].start(); a };
        #{ r: r, a: a }
    });
    let r = changed.r;
    a = changed.a;

    let m = #{ n: 0 };

    let changed = step("b 1 list 0 start b", || {
        let b = b; let m = m;
        m.n = { b += 1; list[0].start(); b };
        #{ b: b, m: m }
    });
    b = changed.b;
    m = changed.m;

    done.len() + a + b + r + m.n;
    "#);
}

#[test]
fn what_would_change_something_another_time_is_a_step_too() {
    let inputs = [
        plain("let c = docker::container(\"x\")"),
        plain("if !c.running { c.start(); }"),
        plain("if !c.running { docker::logs(c); }"),
    ];
    insta::assert_snapshot!(saved(&inputs), @r#"
    let c = docker::container("x");

    step("if not c running c start", || { if !c.running { c.start(); } });

    if !c.running { docker::logs(c); }
    "#);
}

#[test]
fn what_failed_is_a_comment_but_for_what_it_left_behind() {
    let inputs = [
        failed("let db = docker::container(\"db\"); db.stopp()", "there is no function `stopp`\nfor Container"),
        failed("let gone = docker::containerr(\"db\")", "there is no function"),
        Saved { had_effect: true, ..failed("import \"stack\" as stack; fn two() { 2 } stack::hold([1])", "no") },
        failed("let x = ", "expecting an expression"),
        effect("db.stop()"),
        plain("two()"),
    ];
    insta::assert_snapshot!(saved(&inputs), @r#"
    import "stack" as stack;

    fn two() { 2 }

    // failed at 14:03:22: there is no function `stopp`
    //                     for Container
    //   let db = docker::container("db"); db.stopp()
    let db = docker::container("db");

    // failed at 14:03:22: there is no function
    //   let gone = docker::containerr("db")

    // failed at 14:03:22: no
    // it had begun to change something outside
    //   import "stack" as stack; fn two() { 2 } stack::hold([1])

    // failed at 14:03:22: expecting an expression
    //   let x =

    step("db stop", || { db.stop(); });

    two();
    "#);
}

#[test]
fn commands_are_comments() {
    let inputs = [command(".steps"), plain("1 + 1"), command(".undo x\n")];
    insta::assert_snapshot!(saved(&inputs), @r"
    // .steps

    1 + 1;

    // .undo x
    ");
}

#[test]
fn imports_and_the_last_definitions_come_first() {
    let inputs = [
        plain("fn f() { 1 } fn f(x) { x }"),
        plain("let y = f();"),
        plain("/// Two.\nfn f() { 2 }"),
        plain("import \"stack\" as stack; let x = f(y);"),
        plain("import \"stack\" as stack;"),
        effect("stack::hold(stack::find(\"p\", \"db\").others)"),
        plain("stack::hosts_first([])"),
    ];
    insta::assert_snapshot!(saved(&inputs), @r#"
    import "stack" as stack;

    fn f(x) { x }

    /// Two.
    fn f() { 2 }

    let y = f();

    let x = f(y);

    step("stack hold stack find others", || { stack::hold(stack::find("p", "db").others); });

    stack::hosts_first([]);
    "#);
}

#[test]
fn a_function_that_is_kept_is_no_step_and_its_call_is_one() {
    let inputs = [
        plain("let stop = |c| docker::stop(c); let all = #{ stop: stop, start: |c| c.start() }; let list = [];"),
        plain("list.push(|| docker::container(\"x\").stop())"),
        effect("stop.call(docker::container(\"x\"))"),
        effect("let other = |c| c.stop(); other.call(docker::container(\"x\"));"),
        effect("[docker::container(\"x\")].for_each(|c| c.stop())"),
    ];
    insta::assert_snapshot!(saved(&inputs), @r#"
    let stop = |c| docker::stop(c);
    let all = #{ stop: stop, start: |c| c.start() };
    let list = [];

    list.push(|| docker::container("x").stop());

    step("stop docker container x", || { stop.call(docker::container("x")); });

    let other = |c| c.stop();
    step("other docker container x", || { other.call(docker::container("x")); });

    step("docker container x for_each c c stop", || { [docker::container("x")].for_each(|c| c.stop()); });
    "#);
}

#[test]
fn a_function_of_the_session_shows_its_effect() {
    let inputs = [
        plain("fn down(c) { c.stop(); c.name }"),
        plain("fn twice(c) { down(c); down(c) }"),
        effect("let name = twice(docker::container(\"x\"))"),
        effect("fn steps(c) { step(\"inner\", || c.stop()) } steps(docker::container(\"x\"))"),
    ];
    insta::assert_snapshot!(saved(&inputs), @r#"
    fn down(c) { c.stop(); c.name }

    fn twice(c) { down(c); down(c) }

    fn steps(c) { step("inner", || c.stop()) }

    let name = step("twice docker container x", || twice(docker::container("x")));

    step("steps docker container x", || { steps(docker::container("x")); });
    "#);
}

#[test]
fn a_return_leaves_its_input_only() {
    let inputs = [
        plain("let n = 0; let c = docker::container(\"x\")"),
        effect("if !c.running { return; } docker::stop(c); n += 1;"),
        plain("if n == 1 { return 5; } n"),
        effect("if c.running { return; } c.start();"),
        plain("exit()"),
    ];
    insta::assert_snapshot!(saved(&inputs), @r#"
    let n = 0;
    let c = docker::container("x");

    n = step("if not c running docker stop c 1", || {
        (|| {
        if !c.running { return; };
        docker::stop(c);
        n += 1
    }).call();
        n
    });

    (|| {
        if n == 1 { return 5; };
        n
    }).call();

    step("if c running c start", || {
        if c.running { return; };
        c.start()
    });

    // left out: `exit` would end the whole script
    //   exit()
    "#);
}

#[test]
fn declarations_may_come_twice() {
    let inputs = [
        plain("let x = 1; let x = x + 1; const K = 3;"),
        plain("const K = 4; let x = \"now a text\";"),
        plain("x + K"),
    ];
    insta::assert_snapshot!(saved(&inputs), @r#"
    let x = 1;
    let x = x + 1;
    const K = 3;

    const K = 4;
    let x = "now a text";

    x + K;
    "#);
}

#[test]
fn what_a_script_would_not_know_is_left_out() {
    let inputs = [
        plain("gone + 1"),
        plain("session::undo(\"x\")"),
        plain("import \"no-such-module\" as m; 1"),
        effect("m::f()"),
        plain("2"),
    ];
    insta::assert_snapshot!(saved(&inputs), @r#"
    // left out: there is no variable `gone`
    //   gone + 1

    // left out: there is no module or namespace `session`
    //   session::undo("x")

    // left out: no module `no-such-module`
    //   import "no-such-module" as m
    1;

    // left out: there is no module or namespace `m` (it changed something outside)
    //   m::f()

    2;
    "#);
}

#[test]
fn comments_and_texts_of_several_lines_stay_as_they_are() {
    let inputs = [
        plain("// only a comment"),
        plain("  \n"),
        effect("docker::container(\"a\").stop(); // one\r\n\r\n// two\r\ndocker::container(\"b\").stop() // three"),
        effect("let tags = psql::execute(psql::server(docker::container(\"db\")), `\n  SELECT 1;\n`) // why\n"),
        plain("let t = `a\n  b`;"),
    ];
    insta::assert_snapshot!(saved(&inputs), @r#"
    // only a comment

    // one
    step("docker container a stop", || { docker::container("a").stop(); });
    // two
    // three
    step("docker container b stop", || { docker::container("b").stop(); });

    // why
    let tags = step("psql execute psql server docker container db", || {
        psql::execute(psql::server(docker::container("db")), `
      SELECT 1;
    `)
    });

    let t = `a
      b`;
    "#);
}

#[test]
fn an_empty_session_is_a_script() {
    assert_eq!(saved(&[]), "");
    assert_eq!(saved(&[command(".quit"), plain("")]), "// .quit");
}

#[test]
fn the_head_says_when_and_what_is_missing() {
    let at = |when: &str| Saved { when: when.into(), ..plain("1") };
    let text = script(&[at("2026-05-01 22:00"), plain("2"), at("2026-05-01 23:10")], &Places::new(None).unwrap());
    insta::assert_snapshot!(text, @r"
    //! A session of `pgscript repl` as a script. It was typed from 2026-05-01 22:00 to 2026-05-01 23:10.
    //!
    //! What changes something outside is a step. Before others rely on it, say of each how it is put back (`undo`) and
    //! what becomes of it when it is cut off (`repeatable`, `probe`): `pgscript check` says where that is missing.

    1;

    2;

    1;
    ");
}

#[test]
fn the_whole_language_can_be_saved() {
    let valid = include_str!("../../../tests/language/valid.rhai");
    let inputs: Vec<_> = valid.lines().filter(|line| !line.is_empty() && !line.contains("exit()")).map(plain).collect();
    let text = saved(&inputs);
    assert!(!text.contains("left out"), "{text}");
}

#[test]
fn a_long_session_is_saved_in_a_moment() {
    let mut inputs = vec![plain("let c = docker::container(\"x\")")];
    inputs.extend((0..300).map(|number| if number % 2 == 0 { effect("c.stop()") } else { plain("let x = 1; x + 1") }));
    let begun = std::time::Instant::now();
    let text = saved(&inputs);
    assert_eq!(text.matches("step(").count(), 150);
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}
