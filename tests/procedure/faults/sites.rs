//! A deployment with other names and without Ansible: the whole way.

use std::os::unix::fs::PermissionsExt;

use crate::procedure::upgrades::private;
use crate::stack::{Stack, run};

/// Compose on the same machine, called by a script of the site.
fn deploy_script(stack: &Stack) -> String {
    let path = stack.dir.join("deploy");
    let state = std::env::var("PGSCRIPT_TEST_STATE").map(|s| format!("export PGSCRIPT_TEST_STATE='{s}'\n"));
    let text = format!(
        "#!/bin/bash\nset -eu\n{}. {}/tests/stack/lib.sh\ncd \"$(dirname \"$0\")\"\n\
         sed -i \"s/^PRIMERO_POSTGRES_VERSION=.*/PRIMERO_POSTGRES_VERSION=$1/\" .env\n\
         docker compose up -d --force-recreate --no-build\n",
        state.unwrap_or_default(),
        env!("CARGO_MANIFEST_DIR"),
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path.display().to_string()
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn other_names_and_no_ansible() {
    let project = format!("other-{}", std::process::id());
    let volume = format!("elsewhere-{}", std::process::id());
    let stack = Stack::with(13, &["--project", &project, "--volume", &volume]);
    let before = stack.content();
    // A site may want its backups and dumps elsewhere than in the run store.
    let base = stack.dir.join("artefacts");
    let mut command = stack.pgscript(&[]);
    command.args(["run", "upgrade.rhai", "--set", "to=17", "--set", "strategy=dump", "--set", "deploy=command"]);
    for set in [
        format!("project={project}"),
        format!("base={}", base.display()),
        format!("deploy_command={},17", deploy_script(&stack)),
    ] {
        command.args(["--set", &set]);
    }
    run(&mut command).expect(0, &[&volume, &format!("{project} runs on PostgreSQL 17")]);
    assert_eq!(stack.major(), "17");
    assert_eq!(stack.content(), before);
    assert_eq!(stack.inspect("postgres", "{{range .Mounts}}{{.Name}}{{end}}"), volume);
    let artefacts = base.join(&project).join("upgrade-1");
    assert!(artefacts.join("volume.tar.zst").exists() && artefacts.join("dump").exists());
    private(&base);
    stack.writes();
    stack.no_helpers_left();
}
