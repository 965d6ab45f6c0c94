#!/usr/bin/env bash
# usage: scripts/test.sh [LABEL ...]
# Installs what is missing, builds, and runs the tests that carry one of the labels (default: all but nightly and gpu; these two
# run only when they are named). Fuzzers run in a build of their own with the address and undefined-behaviour sanitizers.
# The last line is "N passed, N failed, N skipped"; the reason of each skip stands before it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/packages.sh
source scripts/packages.sh

known=(unit kernels golden determinism cuda-emulation faults slurm network fuzz demo nightly gpu)
for word in "$@"; do
    case " ${known[*]} " in
        *" $word "*) ;;
        *)
            if [[ $word == -h || $word == --help ]]; then
                sed -n '2,5s/^# //p' "${BASH_SOURCE[0]}"
                exit 0
            fi
            echo "scripts/test.sh: unknown label '$word'; labels: ${known[*]}" >&2
            exit 64
            ;;
    esac
done
wanted=("$@")
[[ ${#wanted[@]} -gt 0 ]] || wanted=(unit kernels golden determinism cuda-emulation faults slurm network fuzz demo)

is_wanted() {
    [[ " ${wanted[*]} " == *" $1 "* ]]
}

passed=0 failed=0 skipped=0
reasons=()
failures=()

# The last line that a skipped test printed, from ctest's log of a build folder.
reason_of() {
    awk -v name="$2" '
        / Testing: / { inside = ($NF == name) }
        inside && /^-+$/ { printing = 1; last = ""; next }
        inside && printing && /^<end of output>$/ { print last; exit }
        inside && printing && NF { last = $0 }' "$1/Testing/Temporary/LastTest.log"
}

# run_tests FOLDER CTEST-OPTION...: runs, shows and counts. ctest itself counts a skip as a pass.
run_tests() {
    local folder=$1 log line name
    shift
    log=$(mktemp)
    ctest --test-dir "$folder" --output-on-failure --no-tests=ignore --timeout 7200 "$@" 2>&1 | tee "$log" || true
    while IFS= read -r line; do
        name=$(sed -E 's/^ *[0-9]+\/[0-9]+ Test +#[0-9]+: ([^ ]+).*/\1/' <<< "$line")
        case $line in
            *'***Skipped'*)
                skipped=$((skipped + 1))
                reasons+=("$name: $(reason_of "$folder" "$name")")
                ;;
            *' Passed '*) passed=$((passed + 1)) ;;
            *)
                failed=$((failed + 1))
                failures+=("$name")
                ;;
        esac
    done < <(grep -E '^ *[0-9]+/[0-9]+ Test +#[0-9]+: ' "$log")
    rm -f "$log"
}

alternatives() {
    local IFS='|'
    echo "^($*)\$"
}

allow_mpirun
jobs=(--parallel $(($(nproc) * 2))) # half of them wait: for deadlines, for a scheduler, for disks

plain=()
for label in "${wanted[@]}"; do
    [[ $label == fuzz ]] || plain+=("$label")
done
unasked=(fuzz)
is_wanted nightly || unasked+=(nightly)
is_wanted gpu || unasked+=(gpu)
if [[ ${#plain[@]} -gt 0 ]]; then
    scripts/build.sh
    run_tests build "${jobs[@]}" -L "$(alternatives "${plain[@]}")" -LE "$(alternatives "${unasked[@]}")" -E '^fuzz_'
fi

if is_wanted fuzz || is_wanted nightly; then
    install_packages
    echo "Building the fuzzers with sanitizers into build-asan/"
    log=$(mktemp)
    { cmake --preset asan && cmake --build build-asan --parallel "$(nproc)" --target fuzzers; } > "$log" 2>&1 || {
        cat "$log" >&2
        echo "scripts/test.sh: the fuzzers cannot be built" >&2
        failed=$((failed + 1))
        failures+=(fuzzers)
    }
    rm -f "$log"
    if is_wanted fuzz; then run_tests build-asan "${jobs[@]}" -L '^fuzz$'; fi
    if is_wanted nightly; then run_tests build-asan "${jobs[@]}" -L '^nightly$' -R '^fuzz_'; fi
fi

echo
for line in "${reasons[@]}"; do echo "skipped: $line"; done
for line in "${failures[@]}"; do echo "failed: $line"; done
if [[ $((passed + failed + skipped)) -eq 0 ]]; then
    echo "no test carries one of the labels: ${wanted[*]}"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[[ $failed -eq 0 ]]
