#!/usr/bin/env bash
# The documented upgrade, 13 to 17, rehearsed and then done, on a throw-away stack, for somebody who watches; nothing
# stays behind.
#
#   demo.sh BINARY [STRATEGY]     needs the engine and images: engine.sh ensure; images.sh 13 17
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=tests/stack/lib.sh
. "$here/lib.sh"

from=13 to=17
binary="$(realpath "${1:?which binary}")"
strategy="${2:-auto}"
name="demo-$$"
work="$(mktemp -d "$STACK_STATE/demo.XXXXXX")"
mkdir "$work/site"
failed=yes

bold='' plain=''
[ ! -t 1 ] || bold=$'\e[1m' plain=$'\e[0m'
title() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
stack() { local verb="$1"; shift; "$here/stack.sh" "$verb" "$name" "$@"; }
major() { stack psql <<<"SELECT current_setting('server_version')"; }
# Seconds of the longest silence of application or worker since $1 (seconds of the clock).
silence() {
    stack psql <<<"SELECT extract(epoch FROM max(gap))::numeric(9, 1) FROM (
        SELECT at - lag(at) OVER (PARTITION BY service ORDER BY at) AS gap FROM heartbeat
        WHERE at > to_timestamp($1)) gaps"
}
# Runs and shows the script $1 with the stack's parameters.
pgscript() {
    local command=(run "$1" --set "to=$to" --set "strategy=$strategy" --set "project=$name"
        --set "ansible_dir=$stack_dir/ansible" --set ansible_inventory=inventory.yml
        --set "ansible_limit=$name" --set ansible_virtualenv=venv)
    printf '$ pgscript'
    printf ' %s' "${command[@]}"
    printf '\n\n'
    PGSCRIPT_SITE="$work/site" PGSCRIPT_STORE="$work/runs" "$binary" "${command[@]}" </dev/null
}

# Whatever of the engine bears the stack's name.
left() {
    docker ps -a --format 'container {{.Names}}' | grep -F "$name" || true
    docker ps -aq --filter label=pgscript.helper | xargs -r docker inspect 2>/dev/null \
        | grep -qF "$name" && echo "a helper container" || true
    docker volume ls --format 'volume {{.Name}}' | grep -F "$name" || true
    docker network ls --format 'network {{.Name}}' | grep -F "$name" || true
    # Processes of the stack's own files, this script aside.
    pgrep -af -- "$work" | grep -vE "^$$ |pgrep" | sed 's/^/process /' || true
}

leave() {
    local code=$? remains
    trap '' INT TERM
    [ "$code" -ne 0 ] || [ "$failed" = no ] || code=1
    [ "$code" -eq 0 ] || say "the demo failed ($code)"
    title "Removing the stack"
    stack down || code=1
    rm -rf "$work"
    remains="$(left)"
    if [ -n "$remains" ]; then
        printf 'left behind:\n%s\n' "$remains" >&2
        code=1
    else
        echo "Nothing is left: no container, volume, network or process."
    fi
    exit "$code"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

title "A stack like Primero's, on PostgreSQL $from"
stack_dir="$(stack up --major "$from" --seed gb:4 --dir "$work/stack")"
stack status
echo "The server is $(major). Application and worker write a heartbeat each second."

title "The rehearsal, days before: the application goes on"
begun="$(date +%s.%N)"
pgscript rehearse.rhai
told="$(PGSCRIPT_STORE="$work/runs" "$binary" status rehearse-1 | grep -om1 'going to be down for .*')"
echo "The longest silence of the application meanwhile was $(silence "$begun") s: it writes each second."

title "The upgrade"
begun="$(date +%s.%N)"
pgscript upgrade.rhai
echo "$(($(date +%s) - ${begun%.*})) seconds in all."
# From now on the site's inventory names the new version.
sed -i "s/primero_postgres_version: \"$from\"/primero_postgres_version: \"$to\"/" "$stack_dir/ansible/inventory.yml"

title "The stack afterwards"
stack heartbeat
stack status
now="$(major)"
echo "The server is $now. Application and worker write again."
echo "They were silent for $(silence "$begun") s; the rehearsal had said: $told."
title "Where the run stands"
PGSCRIPT_STORE="$work/runs" "$binary" status
case "$now" in "$to".*) ;; *) die "the server is $now, not $to" ;; esac
failed=no
