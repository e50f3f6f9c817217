#!/usr/bin/env bash
# The Docker engines of the end-to-end tests, from Debian's packages, for machines that have none running.
#
#   engine.sh ensure                          everything is there and the engine answers (under a second when it was)
#   engine.sh env                             print the environment other programs need (DOCKER_CONFIG)
#   engine.sh stop                            end the engine, if it is one that `ensure` started
#   engine.sh second NAME [--userns-remap=default|field|USER] [--disk=MEGABYTES] [--userland-proxy] [--tls=PORT:DIR]
#                                             an engine of its own; prints its DOCKER_HOST (--disk: its data root is a
#                                             file system of that size; --userland-proxy: published ports work; --tls:
#                                             it listens on loopback as well, with ca.pem, server.pem and server.key of
#                                             DIR)
#   engine.sh second-load NAME IMAGE...       copy images from the first engine into the second
#   engine.sh second-restart NAME [--kill] [--after=SECONDS]   restart its daemon (--kill: as if it had crashed), at
#                                             once or when it has been away for so long
#   engine.sh second-power-cut NAME [PID...]  the daemon, its containers and these processes are gone at once, and what
#                                             was not synced to its --disk is lost; then the daemon is started again
#   engine.sh second-stop NAME                end it and remove everything it had
#
# `--userns-remap=field` is the mapping found on production hosts: user `primero` with 0:1000 and 1100:65536.
set -euo pipefail
# shellcheck source=tests/stack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2; exit 2; }

# Half of what a command in a container costs is a filter of system calls that is loaded for it, and garbage that is
# collected in programs which live for a moment. Tests run thousands of commands, and look at neither.
daemon=(env GOGC=400 dockerd --seccomp-profile "$STACK_STATE/seccomp.json")
[ -s "$STACK_STATE/seccomp.json" ] || echo '{"defaultAction": "SCMP_ACT_ALLOW"}' >"$STACK_STATE/seccomp.json"

need_root() { [ "$(id -u)" = 0 ] || die "needs root (packages, dockerd)"; }

# --- the first engine -------------------------------------------------------------------------------------------

# command:package pairs; a package is installed only when its command is missing.
missing_packages() {
    local pair
    for pair in docker:docker.io dockerd:docker.io containerd:containerd mmdebstrap:mmdebstrap \
        ansible-playbook:ansible-core zstd:zstd iptables:iptables ip:iproute2 mke2fs:e2fsprogs \
        newuidmap:uidmap python3:python3 flock:util-linux sshd:openssh-server openssl:openssl faketime:faketime; do
        command -v "${pair%%:*}" >/dev/null || PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null \
            || printf '%s\n' "${pair#*:}"
    done
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || echo debian-archive-keyring
}

install_packages() {
    local packages
    mapfile -t packages < <(missing_packages | sort -u)
    [ "${#packages[@]}" -gt 0 ] || return 0
    need_root
    say "installing ${packages[*]}"
    local policy=''
    # Without this, installing docker.io would start a daemon that `stop` does not own.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    (
        trap '[ -z "$policy" ] || rm -f "$policy"' EXIT
        export DEBIAN_FRONTEND=noninteractive
        apt-get install -y --no-install-recommends "${packages[@]}" >"$STACK_STATE/apt.log" 2>&1 9>&- \
            || { apt-get update >>"$STACK_STATE/apt.log" 2>&1 9>&- \
                && apt-get install -y --no-install-recommends "${packages[@]}" >>"$STACK_STATE/apt.log" 2>&1 9>&-; } \
            || { tail -n 20 "$STACK_STATE/apt.log" >&2; die "apt-get install failed"; }
        # The tests want the program, not a server that lets people in from the next boot on.
        case " ${packages[*]} " in
        *' openssh-server '*) systemctl --quiet disable ssh.service ssh.socket >>"$STACK_STATE/apt.log" 2>&1 || true ;;
        esac
    )
}

# Debian 12 has only Compose v1. The v2 of Debian 13 is one static binary, which runs on 12 as well.
install_compose() {
    docker compose version >/dev/null 2>&1 && return 0
    need_root
    local plugins="$STACK_STATE/docker-config/cli-plugins" work
    say "taking compose v2 from Debian 13"
    mkdir -p "$plugins"
    work="$(mktemp -d "$STACK_STATE/compose.XXXXXX")"
    mmdebstrap --quiet --variant=extract --include=docker-compose \
        --extract-hook="cp \"\$1\"/usr/libexec/docker/cli-plugins/docker-compose '$work/docker-compose'" \
        trixie /dev/null >"$STACK_STATE/compose.log" 2>&1 9>&- \
        || { tail -n 20 "$STACK_STATE/compose.log" >&2; rm -rf "$work"; die "no compose from Debian 13"; }
    chmod 755 "$work/docker-compose"
    mv "$work/docker-compose" "$plugins/docker-compose"
    rm -rf "$work"
    export DOCKER_CONFIG="$STACK_STATE/docker-config"
    docker compose version >/dev/null || die "the compose plugin does not run"
}

# Waits until the engine on socket $1 answers; $2 is the pid, $3 the log.
await_engine() {
    local left=300
    until engine_answers "$1"; do
        # By its number alone: on a busy machine it may not be called dockerd yet.
        kill -0 "$2" 2>/dev/null || { tail -n 20 "$3" >&2; die "dockerd ended, see $3"; }
        left=$((left - 1))
        [ "$left" -gt 0 ] || die "dockerd does not answer on $1"
        sleep 0.1
    done
}

start_engine() {
    engine_answers "" && return 0
    [ -z "${DOCKER_HOST:-}" ] || die "DOCKER_HOST is set to $DOCKER_HOST, and no engine answers there"
    need_root
    local log="$STACK_STATE/dockerd.log" pid
    # A pid file left by a dead daemon keeps a new one from starting.
    pid="$(cat /var/run/docker.pid 2>/dev/null || true)"
    [ -z "$pid" ] || is_process "$pid" dockerd || rm -f /var/run/docker.pid
    # Its bridge stays behind a daemon; the one that ours brings goes with it.
    ip link show docker0 >/dev/null 2>&1 || touch "$STACK_STATE/docker0.ours"
    PATH="$PATH:/usr/sbin:/sbin" setsid "${daemon[@]}" >"$log" 2>&1 </dev/null 9>&- &
    pid=$!
    echo "$pid" >"$STACK_STATE/dockerd.pid"
    await_engine unix:///var/run/docker.sock "$pid" "$log"
    say "started dockerd $pid"
}

ensure() {
    # The quick way: nothing is looked at twice when all is there.
    if [ -z "$(missing_packages)" ] && engine_answers "" && docker compose version >/dev/null 2>&1; then
        return 0
    fi
    take_lock engine
    install_packages
    install_compose
    start_engine
}

stop() {
    take_lock engine
    local pid
    pid="$(cat "$STACK_STATE/dockerd.pid" 2>/dev/null || true)"
    [ -n "$pid" ] || { say "no engine of these tests is running"; return 0; }
    end_process "$pid" dockerd 60
    [ ! -e "$STACK_STATE/docker0.ours" ] || ip link delete docker0 2>/dev/null || true
    rm -f "$STACK_STATE/dockerd.pid" "$STACK_STATE/docker0.ours"
}

# --- an engine of its own ---------------------------------------------------------------------------------------
# Its directories are not below the state directory: with a remapped root every directory above the data root must be
# passable for it, and a socket's path is limited to 107 bytes.

second_names() {
    case "$1" in '' | *[!a-z0-9-]*) die "an engine's name is of a-z, 0-9 and -" ;; esac
    second_state="$STACK_STATE/engines/$1"
    second_data="/var/lib/pgscript-test-$1"
    second_exec="/run/pgscript-test-$1"
    second_host="unix://$second_exec/docker.sock"
    second_tag="pgscript-test-$1"
    second_number="$(cat "$second_state/number" 2>/dev/null || free_number "$1")"
    second_bridge="pgs$second_number"
}

# The network of an engine's own bridge: by its name, or the next one that no other engine here has.
free_number() {
    local number=$(($(printf '%s' "$1" | cksum | cut -d' ' -f1) % 200))
    while ip link show "pgs$((number + 20))" >/dev/null 2>&1; do number=$(((number + 1) % 200)); done
    echo $((number + 20))
}

ensure_line() { # file line
    grep -qxF -- "$2" "$1" 2>/dev/null || printf '%s\n' "$2" >>"$1"
}

remove_line() { # file line; keeps the file itself (owner, mode)
    local rest
    rest="$(mktemp)"
    grep -vxF -- "$2" "$1" >"$rest" || true
    cat "$rest" >"$1"
    rm -f "$rest"
}

# Notes in users/NAME what was added for a user, so that exactly that goes away with its last engine.
prepare_user() {
    local user="$1" field="$2" note="$STACK_STATE/engines/users/$1" line file
    mkdir -p "$STACK_STATE/engines/users"
    [ ! -e "$note" ] || return 0
    : >"$note"
    if ! getent passwd "$user" >/dev/null; then
        echo "user" >>"$note"
        # dockerd creates `dockremap` itself, with its ranges.
        [ "$user" = dockremap ] || useradd --system --no-create-home --shell /usr/sbin/nologin --user-group "$user"
    fi
    if [ "$field" = yes ]; then
        for file in /etc/subuid /etc/subgid; do
            touch "$file"
            # Other ranges of the same user would join the mapping: they are put aside.
            while read -r line; do
                echo "aside $file $line" >>"$note"
                remove_line "$file" "$line"
            done < <(grep "^$user:" "$file" || true)
            for line in "$user:0:1000" "$user:1100:65536"; do
                echo "line $file $line" >>"$note"
                ensure_line "$file" "$line"
            done
        done
    fi
}

release_user() {
    local user="$1" note="$STACK_STATE/engines/users/$1" kind file line
    [ -e "$note" ] || return 0
    if grep -qsxF "$user" "$STACK_STATE"/engines/*/user; then return 0; fi
    while read -r kind file line; do
        case "$kind" in
        user)
            userdel "$user" 2>/dev/null || true
            getent group "$user" >/dev/null && groupdel "$user" || true
            for file in /etc/subuid /etc/subgid; do
                while read -r line; do remove_line "$file" "$line"; done < <(grep "^$user:" "$file" 2>/dev/null || true)
            done
            ;;
        line) remove_line "$file" "$line" ;;
        aside) ensure_line "$file" "$line" ;;
        esac
    done <"$note"
    rm -f "$note"
}

# The first engine's FORWARD policy is DROP, and bridged traffic may pass through it: let this engine's own pass. At the
# end of the chain, so that the first engine's isolation of its networks stays in force.
forward_rules() { # -A, -C or -D
    local net
    for net in 172.16.0.0/12 192.168.0.0/16; do
        iptables -w "$1" FORWARD -s "$net" -d "$net" -m comment --comment "$second_tag" -j ACCEPT 2>/dev/null \
            || return 1
    done
}

second_launch() {
    local log="$second_state/dockerd.log" pid userns=() tls=() proxy=false
    [ ! -e "$second_state/proxy" ] || proxy=true
    [ ! -s "$second_state/remap" ] || userns=("--userns-remap=$(cat "$second_state/remap")")
    [ ! -e "$second_state/tls" ] || mapfile -t tls <"$second_state/tls"
    if ! ip link show "$second_bridge" >/dev/null 2>&1; then
        ip link add "$second_bridge" type bridge
        ip addr add "172.31.$second_number.1/24" dev "$second_bridge"
        ip link set "$second_bridge" up
    fi
    forward_rules -C || forward_rules -A
    # A containerd whose daemon was killed is about to end as well, and a daemon that found it would wait for it in
    # vain.
    end_process "$(cat "$second_exec/exec/containerd/containerd.pid" 2>/dev/null || true)" containerd 10
    rm -f "$second_exec/docker.pid" "$second_exec/exec/containerd/containerd.pid"
    # No iptables of its own: at start a daemon removes and rebuilds the chains that the first engine is using.
    # No --default-address-pool and no --bridge=none: with either, a daemon that restarts removes the first one's
    # docker0.
    PATH="$PATH:/usr/sbin:/sbin" setsid "${daemon[@]}" --data-root "$second_data" --exec-root "$second_exec/exec" \
        --pidfile "$second_exec/docker.pid" --host "$second_host" --bridge "$second_bridge" \
        --iptables=false --ip-masq=false --userland-proxy="$proxy" "${userns[@]}" "${tls[@]}" \
        >>"$log" 2>&1 </dev/null 9>&- &
    pid=$!
    echo "$pid" >"$second_state/pid"
    await_engine "$second_host" "$pid" "$log"
}

# Mounts a file system of $1 megabytes as the data root. `second_stop` unmounts it with what else is mounted there.
mount_disk() {
    ! mountpoint -q "$second_data" || return 0
    truncate -s "$1M" "$second_state/disk.img"
    mke2fs -q -t ext4 -F -m 0 "$second_state/disk.img"
    mkdir -p "$second_data"
    attach_disk
}

attach_disk() {
    mount -o loop "$second_state/disk.img" "$second_data"
}

second() {
    local name="$1" remap='' disk='' proxy='' tls='' argument
    shift
    need_root
    for argument in "$@"; do
        case "$argument" in
        --userns-remap=*) remap="${argument#*=}" ;;
        --disk=*) disk="${argument#*=}" ;;
        --userland-proxy) proxy=yes ;;
        --tls=*:*) tls="${argument#*=}" ;;
        *) usage ;;
        esac
    done
    second_names "$name"
    if engine_answers "$second_host"; then
        echo "$second_host"
        return 0
    fi
    take_lock engine
    [ ! -e "$second_data" ] || [ -e "$second_state" ] || die "$second_data exists and is not from this checkout"
    mkdir -p "$second_state" "$second_exec"
    echo "$second_number" >"$second_state/number"
    [ -z "$proxy" ] || touch "$second_state/proxy"
    [ -z "$tls" ] || printf '%s\n' "--host=tcp://127.0.0.1:${tls%%:*}" --tlsverify "--tlscacert=${tls#*:}/ca.pem" \
        "--tlscert=${tls#*:}/server.pem" "--tlskey=${tls#*:}/server.key" >"$second_state/tls"
    chmod 755 "$second_exec"
    case "$remap" in
    '') ;;
    default)
        prepare_user dockremap no
        echo dockremap >"$second_state/user"
        ;;
    field)
        remap=primero
        prepare_user primero yes
        echo primero >"$second_state/user"
        ;;
    esac
    printf '%s' "$remap" >"$second_state/remap"
    [ -z "$disk" ] || mount_disk "$disk"
    second_launch
    echo "$second_host"
}

second_load() {
    local name="$1" image missing=()
    shift
    second_names "$name"
    for image in "$@"; do
        docker -H "$second_host" image inspect "$image" >/dev/null 2>&1 || missing+=("$image")
    done
    # All at once: layers that they share are written once.
    [ "${#missing[@]}" -eq 0 ] || docker save "${missing[@]}" | docker -H "$second_host" load >/dev/null
}

# Ends what a killed daemon leaves: its containerd, the shims (found by their own arguments below this exec root), and
# the containers below them, which outlive a shim that is killed.
second_reap() {
    local entry pid child
    pid="$(cat "$second_exec/exec/containerd/containerd.pid" 2>/dev/null || true)"
    end_process "${pid:-}" containerd 10
    for entry in /proc/[0-9]*; do
        pid="${entry#/proc/}"
        case "$({ tr '\0' ' ' <"$entry/cmdline"; } 2>/dev/null || true)" in
        *containerd-shim*"$second_exec/exec/containerd/"*)
            for child in $(cat "$entry"/task/*/children 2>/dev/null || true); do
                kill -KILL "$child" 2>/dev/null || true
            done
            end_process "$pid" "$(cat "$entry/comm" 2>/dev/null || true)" 2
            ;;
        esac
    done
}

second_restart() {
    local name="$1" how=end after=0 argument pid
    shift
    for argument in "$@"; do
        case "$argument" in
        --kill) how=kill ;;
        --after=*) after="${argument#*=}" ;;
        *) usage ;;
        esac
    done
    second_names "$name"
    [ -e "$second_state/pid" ] || die "no engine $name"
    pid="$(cat "$second_state/pid")"
    if [ "$how" = kill ]; then
        ! is_process "$pid" dockerd || kill -KILL "$pid"
        while is_process "$pid" dockerd; do sleep 0.1; done
    else
        end_process "$pid" dockerd 60
    fi
    sleep "$after"
    take_lock engine
    second_launch
}

# Bridges are named after their networks, and the networks are keys of the daemon's own database.
second_bridges() {
    local id
    while read -r id; do echo "br-${id: -64:12}"; done \
        < <(cat "$second_data"/network/files/local-kv.db "$second_data"/*/network/files/local-kv.db 2>/dev/null \
            | grep -aoE 'docker/network/v1\.0/bridge/[0-9a-f]{64}' | sort -u)
}

# Unmounts what is mounted below the directories, the innermost first; `umount -l` where somebody may still hold it.
second_unmount() { # umount [option]
    local point
    while read -r point; do "$@" "$point" 2>/dev/null || true; done \
        < <(cut -d' ' -f5 /proc/self/mountinfo | grep -E "^($second_data|$second_exec)(/|\$)" | sort -r)
}

second_power_cut() {
    local name="$1" bridges link left=100
    shift
    second_names "$name"
    [ -e "$second_state/disk.img" ] || die "engine $name has no disk of its own"
    mapfile -t bridges < <(second_bridges)
    "$STACK_HOME/power_cut.py" "$second_data" "$second_exec/exec" "$@"
    # What is in memory goes as well: mounts, links, /run.
    while second_unmount umount; mountpoint -q "$second_data" || losetup -j "$second_state/disk.img" | grep -q .; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || die "something still uses $second_data"
        sleep 0.1
    done
    for link in "${bridges[@]}" "$second_bridge"; do ip link del "$link" 2>/dev/null || true; done
    rm -rf "${second_exec:?}"/*
    attach_disk
    take_lock engine
    second_launch
}

second_stop() {
    second_names "$1"
    need_root
    take_lock engine
    [ -e "$second_state" ] || { say "no engine $1"; return 0; }
    local ids id bridges=("$second_bridge")
    # A daemon that has crashed left containers and networks, and only a daemon removes them well.
    engine_answers "$second_host" || (second_launch) 2>/dev/null || say "engine $1 does not start again"
    if engine_answers "$second_host"; then
        mapfile -t ids < <(docker -H "$second_host" ps -aq)
        [ "${#ids[@]}" -eq 0 ] || docker -H "$second_host" rm -f "${ids[@]}" >/dev/null 2>&1 || true
    fi
    while read -r id; do bridges+=("$id"); done < <(second_bridges)
    end_process "$(cat "$second_state/pid" 2>/dev/null || true)" dockerd 60
    second_reap
    second_unmount umount -l
    for id in "${bridges[@]}"; do ip link del "$id" 2>/dev/null || true; done
    while forward_rules -D; do :; done
    rm -rf "$second_data" "$second_exec"
    id="$(cat "$second_state/user" 2>/dev/null || true)"
    rm -rf "$second_state"
    [ -z "$id" ] || release_user "$id"
}

verb="${1:-}"
[ -n "$verb" ] || usage
shift
case "$verb" in
ensure) ensure ;;
env) [ -z "${DOCKER_CONFIG:-}" ] || printf 'export DOCKER_CONFIG=%q\n' "$DOCKER_CONFIG" ;;
stop) stop ;;
second) [ $# -ge 1 ] || usage; second "$@" ;;
second-load) [ $# -ge 2 ] || usage; second_load "$@" ;;
second-restart) [ $# -ge 1 ] || usage; second_restart "$@" ;;
second-power-cut) [ $# -ge 1 ] || usage; second_power_cut "$@" ;;
second-stop) [ $# -eq 1 ] || usage; second_stop "$1" ;;
*) usage ;;
esac
