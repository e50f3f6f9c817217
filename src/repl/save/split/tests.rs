use std::sync::Arc;

use super::*;
use crate::event::Silent;
use crate::script::engine::Language;
use crate::script::loader::Places;
use crate::script::shipped;

fn statements(text: &str) -> Option<Vec<Statement>> {
    let mut language = Language::new(Places::new(None).unwrap(), Arc::new(Silent), None);
    language.engine.set_strict_variables(false);
    split(&language.engine, |name| name == "container", text)
}

fn texts(text: &str) -> Vec<String> {
    let statements = statements(text).unwrap_or_else(|| panic!("{text}"));
    statements.into_iter().map(|statement| statement.text).collect()
}

#[test]
fn statements_end_where_the_language_ends_them() {
    let cases: [(&str, &[&str]); 14] = [
        ("let a = 1; a + 1", &["let a = 1", "a + 1"]),
        ("if a { b } else if c { d } else { e } f", &["if a { b } else if c { d } else { e }", "f"]),
        ("try { a(); } catch (e) { b(); } c()", &["try { a(); } catch (e) { b(); }", "c()"]),
        ("let m = #{ a: 1 }; for x in [1] { x; } m", &["let m = #{ a: 1 }", "for x in [1] { x; }", "m"]),
        ("while #{ a: 1 }.a == 2 { b(); } c", &["while #{ a: 1 }.a == 2 { b(); }", "c"]),
        ("do { a(); } while b(); c", &["do { a(); } while b()", "c"]),
        ("{ let a = 1; a; } b;", &["{ let a = 1; a; }", "b"]),
        ("let t = `x ${if a { `;${b}` } else { c }} y;`; t", &["let t = `x ${if a { `;${b}` } else { c }} y;`", "t"]),
        ("let f = |x| { x; }; f.call(1);", &["let f = |x| { x; }", "f.call(1)"]),
        ("fn f(a) { a; } f(1)", &["fn f(a) { a; }", "f(1)"]),
        ("switch a { 1 => b, _ => { c } } d", &["switch a { 1 => b, _ => { c } }", "d"]),
        ("let a = \"öö;\"; a // x;\n", &["let a = \"öö;\"", "a"]),
        ("let s = #\"a \" ; b\"#; s", &["let s = #\"a \" ; b\"#", "s"]),
        (";; a ;;", &["a"]),
    ];
    for (text, parts) in cases {
        assert_eq!(texts(text), parts, "{text}");
    }
}

#[test]
fn every_shipped_script_and_the_whole_language_can_be_split() {
    let valid = include_str!("../../../../tests/language/valid.rhai");
    for text in shipped::ALL.iter().map(|file| file.text).chain([valid]) {
        assert!(statements(text).is_some_and(|parts| parts.len() > 1), "{text}");
    }
}

#[test]
fn comments_stay_with_their_statement() {
    let parts = statements("// before\na; // beside\n/* b1 */ b /* in */ + c // end\n// last").unwrap();
    assert_eq!(parts[0].comments, ["// before", "// beside"]);
    assert_eq!(
        (parts[1].text.as_str(), parts[1].comments.clone()),
        ("b /* in */ + c", vec!["/* b1 */".into(), "// end".into(), "// last".into()])
    );
    let parts = statements("a;\n// only").unwrap();
    assert_eq!((parts[1].kind.clone(), parts[1].comments.clone()), (Kind::Comments, vec!["// only".to_owned()]));
}

#[test]
fn kinds_tell_what_is_declared_assigned_and_defined() {
    let kind = |text: &str| statements(text).unwrap().remove(0).kind;
    let declared = |name: &str, head: &str, value: &str| Kind::Declaration {
        name: name.into(),
        head: head.into(),
        value: value.into(),
    };
    assert_eq!(kind("let a = b.c()"), declared("a", "let a =", "b.c()"));
    assert_eq!(kind("const A=1;"), declared("A", "const A=", "1"));
    assert_eq!(kind("let a;"), declared("a", "let a", ""));
    assert_eq!(kind("a.b[0] += f(x)"), Kind::Assignment { head: "a.b[0] +=".into(), value: "f(x)".into() });
    assert_eq!(kind("a[f(b)] = 1"), Kind::Expression);
    assert_eq!(kind("a == b"), Kind::Expression);
    assert_eq!(kind("/// x\nprivate fn f(a, b) { a }"), Kind::Function("f/2".into()));
    assert_eq!(kind("fn f() { 1 }"), Kind::Function("f/0".into()));
    assert_eq!(kind("import \"stack\" as stack;"), Kind::Import);
    assert_eq!(kind("if a { b }"), Kind::Block);
}

#[test]
fn words_leave_out_texts_but_what_is_looked_up() {
    let words = |text: &str| statements(text).unwrap().remove(0).words;
    assert_eq!(words("let c = docker::container(\"web-1\").stop()"), "docker container web-1 stop");
    assert_eq!(words("psql::set_password(s, \"app\", \"hunter22\")"), "psql set_password s");
    assert_eq!(words("if !c.running { c.start() }"), "if not c running c start");
    assert_eq!(words("x = c.stop(#{ timeout: 5 })"), "c stop timeout 5");
}

#[test]
fn only_a_return_of_the_input_itself_leaves_it() {
    let returns = |text: &str| statements(text).unwrap().remove(0).returns;
    assert!(returns("if a { return; }") && returns("return 1") && returns("exit()"));
    assert!(!returns("let f = |x| { return x; }") && !returns("throw \"x\"") && !returns("fn f() { return 1; }"));
}
