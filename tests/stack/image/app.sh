#!/bin/bash
# The application of the test stack: one connection over TCP, one row a second; reconnects when the server is gone.
# Its name (first argument) is the service's and the application_name. The password comes from the environment.
set -uo pipefail

service="$1"
export PGHOST=postgres PGUSER="$POSTGRES_USER" PGDATABASE="$POSTGRES_DB" PGPASSWORD="$POSTGRES_PASSWORD"
export PGAPPNAME="$service" PGCONNECT_TIMEOUT=5 PGOPTIONS='-c client_min_messages=warning'
psql_pid=''

leave() {
    [ -z "$psql_pid" ] || kill -TERM "$psql_pid" 2>/dev/null
    exit 0
}
trap leave TERM INT
# A server that is gone is an answer, not the end.
trap '' PIPE

pause() { sleep "$1" & wait $!; }

# Sends one statement, which must answer with one line within ten seconds.
ask() {
    local answer
    { printf '%s\n' "$1" >&"$to"; } 2>/dev/null || return 1
    { read -r -t 10 answer <&"$from"; } 2>/dev/null || return 1
    [ "$answer" = "$2" ]
}

session() {
    coproc PSQL { exec psql -X -q -At -w -v ON_ERROR_STOP=1; }
    psql_pid="${PSQL_PID:-}" from="${PSQL[0]:-}" to="${PSQL[1]:-}"
    [ -n "$from" ] && [ -n "$to" ] || return 1
    ask "CREATE TABLE IF NOT EXISTS heartbeat (id bigserial PRIMARY KEY, service text NOT NULL, \
        at timestamptz NOT NULL DEFAULT now()); SELECT 'table';" table || return 1
    echo "$service: connected"
    while ask "INSERT INTO heartbeat (service) VALUES ('$service'); SELECT 'written';" written; do
        pause 1
    done
}

while :; do
    session
    echo "$service: no connection, trying again"
    [ -z "$psql_pid" ] || kill -TERM "$psql_pid" 2>/dev/null
    wait "$psql_pid" 2>/dev/null
    psql_pid=''
    pause 1
done
