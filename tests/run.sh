#!/usr/bin/env bash
# All tests. Counts the fault tests and the recovery stories that passed, the kills that the upgrade survived, the
# histories of a broken world that ended well, the differences that the comparison found of those made for it, and the
# checks of a preflight, each of which was seen to find something and to find nothing.
#
#   tests/run.sh [OPTION of cargo test...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

log="$(mktemp)" kills="$(mktemp)" chaos="$(mktemp)" differences="$(mktemp)" checks="$(mktemp)"
trap 'rm -f "$log" "$kills" "$chaos" "$differences" "$checks"' EXIT
count() {
    awk '{ survived += $1; total += $2 } END { printf "kills_survived=%d kills_total=%d\n", survived, total }' "$kills"
}

code=0
# Started in the background, or by nohup, all of this would ignore the Ctrl-C that tests type, and a hang-up.
export PGSCRIPT_TEST_KILLS="$kills" PGSCRIPT_TEST_CHAOS="$chaos" PGSCRIPT_TEST_DIFFERENCES="$differences" \
    PGSCRIPT_TEST_CHECKS="$checks"
run() {
    env --default-signal=INT,HUP cargo test --locked "$@" -- --test-threads="${PGSCRIPT_TEST_THREADS:-4}" 2>&1 \
        | tee -a "$log" || code=$?
}
run "$@" --profile dev --lib
run "$@" --test all
sed 's/^\([0-9]*\) \([0-9]*\) \(.*\)/kills: \3: \1 survived of \2/' "$kills"
[ "$code" -eq 0 ] || exit "$code"
read -ra kill_figures < <(count)
# Empty where a filter leaves out the test that writes it.
read -ra chaos_figures <"$chaos" || true
echo "${kill_figures[@]}" "${chaos_figures[@]}"
passed() { grep -cE "^test [a-z_]+::$1::.* \.\.\. ok\$" "$log" || true; }
tests/figures.py seeded_differences_found="$(awk '{ found += $1 } END { print found + 0 }' "$differences")" \
    preflight_checks="$(awk '{ count = $1 } END { print count + 0 }' "$checks")" \
    faults_tested="$(passed faults)" recovery_stories_passed="$(passed recovery)" \
    "${kill_figures[@]}" "${chaos_figures[@]}"
