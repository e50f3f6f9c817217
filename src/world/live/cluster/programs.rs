//! The old version's programs in a container of the new image: the old image's files in a volume, and a wrapper for
//! each program that runs it by its own loader and with its own libraries.

use super::{BESIDE, Clusters, mount};
use crate::world::container::ContainerSpec;
use crate::world::error::{Error, Result};

/// Where both the old image (which fills it) and the new one see the volume.
pub const PROGRAMS: &str = "/old";
/// The wrappers.
pub const WRAPPERS: &str = "/old/pgscript/bin";

/// Copies what programs need, and writes the wrappers. Links to absolute paths are resolved here, in the old image: in
/// the new one they would lead to its own files, and the new loader would meet the old libraries. The libraries'
/// directories are those that the old loader itself finds them in.
const FILL: &str = r#"set -e
[ ! -e /old/pgscript/complete ] || exit 0
rm -rf /old/pgscript
postgres=$(readlink -f "$(command -v postgres)")
bin=$(dirname "$postgres")
for loader in /lib64/ld-linux-*.so.* /lib/ld-linux-*.so.* /lib/ld-musl-*.so.1; do
    [ ! -e "$loader" ] || break
done
loader=$(readlink -f "$loader")
libraries=$(for program in postgres pg_ctl pg_controldata pg_resetwal; do
        "$loader" --list "$bin/$program" || ldd "$bin/$program"
    done 2>/dev/null | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | while read -r library; do
        dirname "$library"; dirname "$(readlink -f "$library")"
    done | sort -u | sed 's/^/\/old/' | tr '\n' :)
for directory in /usr /lib* /opt; do
    [ ! -e "$directory" ] || cp -a "$directory" /old/
done
mkdir -p /old/pgscript/bin
wrapper() {
    printf '#!/bin/sh\n%s\nexec %s --library-path %s %s "$@"\n' "$2" "/old$loader" "'${libraries%:}'" "/old$bin/$1" \
        >"/old/pgscript/bin/$1"
    chmod 755 "/old/pgscript/bin/$1"
}
for program in postgres pg_controldata pg_resetwal; do wrapper "$program" ''; done
# It looks for the server beside itself.
wrapper pg_ctl 'case "$1" in -V | --version) ;; *) set -- -p /old/pgscript/bin/postgres "$@" ;; esac'
/old/pgscript/bin/postgres --version
sync -f /old/pgscript || sync
: >/old/pgscript/complete"#;

pub fn fill(clusters: &Clusters, image: &str, volume: &str) -> Result<()> {
    let spec = ContainerSpec {
        mounts: vec![mount(volume, PROGRAMS, false)],
        user: Some("0:0".into()),
        cpu_shares: Some(BESIDE),
        ..ContainerSpec::default()
    };
    clusters.sh_in(spec, image, FILL, &[]).map(|_| ()).map_err(|error| match error.code.as_str() {
        "docker.failed" => {
            let message = format!("the programs of image {image} can't be run from a copy of its files: {error}");
            Error::failed("pg_upgrade.no_programs", message).hint("the strategy `dump` needs no such programs")
        }
        _ => error,
    })
}
