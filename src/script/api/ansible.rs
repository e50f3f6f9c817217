//! `ansible::` playbooks and inventories of the site.

use std::sync::Arc;

use rhai::{Array, Dynamic};

use super::call::Options;
use super::{Registrar, values};
use crate::script::guards;
use crate::world::ansible::{PlaybookSpec, Site};
use crate::world::{Error, Result};

/// Declares the handle type and functions.
pub fn register(registrar: &mut Registrar) {
    registrar.handle::<Site>("AnsibleSite");
    registrar.property::<Site>("AnsibleSite", "dir", "string", "Directory of the playbooks.", |s| {
        s.dir.display().to_string().into()
    });
    registrar.property::<Site>("AnsibleSite", "limit", "any", "Host pattern; `()` for all hosts.", |s| {
        s.limit.clone().map_or(Dynamic::UNIT, Dynamic::from)
    });
    registrar.namespace("ansible", "Playbooks and inventories, by the site's own Ansible.", |ns| {
        ns.function(
            "site(options: Map) -> AnsibleSite",
            "Where Ansible is: dir (playbooks, ansible.cfg), virtualenv (its directory or its bin/activate), \
             inventory, limit, vault_password_file.",
            |call| {
                let known = &["dir", "virtualenv", "inventory", "limit", "vault_password_file"];
                Ok(values::handle(site(&call.options("options", known)?)?))
            },
        );
        ns.effect(
            "playbook(site: AnsibleSite, playbook: string, options: Map = #{}) -> Map",
            "Runs a playbook to its end, output line by line. Options: tags, skip_tags, extra_vars (a map; handed over \
             in a private file), extra_vars_files, check_mode. Gives the recap, a map per host.\n\n\
             Errors name host and task: `ansible.failed`, `ansible.unreachable`, `ansible.no_hosts`, \
             `ansible.inventory`, `ansible.not_installed`; `guard.fence` while restored data is not compared.",
            |call| {
                let site: Arc<Site> = call.get("site")?;
                let known = &["tags", "skip_tags", "extra_vars", "extra_vars_files", "check_mode"];
                let spec = playbook(&site, call.path("playbook")?, &call.options("options", known)?)?;
                let command = command(&spec);
                if !spec.check_mode {
                    guards::deploy(call.session)?;
                    call.effect(command)?;
                }
                Ok(values::from_serde(&call.world().ansible.playbook(&spec)?))
            },
        );
        ns.function(
            "playbook_hosts(site: AnsibleSite, playbook: string, options: Map = #{}) -> Array",
            "Hosts that a playbook would act on, sorted: those of each play of which the tags select a task. Nothing \
             is run on them. Options: tags, skip_tags, extra_vars, extra_vars_files, as for `playbook`.\n\n\
             Errors: `ansible.no_hosts`, `ansible.no_tasks`, `ansible.playbook`, `ansible.syntax`, \
             `ansible.extra_vars`, `ansible.vault`, `ansible.inventory`.",
            |call| {
                let known = &["tags", "skip_tags", "extra_vars", "extra_vars_files"];
                let spec = playbook(
                    &*call.get::<Arc<Site>>("site")?,
                    call.path("playbook")?,
                    &call.options("options", known)?,
                )?;
                Ok(strings(call.world().ansible.playbook_hosts(&spec)?))
            },
        );
        ns.function(
            "hosts(site: AnsibleSite) -> Array",
            "Hosts that inventory and limit select.\n\nErrors: `ansible.no_hosts`, `ansible.inventory`.",
            |call| {
                let hosts = call.world().ansible.hosts(&*call.get::<Arc<Site>>("site")?)?;
                Ok(strings(hosts))
            },
        );
        ns.function(
            "host_variables(site: AnsibleSite, host: string, options: Map = #{}) -> Map",
            "All variables of a host, group variables merged in. Options: extra_vars_files, as for `playbook`.",
            |call| {
                let files = call.options("options", &["extra_vars_files"])?.strings("extra_vars_files")?;
                let files: Vec<_> = files.into_iter().map(Into::into).collect();
                let (site, host): (Arc<Site>, _) = (call.get("site")?, call.string("host")?);
                Ok(values::from_object(call.world().ansible.host_variables(&site, &host, &files)?).into())
            },
        );
        ns.function(
            "ping(site: AnsibleSite)",
            "Logs in to every selected host and changes nothing there.\n\n\
             Errors: `ansible.unreachable` names the host.",
            |call| {
                call.world().ansible.ping(&*call.get::<Arc<Site>>("site")?)?;
                Ok(Dynamic::UNIT)
            },
        );
        ns.function(
            "version(site: AnsibleSite) -> string",
            "The version line of ansible-playbook.\n\nErrors: `ansible.not_installed`.",
            |call| Ok(call.world().ansible.version(&*call.get::<Arc<Site>>("site")?)?.into()),
        );
    });
}

fn strings(texts: Vec<String>) -> Dynamic {
    texts.into_iter().map(Dynamic::from).collect::<Array>().into()
}

fn site(o: &Options) -> Result<Site> {
    let dir =
        o.path("dir")?.ok_or_else(|| Error::failed("script.missing_option", "ansible::site: `dir` is missing"))?;
    Ok(Site {
        dir,
        virtualenv: o.path("virtualenv")?,
        inventory: o.path("inventory")?,
        limit: o.string("limit")?,
        vault_password_file: o.path("vault_password_file")?,
    })
}

fn playbook(site: &Site, playbook: std::path::PathBuf, o: &Options) -> Result<PlaybookSpec> {
    let extra_vars = o.map("extra_vars")?.map(|m| values::to_object(&m)).transpose()?.unwrap_or_default();
    Ok(PlaybookSpec {
        site: site.clone(),
        playbook,
        tags: o.strings("tags")?,
        skip_tags: o.strings("skip_tags")?,
        extra_vars,
        extra_vars_files: o.strings("extra_vars_files")?.into_iter().map(Into::into).collect(),
        check_mode: o.bool("check_mode")?.unwrap_or(false),
    })
}

/// What an operator would type for it.
fn command(spec: &PlaybookSpec) -> String {
    let mut words = vec![format!("ansible-playbook {}", spec.playbook.display())];
    if !spec.tags.is_empty() {
        words.push(format!("--tags {}", spec.tags.join(",")));
    }
    words.extend(spec.site.limit.iter().map(|l| format!("-l {l}")));
    words.extend(spec.site.inventory.iter().map(|i| format!("-i {}", i.display())));
    words.extend(spec.extra_vars_files.iter().map(|f| format!("-e @{}", f.display())));
    words.join(" ")
}
