#!/usr/bin/env bash
# Histories of a broken world, two at a time; writes their figures.
#
#   tests/chaos/run.sh [HISTORIES [SEED]]     so many, from this seed on; without them, those of `make test`
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

count="$(mktemp)"
trap 'rm -f "$count"' EXIT
[ -z "${1:-}" ] || export PGSCRIPT_TEST_HISTORIES="$1"
[ -z "${2:-}" ] || export PGSCRIPT_TEST_SEED="$2"
code=0
# Started in the background, or by nohup, all of this would ignore the Ctrl-C that ends it.
PGSCRIPT_TEST_CHAOS="$count" env --default-signal=INT \
    cargo test --locked --test all -- chaos:: --nocapture || code=$?
read -ra figures <"$count"
tests/figures.py "${figures[@]}"
exit "$code"
