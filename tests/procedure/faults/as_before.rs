//! The stack comes back as it was: restart policies, fixed addresses, and who lives in whose network, after every end.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::stack::{Stack, Watched, docker, run, sh};

/// Services beside the usual ones: one that lives in the database's network, one in the application's, one in that of
/// a container which is not of the project; fixed addresses; a policy each.
fn change_compose_file(stack: &Stack, subnet: &str, stranger: &str) {
    let path = stack.dir.join("docker-compose.yml");
    let text = std::fs::read_to_string(&path).unwrap();
    let address = |n: u32| format!("    networks: {{default: {{ipv4_address: {subnet}.{n}, aliases: [also-{n}]}}}}\n");
    let sidecar = |name: &str, mode: &str, policy: &str| {
        format!(
            "  {name}:\n    image: pgscript-test/app:1\n    command: [idle.sh]\n    restart: {policy}\n    \
             network_mode: \"{mode}\"\n    labels: *labels\n"
        )
    };
    let text = text
        .replace(
            "    env_file: [postgres.env]\n    volumes:",
            &format!("    env_file: [postgres.env]\n{}    volumes:", address(10)),
        )
        .replace(
            "    command: [app.sh, worker]\n    restart: always\n",
            &format!("    command: [app.sh, worker]\n    restart: on-failure:7\n{}", address(11)),
        )
        .replace(
            "\nvolumes:\n",
            &[
                "\n".to_owned(),
                sidecar("beside-database", "service:postgres", "unless-stopped"),
                sidecar("beside-application", "service:application", "always"),
                sidecar("beside-stranger", &format!("container:{stranger}"), "always"),
                "\nvolumes:\n".to_owned(),
            ]
            .concat(),
        )
        .replace("  default:\n", &format!("  default:\n    ipam: {{config: [{{subnet: {subnet}.0/24}}]}}\n"));
    std::fs::write(path, text).unwrap();
}

/// By service: policy, whether it runs, fixed addresses and aliases, and in whose network it lives.
fn standing(stack: &Stack) -> BTreeMap<String, Value> {
    let filter = format!("label=com.docker.compose.project={}", stack.name);
    let ids = stack.docker(&["ps", "-aq", "--filter", &filter]);
    let arguments: Vec<_> = ["inspect"].into_iter().chain(ids.lines()).collect();
    let all: Vec<Value> = serde_json::from_str(&stack.docker(&arguments)).unwrap();
    let look = |c: &Value| {
        let host = c["HostConfig"]["NetworkMode"].as_str().and_then(|mode| mode.strip_prefix("container:"));
        let name = |id: &str| stack.docker(&["ps", "-a", "--filter", &format!("id={id}"), "--format", "{{.Names}}"]);
        let networks = c["NetworkSettings"]["Networks"].as_object().unwrap().iter();
        let places: BTreeMap<_, _> = networks
            .map(|(network, place)| {
                let fixed = &place["IPAMConfig"]["IPv4Address"];
                let mut aliases: Vec<_> = place["Aliases"].as_array().into_iter().flatten().cloned().collect();
                aliases.retain(|alias| !c["Id"].as_str().unwrap().starts_with(alias.as_str().unwrap()));
                (network, json!([fixed, if fixed.is_null() { &Value::Null } else { &place["IPAddress"] }, aliases]))
            })
            .collect();
        json!([c["HostConfig"]["RestartPolicy"], c["State"]["Running"], places, host.map(name)])
    };
    let service = |c: &Value| c["Config"]["Labels"]["com.docker.compose.service"].as_str().unwrap().to_owned();
    all.iter().map(|c| (service(c), look(c))).collect()
}

/// A container that is nobody's of the project, in whose network one of the project lives.
fn start_stranger(stack: &Stack) -> String {
    let name = format!("{}-stranger", stack.name);
    let label = format!("pgscript.test.stack={}", stack.name);
    docker(&["run", "-d", "--name", &name, "--label", &label, "--entrypoint", "sleep", "pgscript-test/app:1", "3600"]);
    name
}

/// The deploy is `up -d` without `--force-recreate`: what it leaves alone keeps the `no` of the fence.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn restart_policy_lost_static_address_and_sidecar_network() {
    let stack = Stack::with(13, &["--seed", "none"]);
    let stranger = start_stranger(&stack);
    stack.deploy_by_command();
    let deploy = stack.dir.join("deploy.sh");
    let text = std::fs::read_to_string(&deploy).unwrap();
    let down = text.replace("up -d --force-recreate --no-build", "down");
    sh("sh", &["-ec", &down]);
    let subnet = format!("10.{}.{}", 120 + std::process::id() % 100, std::process::id() / 100 % 250);
    change_compose_file(&stack, &subnet, &stranger);
    std::fs::write(&deploy, text.replace(" --force-recreate", "")).unwrap();
    sh("sh", &["-e", &deploy.display().to_string()]);
    stack.writes();
    // A job that has been done, once, by hand.
    let label = format!("pgscript.test.stack={}", stack.name);
    let oneoff = [("project", stack.name.as_str()), ("service", "migrate"), ("oneoff", "True")]
        .map(|(key, value)| format!("--label=com.docker.compose.{key}={value}"));
    docker(&[
        "run",
        "--label",
        &label,
        &oneoff[0],
        &oneoff[1],
        &oneoff[2],
        "--entrypoint",
        "true",
        "pgscript-test/app:1",
    ]);
    let before = standing(&stack);
    assert_eq!(before["worker"][0]["Name"], "on-failure", "{before:?}");

    // It is put back by itself.
    stack.inventory_version(17);
    let mut first = Watched::start(stack.upgrade_command(17, &[]));
    first.until("7 verify the dump");
    first.interrupt();
    first.end().expect(4, &["everything is back as it was"]);
    assert_eq!(standing(&stack), before);
    stack.writes();

    // It is killed, and the database's address is somebody else's when it is rolled back: all run, and who has the
    // address is named; without that one it is as before.
    let mut second = Watched::start(stack.upgrade_command(17, &[]));
    second.until("7 verify the dump");
    second.kill();
    let (thief, network, address) =
        (format!("{}-thief", stack.name), format!("{}_default", stack.name), format!("{subnet}.10"));
    let place = ["--name", &thief, "--label", &label, "--network", &network, "--ip", &address];
    docker(&[&["run", "-d"][..], &place, &["--entrypoint", "sleep", "pgscript-test/app:1", "3600"]].concat());
    let failed = run(&mut stack.pgscript(&["rollback", "upgrade-2", "--yes"]));
    let failed = failed.expect(1, &["not all of the stack is as it was", &thief, &format!("--ip {address}")]);
    assert!(!failed.text.contains("is rolled back"), "{}", failed.text);
    stack.writes();
    docker(&["rm", "-f", &thief]);
    run(&mut stack.pgscript(&["rollback", "upgrade-2", "--yes"])).expect(0, &["is rolled back"]);
    assert_eq!(standing(&stack), before);
    stack.writes();

    // It comes to its end.
    stack.upgrade(17, &[]).expect(0, &["runs on PostgreSQL 17"]);
    assert_eq!(standing(&stack), before);
    stack.writes();

    // It is rolled back. Who lived with the stranger can't come back, and is named; all the others do.
    docker(&["rm", "-f", &stranger]);
    let name = format!("{}-beside-stranger-1", stack.name);
    let failed = run(&mut stack.pgscript(&["rollback", "upgrade-3", "--yes"]));
    let failed = failed.expect(1, &["not all of the stack is as it was", &name]);
    assert!(!failed.text.contains("is rolled back"), "{}", failed.text);
    let mut now = standing(&stack);
    let mut expected = before.clone();
    now.remove("beside-stranger");
    expected.remove("beside-stranger");
    assert_eq!(now, expected);
    assert_eq!(stack.major(), "13");
    stack.writes();

    // Whoever makes it anew by hand may say so by the same command.
    let _ = std::process::Command::new("docker").args(["rm", "-f", &name]).output();
    let args = ["run", "-d", "--name", &name, "--label", &label, "--restart", "always", "--entrypoint", "sleep"];
    docker(&[&args[..], &["pgscript-test/app:1", "3600"]].concat());
    run(&mut stack.pgscript(&["rollback", "upgrade-3", "--yes"])).expect(0, &["is rolled back"]);
    stack.no_helpers_left();
}
