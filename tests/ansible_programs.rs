//! Real playbooks through the installed `ansible-playbook`, on hosts reached without a network.
//! Without Ansible in PATH these tests do nothing and say so.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pgscript::event::{Event, Listener};
use pgscript::world::ansible::{Ansible, PlaybookSpec, Site};
use pgscript::world::live::Context;
use pgscript::world::live::ansible::AnsiblePrograms;
use pgscript::world::{Cancel, Error, Kind, Redactor, Secret};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

#[derive(Default)]
struct Heard(Mutex<Vec<Event>>);

impl Listener for Heard {
    fn hear(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Heard {
    fn output(&self) -> String {
        let events = self.0.lock().unwrap();
        let lines = events.iter().filter_map(|e| match e {
            Event::Output { source, line } if source == "ansible" => Some(line.as_str()),
            _ => None,
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A site in a temporary directory with hosts alpha and beta (local) and gone (unreachable).
struct Fixture {
    dir: TempDir,
    heard: Arc<Heard>,
    context: Context,
    _runtime: Runtime,
}

const INVENTORY: &str = "[web]\nalpha ansible_connection=local\nbeta ansible_connection=local\n\
                         [dead]\ngone ansible_host=127.0.0.1 ansible_port=1\n\
                         [all:vars]\nansible_python_interpreter=/usr/bin/python3\n";

impl Fixture {
    fn new(tasks: &str) -> Option<Self> {
        let found = std::env::split_paths(&std::env::var_os("PATH")?).any(|d| d.join("ansible-playbook").exists());
        if !found {
            eprintln!("skipped: ansible-playbook is not in PATH");
            return None;
        }
        let (runtime, heard) = (Runtime::new().unwrap(), Arc::new(Heard::default()));
        let context = Context {
            runtime: runtime.handle().clone(),
            cancel: Cancel::default(),
            listener: heard.clone(),
            redactor: Redactor::default(),
            owner: pgscript::world::Owner::default(),
        };
        let fixture = Self { dir: tempfile::tempdir().unwrap(), heard, context, _runtime: runtime };
        fixture.write("inventory.ini", INVENTORY);
        fixture.write("ansible.cfg", "[defaults]\nhost_key_checking = False\n");
        fixture.playbook("web", tasks);
        Some(fixture)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// `tasks`: lines of a YAML list, not indented.
    fn playbook(&self, hosts: &str, tasks: &str) {
        let tasks = tasks.trim().replace('\n', "\n    ");
        self.write("play.yml", &format!("- hosts: {hosts}\n  gather_facts: false\n  tasks:\n    {tasks}\n"));
    }

    fn spec(&self) -> PlaybookSpec {
        let site = Site { dir: self.dir.path().into(), inventory: Some("inventory.ini".into()), ..Site::default() };
        PlaybookSpec { site, playbook: "play.yml".into(), ..PlaybookSpec::default() }
    }

    fn ansible(&self) -> AnsiblePrograms {
        AnsiblePrograms::new(self.context.clone())
    }

    fn error(&self, spec: &PlaybookSpec) -> Error {
        self.ansible().playbook(spec).unwrap_err()
    }
}

#[test]
fn a_playbook_that_works_gives_its_recap_and_its_output() {
    let tasks = "- name: say it\n  command: echo hi\n  tags: [talk]\n- fail:\n  tags: [other]";
    let Some(site) = Fixture::new(tasks) else { return };
    let recap = site.ansible().playbook(&PlaybookSpec { tags: vec!["talk".into()], ..site.spec() }).unwrap();
    assert_eq!(recap.keys().collect::<Vec<_>>(), ["alpha", "beta"]);
    assert_eq!((recap["alpha"].ok, recap["alpha"].changed, recap["alpha"].failed), (1, 1, 0));
    let output = site.heard.output();
    assert!(output.contains("TASK [say it]") && output.contains("PLAY RECAP"), "{output}");
    assert!(!output.contains('\u{1b}'), "colours in {output}");
    let error = site.error(&PlaybookSpec { tags: vec!["misspelt".into()], ..site.spec() });
    assert_eq!(error.code, "ansible.no_tasks");
}

#[test]
fn a_failing_task_is_named_with_its_host_and_its_message() {
    let tasks = "- name: deploy the app\n  command: sh -c 'echo why >&2; exit 3'\n  when: inventory_hostname == 'beta'";
    let Some(site) = Fixture::new(tasks) else { return };
    let error = site.error(&site.spec());
    assert_eq!((error.kind, error.code.as_str()), (Kind::Failed, "ansible.failed"));
    assert_eq!(error.message, "host beta failed in task \"deploy the app\": non-zero return code: why");
}

#[test]
fn an_unreachable_host_is_named() {
    let Some(site) = Fixture::new("- ping:") else { return };
    site.playbook("dead", "- name: reach\n  ping:");
    let error = site.error(&site.spec());
    assert_eq!((error.kind, error.code.as_str()), (Kind::Unavailable, "ansible.unreachable"));
    assert!(error.message.starts_with("host gone is unreachable in task \"reach\": "), "{}", error.message);
}

#[test]
fn a_limit_that_selects_no_host_is_an_error_that_names_the_hosts() {
    let Some(site) = Fixture::new("- ping:") else { return };
    for limit in ["misspelt", "dead"] {
        let mut spec = site.spec();
        spec.site.limit = Some(limit.into());
        let error = site.error(&spec);
        assert_eq!(error.code, "ansible.no_hosts", "{limit}: {}", error.message);
        assert_eq!(error.hint.as_deref(), Some("the inventory has: alpha, beta, gone"));
    }
}

#[test]
fn a_limit_of_which_a_part_matches_nothing_is_warned_of() {
    let Some(site) = Fixture::new("- ping:") else { return };
    let mut spec = site.spec();
    spec.site.limit = Some("alpha,betta".into());
    assert_eq!(site.ansible().playbook(&spec).unwrap().len(), 1);
    let events = site.heard.0.lock().unwrap();
    assert!(events.iter().any(|e| matches!(e, Event::Warn { text } if text.contains("betta"))));
}

#[test]
fn paths_that_do_not_exist_are_named_before_anything_runs() {
    let Some(site) = Fixture::new("- ping:") else { return };
    let mut cases = Vec::new();
    let mut case = |code: &'static str, change: &dyn Fn(&mut PlaybookSpec)| {
        let mut spec = site.spec();
        change(&mut spec);
        cases.push((code, spec));
    };
    case("ansible.inventory", &|s| s.site.inventory = Some("missing.ini".into()));
    case("ansible.playbook", &|s| s.playbook = "missing.yml".into());
    case("ansible.playbook", &|s| s.site.dir = "/missing/site".into());
    case("ansible.vault", &|s| s.site.vault_password_file = Some("missing.pw".into()));
    case("ansible.extra_vars", &|s| s.extra_vars_files = vec!["missing.yml".into()]);
    case("ansible.not_installed", &|s| s.site.virtualenv = Some("missing/venv".into()));
    for (code, spec) in cases {
        let error = site.error(&spec);
        assert_eq!(error.code, code);
        assert!(error.message.contains("missing"), "{}", error.message);
    }
    assert_eq!(site.heard.output(), "");
}

#[test]
fn a_broken_inventory_playbook_or_vault_is_told_apart() {
    let Some(site) = Fixture::new("- ping:") else { return };
    site.write("broken.ini", "[web\nalpha = = x\n");
    let mut spec = site.spec();
    spec.site.inventory = Some("broken.ini".into());
    assert_eq!(site.error(&spec).code, "ansible.inventory");
    site.write("broken.yml", "- hosts: web\n  tasks:\n    - name: \"x\n      ping:\n");
    assert_eq!(site.error(&PlaybookSpec { playbook: "broken.yml".into(), ..site.spec() }).code, "ansible.syntax");
    site.write("group_vars/web.yml", "$ANSIBLE_VAULT;1.1;AES256\n3031\n");
    assert_eq!(site.error(&site.spec()).code, "ansible.vault");
}

#[test]
fn a_virtual_environment_is_used_without_running_its_activate() {
    let Some(site) = Fixture::new("- ping:") else { return };
    site.write("venv/bin/activate", "touch ran; exec bash -i\n");
    site.write("venv/bin/ansible-playbook", "#!/bin/sh\necho \"fake $VIRTUAL_ENV\"; command -v ansible-playbook\n");
    let fake = site.dir.path().join("venv/bin/ansible-playbook");
    std::fs::set_permissions(&fake, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut spec = site.spec();
    spec.site.virtualenv = Some("venv/bin/activate".into());
    let version = site.ansible().version(&spec.site).unwrap();
    assert_eq!(version, format!("fake {}", site.dir.path().join("venv").display()));
    assert!(!site.dir.path().join("ran").exists());
    assert!(site.ansible().version(&site.spec().site).unwrap().starts_with("ansible-playbook ["));
}

#[test]
fn extra_vars_arrive_as_they_are_and_in_no_argv() {
    let tasks = "- name: look\n  shell: cat /proc/[0-9]*/cmdline | tr '\\0' ' '; env\n  register: seen\n\
                 - name: not in argv\n  assert:\n    that: \"('needle-' ~ 'in-haystack') not in seen.stdout\"\n\
                 - copy:\n    content: \"{{ password }}|{{ list[1] }}|{{ number + 1 }}\"\n    \
                 dest: \"{{ playbook_dir }}/got\"";
    let Some(site) = Fixture::new(tasks) else { return };
    let mut spec = site.spec();
    spec.site.limit = Some("alpha".into());
    spec.extra_vars_files = vec!["extra.yml".into()];
    site.write("extra.yml", "number: 1\npassword: of the file\n");
    let vars = json!({"password": "needle-in-haystack {{ 7*7 }} ' \" \\ é", "list": ["a", "b"]});
    spec.extra_vars = vars.as_object().unwrap().clone();
    site.ansible().playbook(&spec).unwrap_or_else(|e| panic!("{e}\n{}", site.heard.output()));
    let got = std::fs::read_to_string(site.dir.path().join("got")).unwrap();
    assert_eq!(got, "needle-in-haystack {{ 7*7 }} ' \" \\ é|b|2");
}

#[test]
fn a_secret_in_ansibles_message_is_dots_in_the_error() {
    let Some(site) = Fixture::new("- name: tell\n  fail: {msg: 'the password is hunter22'}") else { return };
    site.context.redactor.learn(&Secret::new("hunter22"));
    let error = site.error(&site.spec());
    assert!(error.message.contains("the password is ••••••"), "{}", error.message);
}

#[test]
fn check_mode_changes_nothing() {
    let Some(site) = Fixture::new("- copy: {content: x, dest: \"{{ playbook_dir }}/made\"}") else { return };
    let mut spec = PlaybookSpec { check_mode: true, ..site.spec() };
    spec.site.limit = Some("alpha".into());
    assert_eq!(site.ansible().playbook(&spec).unwrap()["alpha"].changed, 1);
    assert!(!site.dir.path().join("made").exists());
}

#[test]
fn inventory_questions_respect_limit_and_group_variables() {
    let Some(site) = Fixture::new("- ping:") else { return };
    site.write("group_vars/web.yml", "primero_postgres_version: 15\n");
    let ansible = site.ansible();
    let mut at = site.spec().site;
    assert_eq!(ansible.hosts(&at).unwrap(), ["alpha", "beta", "gone"]);
    at.limit = Some("web:!beta".into());
    assert_eq!(ansible.hosts(&at).unwrap(), ["alpha"]);
    at.limit = Some("nobody".into());
    let error = ansible.hosts(&at).unwrap_err();
    assert_eq!(error.code, "ansible.no_hosts");
    assert_eq!(error.hint.as_deref(), Some("the inventory has: alpha, beta, gone"));
    let version = |files: &[std::path::PathBuf]| {
        ansible.host_variables(&at, "alpha", files).map(|v| v["primero_postgres_version"].clone())
    };
    assert_eq!(version(&[]).unwrap(), 15);
    site.write("secrets.yml", "primero_postgres_version: 17\n");
    assert_eq!(version(&["secrets.yml".into()]).unwrap(), 17);
    assert_eq!(version(&["nowhere.yml".into()]).unwrap_err().code, "ansible.extra_vars");
    assert_eq!(ansible.host_variables(&at, "nobody", &[]).unwrap_err().code, "ansible.no_hosts");
    // Questions print nothing: variables may hold secrets.
    assert_eq!(site.heard.output(), "");
}

#[test]
fn the_hosts_a_playbook_would_act_on_are_told_without_running_it() {
    let tasks = "- file: {path: \"{{ playbook_dir }}/ran\", state: touch}\n  tags: [start]";
    let Some(site) = Fixture::new(tasks) else { return };
    let hosts = |hosts: &str, limit: Option<&str>| {
        site.playbook(hosts, tasks);
        let mut spec = PlaybookSpec { tags: vec!["start".into()], ..site.spec() };
        spec.site.limit = limit.map(str::to_owned);
        site.ansible().playbook_hosts(&spec)
    };
    assert_eq!(hosts("web", None).unwrap(), ["alpha", "beta"]);
    assert_eq!(hosts("web", Some("beta")).unwrap(), ["beta"]);
    // No inventory names localhost: Ansible knows it of itself, and a limit leaves it out.
    assert_eq!(hosts("all:localhost", None).unwrap(), ["alpha", "beta", "gone", "localhost"]);
    assert_eq!(hosts("all:localhost", Some("alpha")).unwrap(), ["alpha"]);
    for (pattern, limit) in [("web", "dead"), ("all:localhost", "misspelt")] {
        let error = hosts(pattern, Some(limit)).unwrap_err();
        assert_eq!(error.code, "ansible.no_hosts", "{limit}: {}", error.message);
        assert_eq!(error.hint.as_deref(), Some("the inventory has: alpha, beta, gone"));
    }
    assert!(!site.dir.path().join("ran").exists(), "the playbook was run");
    assert_eq!(site.heard.output(), "");
}

#[test]
fn what_a_playbook_would_stop_at_is_told_without_running_it() {
    let Some(site) = Fixture::new("- ping:") else { return };
    // Gathering facts is no task of the playbook: with it the run itself would not notice the tag.
    site.write("facts.yml", "- hosts: alpha\n  tasks:\n    - ping:\n");
    site.write("syntax.yml", "- hosts: web\n  tasks:\n    - no_such_module:\n");
    let spec = |playbook: &str| PlaybookSpec { playbook: playbook.into(), ..site.spec() };
    let code = |spec: PlaybookSpec| site.ansible().playbook_hosts(&spec).unwrap_err().code;
    assert_eq!(code(spec("missing.yml")), "ansible.playbook");
    assert_eq!(code(spec("syntax.yml")), "ansible.syntax");
    assert_eq!(code(PlaybookSpec { tags: vec!["misspelt".into()], ..spec("facts.yml") }), "ansible.no_tasks");
    assert_eq!(
        code(PlaybookSpec { extra_vars_files: vec!["missing.yml".into()], ..site.spec() }),
        "ansible.extra_vars"
    );
}

#[test]
fn a_play_for_a_host_that_is_given_acts_on_that_one() {
    let Some(site) = Fixture::new("- ping:") else { return };
    site.playbook("\"{{ target }}\"", "- ping:");
    site.write("extra.yml", "target: beta\n");
    let mut spec = PlaybookSpec { extra_vars_files: vec!["extra.yml".into()], ..site.spec() };
    assert_eq!(site.ansible().playbook_hosts(&spec).unwrap(), ["beta"]);
    spec.extra_vars = json!({"target": "alpha"}).as_object().unwrap().clone();
    assert_eq!(site.ansible().playbook_hosts(&spec).unwrap(), ["alpha"]);
}

#[test]
fn cancel_ends_ansible_and_what_it_started() {
    let Some(site) = Fixture::new("- shell: echo $$ > {{ playbook_dir }}/pid; exec sleep 61") else { return };
    let mut spec = site.spec();
    spec.site.limit = Some("alpha".into());
    spec.extra_vars = json!({"canary": 1}).as_object().unwrap().clone();
    let (cancel, pid_file) = (site.context.cancel.clone(), site.dir.path().join("pid"));
    let canceller = std::thread::spawn(move || {
        let pid = wait_for(&pid_file);
        cancel.cancel();
        (pid, Instant::now())
    });
    let error = site.error(&spec);
    let ended = Instant::now();
    let (pid, cancelled_at) = canceller.join().unwrap();
    assert_eq!((error.kind, error.code.as_str()), (Kind::Cancelled, "cancelled"));
    assert!(ended - cancelled_at < Duration::from_secs(3), "took {:?}", ended - cancelled_at);
    std::thread::sleep(Duration::from_millis(100));
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "the task's process lives on: {state}");
}

fn wait_for(path: &Path) -> String {
    for _ in 0..300 {
        match std::fs::read_to_string(path) {
            Ok(text) if !text.trim().is_empty() => return text.trim().to_owned(),
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    panic!("the task never started")
}
