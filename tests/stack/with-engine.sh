#!/usr/bin/env bash
# Runs a command with a Docker engine and the images of some majors at hand, and ends the engine if it was started for it.
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
"$here/images.sh" "${majors[@]}"
"$@"
