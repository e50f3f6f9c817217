#!/usr/bin/env bash
# PostgreSQL images for the end-to-end tests: pgscript-test/postgres:MAJOR, and the application's, pgscript-test/app:1.
#
#   images.sh [--no-pull] MAJOR...      of 13 15 17 18; says for each image what was done
#
# The official image is taken when a registry answers. Otherwise the image is built from the Debian release that ships
# this major, with an entry point that keeps the official contract (image/docker-entrypoint.sh).
set -euo pipefail
# shellcheck source=tests/stack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

suite_of() {
    case "$1" in
    13) echo bullseye ;;
    15) echo bookworm ;;
    17) echo trixie ;;
    18) echo forky ;;
    *) die "no Debian release is known here for PostgreSQL $1 (13, 15, 17, 18)" ;;
    esac
}

present() { docker image inspect "$1" >/dev/null 2>&1; }

# Reads a Dockerfile from stdin. The classic builder says on stderr that it is deprecated: shown only on failure.
build() {
    docker build --quiet --tag "$1" --file - "$STACK_HOME/image" >/dev/null 2>"$STACK_STATE/build.log" \
        || { cat "$STACK_STATE/build.log" >&2; die "could not build $1"; }
}

# A failed pull is remembered for an hour: there is no registry, and asking takes time.
pull() {
    [ "$try_pull" = yes ] || return 1
    local failed="$STACK_STATE/no-registry"
    [ -z "$(find "$failed" -mmin -60 2>/dev/null)" ] || return 1
    if timeout 20 docker pull "postgres:$1" >/dev/null 2>"$STACK_STATE/pull.log"; then return 0; fi
    : >"$failed"
    return 1
}

# An unpacked Debian release with the server, as image pgscript-test/base:MAJOR.
base() {
    local major="$1" suite tree log="$STACK_STATE/mmdebstrap-$1.log"
    suite="$(suite_of "$major")"
    tree="$(mktemp -d "$STACK_STATE/tree.XXXXXX")"
    if ! bootstrap "$major" "$suite" "$tree/root.tar" >"$log" 2>&1; then
        # A mirror that is not refreshed any more serves a testing release whose date has passed. It is still signed.
        if ! grep -q 'is expired' "$log" \
            || ! bootstrap "$major" "$suite" "$tree/root.tar" --aptopt='Acquire::Check-Valid-Until "false"' \
                >>"$log" 2>&1; then
            grep '^E:' "$log" >&2 || true
            rm -rf "$tree"
            die "could not build PostgreSQL $major from Debian $suite, see $log"
        fi
        say "Debian $suite: the mirror's release file has expired; taken all the same"
    fi
    docker import --change 'ENV LANG=en_US.utf8' "$tree/root.tar" "pgscript-test/base:$major" >/dev/null
    rm -rf "$tree"
}

bootstrap() { # major suite tar [option...]
    local major="$1" suite="$2" tar="$3" packages
    shift 3
    packages="postgresql-$major,postgresql-$major-cron,locales,bash,dash,coreutils,util-linux,mount,libc-bin,base-files,base-passwd,findutils"
    packages+=",grep,sed,tar,gzip,tzdata,procps"
    mmdebstrap --mode=root --variant=extract --components=main --aptopt='Acquire::Languages "none"' "$@" \
        --include="$packages" \
        "--extract-hook=sh '$STACK_HOME/image/strip.sh' \"\$1\" $major" \
        "$suite" "$tar"
}

build_postgres() {
    local major="$1" data=/var/lib/postgresql/data volume=/var/lib/postgresql/data version
    [ "$major" -lt 18 ] || data="/var/lib/postgresql/$major/docker" volume=/var/lib/postgresql
    version="$(docker run --rm --network none "pgscript-test/base:$major" \
        "/usr/lib/postgresql/$major/bin/postgres" --version)"
    version="$(awk '{print $3}' <<<"$version")"
    build "pgscript-test/postgres:$major" <<EOF
FROM pgscript-test/base:$major
ENV LANG=en_US.utf8 PG_MAJOR=$major PG_VERSION=$version PGDATA=$data
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/$major/bin
COPY docker-entrypoint.sh gosu /usr/local/bin/
VOLUME $volume
ENTRYPOINT ["docker-entrypoint.sh"]
STOPSIGNAL SIGINT
EXPOSE 5432
CMD ["postgres"]
EOF
}

postgres() {
    local major="$1" image="pgscript-test/postgres:$1" start="$SECONDS"
    if present "$image"; then
        say "$image: there"
    elif pull "$major"; then
        docker tag "postgres:$major" "$image"
        say "$image: the official image, $((SECONDS - start)) s"
    else
        present "pgscript-test/base:$major" || base "$major"
        build_postgres "$major"
        say "$image: built from Debian $(suite_of "$major"), $((SECONDS - start)) s"
    fi
}

# The application must not inherit the database's VOLUME: each of its containers would get an anonymous volume.
app() {
    local image=pgscript-test/app:1 start="$SECONDS" id
    if present "$image"; then
        say "$image: there"
        return 0
    fi
    if ! present pgscript-test/base:17; then
        present pgscript-test/postgres:17 || postgres 17
        if ! present pgscript-test/base:17; then
            id="$(docker create pgscript-test/postgres:17)"
            docker export "$id" | docker import --change 'ENV LANG=en_US.utf8' - pgscript-test/base:17 >/dev/null
            docker rm -v "$id" >/dev/null
        fi
    fi
    build "$image" <<'EOF'
FROM pgscript-test/base:17
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/17/bin
COPY app.sh idle.sh /usr/local/bin/
USER 999
CMD ["idle.sh"]
EOF
    say "$image: built, $((SECONDS - start)) s"
}

try_pull=yes
if [ "${1:-}" = --no-pull ]; then
    try_pull=no
    shift
fi
[ $# -gt 0 ] || die "which majors? (13 15 17 18)"
for major in "$@"; do suite_of "$major" >/dev/null; done
take_lock images 1800
for major in "$@"; do postgres "$major"; done
app
