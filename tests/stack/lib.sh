# shellcheck shell=bash
# Shared by the scripts of tests/stack: where state lives, how docker is called, one lock for what must not run twice.
# Sourced, never run.

STACK_HOME="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
STACK_REPO="$(cd "$STACK_HOME/../.." && pwd)"
STACK_STATE="${PGSCRIPT_TEST_STATE:-${CARGO_TARGET_DIR:-$STACK_REPO/target}/stack}"
mkdir -p "$STACK_STATE"
STACK_STATE="$(cd "$STACK_STATE" && pwd)"

# The compose plugin that engine.sh installed, if it had to.
if [ -x "$STACK_STATE/docker-config/cli-plugins/docker-compose" ]; then
    export DOCKER_CONFIG="$STACK_STATE/docker-config"
fi
# Debian's 20.10 has no buildx; the classic builder is all that is needed here.
export DOCKER_BUILDKIT=0
export DOCKER_CLI_HINTS=false

say() { printf '%s\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Runs the rest of the script under one lock. Children that stay must close the descriptor (9>&-).
take_lock() {
    exec 9>"$STACK_STATE/$1.lock"
    flock -w "${2:-600}" 9 || die "waited too long for another $1 to finish"
}

# True when process $1 is alive and its command is called $2: a pid file may be older than the process.
is_process() {
    [ -n "${1:-}" ] && [ -r "/proc/$1/comm" ] && [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ]
}

# Ends process $1 (called $2): a request first, force after $3 seconds.
end_process() {
    local pid="$1" name="$2" left=$(($3 * 10))
    is_process "$pid" "$name" || return 0
    kill -TERM "$pid" 2>/dev/null || true
    while is_process "$pid" "$name"; do
        if [ "$left" -le 0 ]; then
            say "$name $pid does not end, killing it"
            kill -KILL "$pid" 2>/dev/null || true
            sleep 0.3
            return 0
        fi
        left=$((left - 1))
        sleep 0.1
    done
}

# Answers within a few seconds, or fails: a socket may exist without a daemon behind it.
engine_answers() {
    if [ -n "${1:-}" ]; then
        timeout 5 docker -H "$1" version --format '{{.Server.Version}}' >/dev/null 2>&1
    else
        timeout 5 docker version --format '{{.Server.Version}}' >/dev/null 2>&1
    fi
}
