#!/usr/bin/env bash
# Runs a command with a Docker engine and the images of some majors at hand, and ends the engine if it was started for
# it. A command that leaves a container, volume or network behind has failed.
#
#   with-engine.sh MAJOR... -- COMMAND [ARGUMENT...]
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

majors=()
while [ "${1:---}" != -- ]; do
    majors+=("$1")
    shift
done
shift

trap '"$here/engine.sh" stop' EXIT
"$here/engine.sh" ensure
# Tests type `docker compose` as well.
eval "$("$here/engine.sh" env)"
"$here/images.sh" "${majors[@]}"

things() { { docker ps -aq --no-trunc && docker volume ls -q && docker network ls -q --no-trunc; } | sort; }
before="$(things)"
code=0
"$@" || code=$?
left="$(comm -13 <(echo "$before") <(things))"
if [ -n "$left" ]; then
    printf '%s (of this command, unless somebody else uses this engine):\n%s\n' \
        'containers, volumes or networks that were not there before' "$left" >&2
    [ "$code" -ne 0 ] || code=1
fi
exit "$code"
