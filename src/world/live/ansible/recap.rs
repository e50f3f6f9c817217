//! The recap that ends a playbook's output, a line per host.

use crate::world::ansible::HostRecap;

/// Whether a line is the heading of a recap: `PLAY RECAP *****`, or the `- Play recap -` of the callback "unixy".
/// An indented one is a result's own text (a nested run shown by a task) and doesn't count.
pub fn is_heading(line: &str) -> bool {
    line.starts_with("PLAY RECAP") || line.starts_with("- Play recap -")
}

/// Reads `alpha : ok=1 changed=0 unreachable=0 failed=0 …`; counts of older or newer releases may lack or be unknown.
pub fn host_line(line: &str) -> Option<(String, HostRecap)> {
    // A host may be an IPv6 address, so the separator is the last " : ".
    let (host, counts) = line.rsplit_once(" : ")?;
    let mut recap = HostRecap::default();
    let mut known = 0;
    for pair in counts.split_whitespace() {
        let (name, count) = pair.split_once('=')?;
        let count = count.parse().ok()?;
        let slot = match name {
            "ok" => &mut recap.ok,
            "changed" => &mut recap.changed,
            "unreachable" => &mut recap.unreachable,
            "failed" => &mut recap.failed,
            "skipped" => &mut recap.skipped,
            "rescued" => &mut recap.rescued,
            "ignored" => &mut recap.ignored,
            _ => continue,
        };
        *slot = count;
        known += 1;
    }
    let host = host.trim();
    (known >= 4 && !host.is_empty()).then(|| (host.to_owned(), recap))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_line_gives_its_counts() {
        let line = "alpha                      : ok=1    changed=2    unreachable=0    failed=3    skipped=4    \
                    rescued=5    ignored=6   ";
        let recap = HostRecap { ok: 1, changed: 2, unreachable: 0, failed: 3, skipped: 4, rescued: 5, ignored: 6 };
        assert_eq!(host_line(line), Some(("alpha".into(), recap)));
    }

    #[test]
    fn ipv6_hosts_and_old_recaps_are_read() {
        let (host, recap) = host_line("fe80::1 : ok=7 changed=0 unreachable=1 failed=0").unwrap();
        assert_eq!((host.as_str(), recap.ok, recap.unreachable), ("fe80::1", 7, 1));
    }

    #[test]
    fn other_text_is_no_host_line() {
        for line in ["", "PLAY RECAP ****", "time : 12 seconds", "alpha : ok=one changed=0 unreachable=0 failed=0"] {
            assert_eq!(host_line(line), None, "{line}");
        }
    }
}
