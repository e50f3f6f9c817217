#!/bin/bash
# Entry point of the test images: the contract of the official PostgreSQL image (environment, first start behind a
# temporary server on the socket only, /docker-entrypoint-initdb.d, user postgres), for machines without a registry.
set -Eeo pipefail

note() { printf '%s docker-entrypoint: %s\n' "$(date -Is)" "$*"; }

# file_env VAR [DEFAULT]: the value of VAR, or of the file that VAR_FILE names.
file_env() {
    local var="$1" file="${1}_FILE" value="${2:-}"
    if [ "${!var:-}" ] && [ "${!file:-}" ]; then
        note "error: both $var and $file are set (but are exclusive)" >&2
        exit 1
    fi
    if [ "${!var:-}" ]; then value="${!var}"; elif [ "${!file:-}" ]; then value="$(<"${!file}")"; fi
    export "$var"="$value"
    unset "$file"
}

create_directories() {
    local uid
    uid="$(id -u)"
    mkdir -p "$PGDATA"
    chmod 00700 "$PGDATA" || :
    mkdir -p /var/run/postgresql || :
    chmod 03775 /var/run/postgresql || :
    if [ -n "${POSTGRES_INITDB_WALDIR:-}" ]; then
        mkdir -p "$POSTGRES_INITDB_WALDIR"
        [ "$uid" != 0 ] || find "$POSTGRES_INITDB_WALDIR" \! -user postgres -exec chown postgres '{}' +
        chmod 700 "$POSTGRES_INITDB_WALDIR"
    fi
    if [ "$uid" = 0 ]; then
        find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
        find /var/run/postgresql \! -user postgres -exec chown postgres '{}' +
    fi
}

setup_env() {
    file_env POSTGRES_PASSWORD
    file_env POSTGRES_USER postgres
    file_env POSTGRES_DB "$POSTGRES_USER"
    file_env POSTGRES_INITDB_ARGS
    : "${POSTGRES_HOST_AUTH_METHOD:=}"
    exists='' old=()
    if [ -s "$PGDATA/PG_VERSION" ]; then
        exists=true
    elif [ "$PGDATA" = "/var/lib/postgresql/$PG_MAJOR/docker" ]; then
        local dir
        for dir in /var/lib/postgresql /var/lib/postgresql/data /var/lib/postgresql/*/docker; do
            [ ! -s "$dir/PG_VERSION" ] || old+=("$dir")
        done
        if [ "${#old[@]}" -eq 0 ] && mountpoint -q /var/lib/postgresql/data; then
            old+=('/var/lib/postgresql/data (unused mount/volume)')
        fi
    fi
}

verify() {
    if [ "${#old[@]}" -gt 0 ]; then
        note "error: from 18 on, data lives in $PGDATA below one volume at /var/lib/postgresql;" \
            "there appears to be PostgreSQL data in: ${old[*]}" >&2
        exit 1
    fi
    if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
        note "error: database is uninitialized and superuser password is not specified (POSTGRES_PASSWORD)" >&2
        exit 1
    fi
    case "${PSQLRC:-}" in '') ;; *) note "warning: PSQLRC is not used" >&2 ;; esac
}

init_database() {
    local waldir=()
    # shellcheck disable=SC2034
    [ -z "${POSTGRES_INITDB_WALDIR:-}" ] || waldir=(--waldir "$POSTGRES_INITDB_WALDIR")
    # The arguments come as one string, to be read as a shell reads them.
    eval 'initdb --username="$POSTGRES_USER" --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD")' \
        '"${waldir[@]}"' "$POSTGRES_INITDB_ARGS"
}

setup_hba() {
    local auth="$POSTGRES_HOST_AUTH_METHOD"
    [ -n "$auth" ] || auth="$(postgres -C password_encryption "$@")"
    printf '\nhost all all all %s\n' "$auth" >>"$PGDATA/pg_hba.conf"
}

sql() { # database [option...]
    local database="$1"
    shift
    PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --no-password --no-psqlrc \
        --dbname "$database" "$@"
}

setup_db() {
    local there
    there="$(sql postgres --set db="$POSTGRES_DB" --tuples-only \
        <<<"SELECT 1 FROM pg_database WHERE datname = :'db';")"
    if [ -z "$there" ]; then
        sql postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db" ;'
        printf '\n'
    fi
}

init_files() {
    local file
    for file; do
        case "$file" in
        *.sh)
            note "running $file"
            # shellcheck disable=SC1090
            if [ -x "$file" ]; then "$file"; else . "$file"; fi
            ;;
        *.sql) note "running $file"; sql "$POSTGRES_DB" -f "$file"; printf '\n' ;;
        *.sql.gz) note "running $file"; gunzip -c "$file" | sql "$POSTGRES_DB"; printf '\n' ;;
        *) note "ignoring $file" ;;
        esac
    done
}

wants_help() {
    local arg
    for arg; do
        case "$arg" in -'?' | --help | --describe-config | -V | --version) return 0 ;; esac
    done
    return 1
}

main() {
    [ "${1:0:1}" != - ] || set -- postgres "$@"
    if [ "${1:-}" = postgres ] && ! wants_help "$@"; then
        setup_env
        create_directories
        if [ "$(id -u)" = 0 ]; then exec gosu postgres "${BASH_SOURCE[0]}" "$@"; fi
        if [ -z "$exists" ]; then
            verify
            ls /docker-entrypoint-initdb.d/ >/dev/null
            shift
            init_database
            setup_hba "$@"
            export PGPASSWORD="${PGPASSWORD:-$POSTGRES_PASSWORD}"
            # Reachable over the socket only: whoever waits over TCP does not see this one.
            NOTIFY_SOCKET='' PGUSER="${PGUSER:-$POSTGRES_USER}" \
                pg_ctl -D "$PGDATA" -o "$(printf '%q ' "$@" -c listen_addresses='' -p "${PGPORT:-5432}")" -w start
            setup_db
            shopt -s nullglob
            init_files /docker-entrypoint-initdb.d/*
            PGUSER="${PGUSER:-$POSTGRES_USER}" pg_ctl -D "$PGDATA" -m fast -w stop
            set -- postgres "$@"
            unset PGPASSWORD
            printf '\nPostgreSQL init process complete; ready for start up.\n\n'
        else
            printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
        fi
    fi
    exec "$@"
}

main "$@"
