#!/usr/bin/env bash
# A stack like Primero's deployment: compose file, env files, playbook, inventory, running containers, data.
#
#   stack.sh up NAME --major N [--dir DIR] [--names v1|v2] [--seed none|little|small|gb|gb:N] [--volume NAME]
#                    [--project NAME] [--password TEXT] [--initdb-args TEXT] [--service NAME]      prints DIR
#                                               --service: what the database is called in the compose file
#   stack.sh down NAME|--dir DIR                 remove containers, volumes, networks, and DIR
#   stack.sh status NAME|--dir DIR               containers, and the number of heartbeats by service
#   stack.sh heartbeat NAME|--dir DIR            wait (60 s) until both services have written once more
#   stack.sh psql NAME|--dir DIR [DATABASE]      SQL from stdin, unaligned tuples to stdout
#   stack.sh seed NAME|--dir DIR little|small|gb|gb:N   load seed data; gb:N: the N-th part of it
#   stack.sh deploy NAME|--dir DIR [ARGUMENT...] run the playbook with tag `start` on this host
#   stack.sh container NAME|--dir DIR SERVICE    print the container's id
#
# Without --dir, DIR is below the state directory (PGSCRIPT_TEST_STATE, or target/stack). DIR holds docker-compose.yml,
# .env, postgres.env and ansible/ (application-primero.yml, inventory.yml with hosts NAME and unreachable-host,
# ansible.cfg, bin/activate, venv/bin/ansible-playbook). An engine given by DOCKER_HOST is remembered with the stack.
set -euo pipefail
# shellcheck source=tests/stack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2; exit 2; }

# The default: every character that a shell, compose, YAML or SQL may trip over.
# shellcheck disable=SC2016
default_password='pa'\''ss$wo\rd"ü'

# --- which stack ------------------------------------------------------------------------------------------------

# Sets name, project, volume, dir, engine from the stack's own notes; $1 (and $2) say which, `taken` how many were used.
find_stack() {
    taken=1 database_service=postgres
    if [ "${1:-}" = --dir ]; then
        dir="${2:?--dir needs a directory}"
        taken=2
    else
        [ -n "${1:-}" ] || usage
        dir="$(cat "$STACK_STATE/stacks/$1" 2>/dev/null)" || die "no stack $1"
    fi
    [ -f "$dir/stack.conf" ] || die "$dir holds no stack"
    dir="$(cd "$dir" && pwd)"
    local key value
    while IFS='=' read -r key value; do
        case "$key" in
        name) name="$value" ;;
        project) project="$value" ;;
        volume) volume="$value" ;;
        engine) engine="$value" ;;
        # What a test has changed of the running stack is written there by it.
        port) port="$value" ;;
        database_service) database_service="$value" ;;
        database) database="$value" ;;
        socket_password) socket_password="$value" ;;
        esac
    done <"$dir/stack.conf"
    [ -z "$engine" ] || export DOCKER_HOST="$engine"
}

container() {
    docker ps -aq --no-trunc --filter "label=com.docker.compose.project=$project" \
        --filter "label=com.docker.compose.service=$1" --filter 'label=com.docker.compose.oneoff=False' | head -n 1
}

# SQL from stdin to database $1, by default the application's; any error ends it with a code. The user is the bootstrap
# superuser.
sql() {
    local id wanted="${1:-primero_production}"
    [ "$wanted" != primero_production ] || wanted="${database:-$wanted}"
    id="$(container "$database_service")"
    [ -n "$id" ] || die "no database container in project $project"
    PGPASSWORD="${socket_password:-}" docker exec -i -e PGPASSWORD "$id" \
        psql -X -q -At -w -v ON_ERROR_STOP=1 -p "${port:-5432}" -U primero -d "$wanted"
}

beats() {
    sql <<<"SELECT service || ' ' || count(*) FROM heartbeat GROUP BY service ORDER BY service;" 2>/dev/null
}

# Waits (60 s) until both services have written more rows than $1, which `beats` gave. One session waits: a psql for
# each look would cost more than the wait.
heartbeat() {
    local deadline=$((SECONDS + 60)) service count old='' said=''
    for service in application worker; do
        count="$(sed -n "s/^$service //p" <<<"$1")"
        old="$old${old:+, }('$service', ${count:-0})"
    done
    while [ "$SECONDS" -lt "$deadline" ]; do
        # The server may not answer yet, or not have the table.
        ! said="$(sql 2>&1 <<<"DO \$\$
            DECLARE missing text;
            BEGIN
                FOR look IN 0 .. $(((deadline - SECONDS) * 10)) LOOP
                    SELECT string_agg(service, ' ') INTO missing FROM (VALUES $old) AS old (service, count)
                    WHERE count >= (SELECT count(*) FROM heartbeat h WHERE h.service = old.service);
                    IF missing IS NULL THEN RETURN; END IF;
                    PERFORM pg_sleep(0.1);
                END LOOP;
                RAISE 'no heartbeat of %', missing;
            END \$\$;")" || return 0
        sleep 0.3
    done
    say "$said"
    return 1
}

# --- up ---------------------------------------------------------------------------------------------------------

# Text as a double-quoted YAML or compose env value; in an env file a dollar would be interpolated.
quoted() { # yaml|env text
    local text="$2"
    text="${text//\\/\\\\}"
    text="${text//\"/\\\"}"
    [ "$1" = yaml ] || text="${text//\$/\\\$}"
    printf '"%s"' "$text"
}

write_files() {
    local tool
    umask 077
    mkdir -p "$dir/ansible/bin" "$dir/ansible/venv/bin" "$STACK_STATE/stacks"
    printf '%s=%s\n' name "$name" project "$project" volume "$volume" engine "$engine" \
        database_service "$database_service" >"$dir/stack.conf"
    printf '%s\n' "$dir" >"$STACK_STATE/stacks/$name"
    sed -e "s/@PROJECT@/$project/g" -e "s/@VOLUME@/$volume/g" \
        "$STACK_HOME/deploy/docker-compose.yml" >"$dir/docker-compose.yml"
    # Application and worker go on calling it `postgres`.
    [ "$database_service" = postgres ] || sed -i \
        -e "s/depends_on: \[postgres\]/depends_on: [$database_service]/" \
        -e "s/^  postgres:\$/  $database_service:\n    networks: {default: {aliases: [postgres]}}/" \
        "$dir/docker-compose.yml"
    {
        echo "POSTGRES_USER=primero"
        echo "POSTGRES_DB=primero_production"
        echo "POSTGRES_PASSWORD=$(quoted env "$password")"
        [ -z "$initdb_args" ] || echo "POSTGRES_INITDB_ARGS=$(quoted env "$initdb_args")"
    } >"$dir/postgres.env"
    cp "$STACK_HOME/deploy/application-primero.yml" "$STACK_HOME/deploy/ansible.cfg" "$dir/ansible/"
    cp "$STACK_HOME/deploy/activate" "$dir/ansible/bin/activate"
    cat >"$dir/ansible/inventory.yml" <<EOF
all:
  children:
    primero:
      vars:
        primero_home: $(quoted yaml "$dir")
        primero_project: "$project"
        primero_postgres_version: "$major"
        compose_compatibility: $([ "$names" = v1 ] && echo true || echo false)
        docker_config: $(quoted yaml "${DOCKER_CONFIG:-}")
        docker_host: $(quoted yaml "$engine")
      hosts:
        $name:
          ansible_connection: local
          ansible_python_interpreter: /usr/bin/python3
        unreachable-host:
          ansible_connection: ssh
          ansible_host: 127.0.0.1
          ansible_port: 1
          ansible_ssh_extra_args: -o BatchMode=yes -o ConnectTimeout=3
EOF
    for tool in ansible-playbook ansible-inventory ansible; do
        printf '#!/bin/sh\n# %s\nexport VIRTUAL_ENV=%q\nexec %q "$@"\n' \
            'The virtual environment of this stack borrows the program of the system.' \
            "$dir/ansible/venv" "$(command -v "$tool")" >"$dir/ansible/venv/bin/$tool"
        chmod 700 "$dir/ansible/venv/bin/$tool"
    done
}

# The volume with a cluster that was made, and given its seed, by the first stack of this kind: `initdb` and the seed
# take half of the time of a stack. A cluster of unusual arguments, or of an engine whose users are others than this
# machine's, is made where it is.
fill_volume() {
    local kept mountpoint label made_of
    [ -z "$initdb_args" ] || return 0
    case "$seed" in gb*) return 0 ;; esac
    made_of="$(cat <(echo "$images $password") "$STACK_HOME/little.sql" "$STACK_HOME"/seed/*.sql | sha256sum)"
    kept="$STACK_STATE/clusters/$major-$seed-${made_of:0:16}.tar"
    label=com.docker.compose
    docker volume create --label "$label.project=$project" --label "$label.volume=database" \
        --label "pgscript.test.stack=$project" "$volume" >/dev/null
    mountpoint="$(docker volume inspect --format '{{.Mountpoint}}' "$volume")"
    [ "$(stat -c %u "$mountpoint" 2>/dev/null)" = 0 ] || return 0
    (
        take_lock clusters
        [ -s "$kept" ] || keep_cluster "$kept" "$mountpoint"
    )
    [ -n "$(ls -A "$mountpoint")" ] || tar -C "$mountpoint" --numeric-owner -xpf "$kept"
    is_seeded=yes
}

# Makes the cluster in this stack's own volume, and keeps a copy of it.
keep_cluster() { # file mountpoint
    local id look
    (cd "$dir" && docker compose up -d --no-build "$database_service") >>"$dir/deploy.log" 2>&1
    id="$(container "$database_service")"
    for ((look = 0; look < 300; look++)); do
        # The server that makes the databases listens on its socket alone.
        docker exec "$id" pg_isready -q -h 127.0.0.1 && break
        sleep 0.1
    done
    [ "$seed" = none ] || load_seed "$seed"
    docker stop "$id" >/dev/null
    mkdir -p "${1%/*}"
    tar -C "$2" --numeric-owner -cf "$1.part" .
    mv "$1.part" "$1"
}

# What the playbook does at the first deployment, in a fraction of its time.
write_env() {
    local mount=/var/lib/postgresql/data
    [ "$major" -lt 18 ] || mount=/var/lib/postgresql
    printf '%s\n' "PRIMERO_POSTGRES_VERSION=$major" "PRIMERO_POSTGRES_MOUNT=$mount" \
        "COMPOSE_COMPATIBILITY=$([ "$names" = v1 ] && echo true || echo false)" >"$dir/.env"
}

compose_up() {
    (cd "$dir" && docker compose up -d --force-recreate --no-build)
}

deploy() {
    (cd "$dir/ansible" && LC_ALL=C.UTF-8 ./venv/bin/ansible-playbook application-primero.yml --tags start \
        -l "$name" -i inventory.yml "$@")
}

up() {
    local major='' names=v2 seed=none password="$default_password" initdb_args='' log is_seeded='' images
    name="$1" dir='' project='' volume='' engine="${DOCKER_HOST:-}" database_service=postgres
    shift
    while [ $# -gt 0 ]; do
        [ $# -ge 2 ] || usage
        case "$1" in
        --major) major="$2" ;;
        --dir) dir="$2" ;;
        --names) names="$2" ;;
        --seed) seed="$2" ;;
        --volume) volume="$2" ;;
        --project) project="$2" ;;
        --password) password="$2" ;;
        --initdb-args) initdb_args="$2" ;;
        --service) database_service="$2" ;;
        *) usage ;;
        esac
        shift 2
    done
    case "$name" in [!a-z0-9]* | *[!a-z0-9_-]*) die "a stack's name is of a-z, 0-9, - and _" ;; esac
    case "$names" in v1 | v2) ;; *) usage ;; esac
    case "$seed" in none | little | small | gb | gb:[1-9]*) ;; *) usage ;; esac
    [ -n "$major" ] || usage
    project="${project:-$name}" volume="${volume:-${project}_database}" dir="${dir:-$STACK_STATE/stacks.d/$name}"
    [ ! -e "$STACK_STATE/stacks/$name" ] || die "stack $name exists, in $(cat "$STACK_STATE/stacks/$name")"
    [ ! -d "$dir" ] || [ -z "$(ls -A "$dir")" ] || die "$dir is not empty"
    mkdir -p "$dir"
    chmod 700 "$dir"
    dir="$(cd "$dir" && pwd)"
    images="$(docker image inspect --format '{{.Id}}' "pgscript-test/postgres:$major" pgscript-test/app:1)" \
        || die "no image for PostgreSQL $major: run images.sh $major"
    [ -z "$(docker ps -aq --filter "label=com.docker.compose.project=$project")" ] || die "project $project exists"
    ! docker volume inspect "$volume" >/dev/null 2>&1 || die "volume $volume exists"
    write_files
    write_env
    fill_volume
    log="$dir/deploy.log"
    if ! compose_up >>"$log" 2>&1; then
        cat "$log" >&2
        die "the deployment failed; stack.sh down $name cleans up"
    fi
    if ! heartbeat ''; then
        docker logs --tail 20 "$(container "$database_service")" >&2 || true
        die "no heartbeat; stack.sh down $name cleans up"
    fi
    [ "$seed" = none ] || [ -n "$is_seeded" ] || load_seed "$seed"
    printf '%s\n' "$dir"
}

# --- data -------------------------------------------------------------------------------------------------------

load_seed() {
    local file files=("$STACK_HOME"/seed/[0-9]*.sql) database start parts=''
    case "$1" in
    little) files=("$STACK_HOME/little.sql") ;;
    small) ;;
    gb | gb:*)
        # On top of the small data, which may be there already.
        [ -z "$(sql <<<"SELECT 1 FROM pg_database WHERE datname = 'solr_meta';")" ] || files=()
        files+=("$STACK_HOME/seed/gb.sql")
        [ "$1" = gb ] || parts="\\set parts ${1#gb:}"
        ;;
    *) usage ;;
    esac
    for file in "${files[@]}"; do
        start="$SECONDS"
        # A file says on its first line which database it is for.
        database="$(sed -n '1s/^-- database: //p' "$file")"
        { echo "$parts"; cat "$file"; } | sql "$database" >/dev/null || die "${file##*/} failed"
        [ $((SECONDS - start)) -lt 5 ] || say "${file##*/}: $((SECONDS - start)) s"
    done
}

# What says whose something is, as columns of a list.
LABELS='{{.Label "com.docker.compose.project"}}|{{.Label "pgscript.test.stack"}}'

# --- down -------------------------------------------------------------------------------------------------------

# What belongs to the project by label, by name, or because it uses one of its volumes. Each kind is listed once: a test
# asks for this at the end of each stack.
down() {
    local ids=() volumes=() networks=() id other label stack used uses_one one
    if engine_answers "${DOCKER_HOST:-}"; then
        while IFS='|' read -r other label stack; do
            case "$other" in
            # Names that begin like the project's, unless another project's label is on them.
            "$volume") ;;
            "${project}_"* | "$volume"*) [ -z "$label" ] || [ "$label" = "$project" ] || continue ;;
            *) [ "$label" = "$project" ] || [ "$stack" = "$project" ] || continue ;;
            esac
            volumes+=("$other")
        done < <(docker volume ls --format "{{.Name}}|$LABELS")
        while IFS='|' read -r id other label stack used; do
            uses_one=''
            for one in "${volumes[@]}"; do [[ ",$used," != *",$one,"* ]] || uses_one=yes; done
            [ "$label" = "$project" ] || [ "$stack" = "$project" ] || [ -n "$uses_one" ] || case "$other" in
            "${project}"[_-]"$database_service" | "${project}"[_-]"$database_service"[_-]*) ;;
            "${project}"[_-]application* | "${project}"[_-]worker* | "${project}"[_-]nginx*) ;;
            # What an upgrade keeps of its record, and its trial server.
            "pgscript-lock-${project}" | "${project}-pgscript-"*) ;;
            *) continue ;;
            esac
            ids+=("$id")
        done < <(docker ps -a --no-trunc --format "{{.ID}}|{{.Names}}|$LABELS|{{.Mounts}}")
        [ "${#ids[@]}" -eq 0 ] || docker rm -f -v "${ids[@]}" >/dev/null
        [ "${#volumes[@]}" -eq 0 ] || docker volume rm -f "${volumes[@]}" >/dev/null
        while IFS='|' read -r id other label stack; do
            case "$other" in
            "${project}_default" | "${project}_pgscript_"*) ;;
            *) [ "$label" = "$project" ] || [ "$stack" = "$project" ] || continue ;;
            esac
            networks+=("$id")
        done < <(docker network ls --no-trunc --format "{{.ID}}|{{.Name}}|$LABELS")
        [ "${#networks[@]}" -eq 0 ] || docker network rm "${networks[@]}" >/dev/null
    else
        say "the engine does not answer: only $dir is removed"
    fi
    rm -rf "$dir"
    rm -f "$STACK_STATE/stacks/$name"
}

status() {
    docker ps -a --filter "label=com.docker.compose.project=$project" --format '{{.Names}}\t{{.Image}}\t{{.Status}}'
    beats || true
}

verb="${1:-}"
[ $# -ge 2 ] || usage
shift
if [ "$verb" = up ]; then
    up "$@"
    exit
fi
name='' project='' volume='' dir='' engine='' port='' database='' taken=0 deadline='' written=''
find_stack "$@"
shift "$taken"
case "$verb" in
down) down ;;
status) status ;;
heartbeat)
    # A server that was just killed recovers first: what it does not tell yet is not nothing.
    deadline=$((SECONDS + 60))
    until written="$(beats)"; do
        [ "$SECONDS" -lt "$deadline" ] || die "no database tells the heartbeats of $name"
        sleep 0.3
    done
    heartbeat "$written"
    ;;
psql) sql "$@" ;;
seed) load_seed "${1:-}" ;;
deploy) deploy "$@" ;;
container) container "${1:?which service}" ;;
*) usage ;;
esac
