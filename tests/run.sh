#!/usr/bin/env bash
# All tests: units and language first, then what needs an engine, two at a time. Counts the fault tests that passed.
#
#   tests/run.sh [OPTION of cargo test...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

log="$(mktemp)"
trap 'rm -f "$log"' EXIT
cargo test --locked --no-fail-fast "$@" -- --test-threads="${PGSCRIPT_TEST_THREADS:-3}" 2>&1 | tee "$log"
faults="$(grep -cE '^test faults::.* \.\.\. ok$' "$log" || true)"
tests/figures.py faults_tested="$faults"
