//! What the new image does not take of the site's set-up is known before the outage, by a trial start.

use super::before::Before;
use super::upgrade;
use crate::stack::{Stack, Watched, run, sh};

/// Puts more into the database's service, and brings the stack up with it.
fn change(stack: &Stack, compose: &str, service: &str) {
    let text = compose.replace("    env_file: [postgres.env]\n    volumes:", &format!("{service}    volumes:"));
    assert_ne!(text, compose);
    std::fs::write(stack.dir.join("docker-compose.yml"), text).unwrap();
    sh("sh", &["-e", &stack.dir.join("deploy.sh").display().to_string()]);
    stack.writes();
}

#[test]
fn unknown_setting_restarts_for_ever_and_is_known_before_the_outage() {
    let stack = Stack::with(13, &["--seed", "none"]);
    stack.deploy_by_command();
    let compose = std::fs::read_to_string(stack.dir.join("docker-compose.yml")).unwrap();
    let refused = |said: &[&str]| {
        let before = Before::containers_of(&stack);
        run(&mut stack.checks(17, "trial", &[])).expect(3, &["[preflight.trial_start]"]).expect(3, said);
        before.is_untouched(&stack);
    };

    let command = "    env_file: [postgres.env]\n    command: [postgres, -c, old_snapshot_threshold=-1]\n";
    change(&stack, &compose, command);
    refused(&["unrecognized configuration parameter \"old_snapshot_threshold\"", "by the service's command"]);

    // In a file of the site's; its directory could be written to, and so could one that the server needs, its socket's.
    let (site, sockets) = (stack.dir.join("site"), stack.dir.join("sockets"));
    let script = "#!/bin/sh\ntouch /site/by-the-trial; [ ! -e /site/by-the-trial ] || exit 1\n";
    for dir in [&site, &sockets] {
        std::fs::create_dir(dir).unwrap();
        sh("chmod", &["0777", &dir.display().to_string()]);
    }
    sh("chmod", &["0755", &stack.dir.display().to_string()]);
    let configuration = "listen_addresses = '*'\nhba_file = '/site/hba.conf'\n";
    std::fs::write(
        site.join("hba.conf"),
        "local all all trust\nhost all all 127.0.0.1/32 trust\nhost all all all md5\n",
    )
    .unwrap();
    std::fs::write(site.join("init.sh"), script).unwrap();
    let conf = site.join("site.conf");
    std::fs::write(&conf, format!("{configuration}stats_temp_directory = 'pg_stat_tmp'\n")).unwrap();
    sh("chmod", &["-R", "a+rX", &site.display().to_string()]);
    let service = "    env_file: [postgres.env]\n    command: [postgres, -c, config_file=/site/site.conf]\n";
    let volumes = compose.replace(
        "    volumes: [\"database:",
        "    volumes: [\"./site:/site\", \"./sockets:/var/run/postgresql\", \
         \"./site/init.sh:/docker-entrypoint-initdb.d/init.sh\", \"database:",
    );
    change(&stack, &volumes, service);
    let from = format!("is set in /site/site.conf, mounted from {}", site.display());
    refused(&["\"stats_temp_directory\"", &from]);

    // As the new version takes it; the trial has left nothing.
    std::fs::write(&conf, configuration).unwrap();
    let before = Before::containers_of(&stack);
    let mut good = Watched::start(upgrade(&stack, &[]));
    good.until("2 make the artefact directory");
    good.interrupt();
    good.end().expect(4, &["everything is back as it was"]);
    before.is_back(&stack);
    assert!(!site.join("by-the-trial").exists(), "the trial has written to the site's directory");
}
