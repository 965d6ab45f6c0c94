#!/usr/bin/env bash
# usage: tests/bench/bench_ranks.sh [ROUNDS [ROWS [TOKENS [STEPS]]]]
# One process with two threads against two processes with one thread each, alternating, on the same rows of the 135M shape
# (bench_step): their best steps and the ratio. Above 1 two processes are faster.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
rounds=${1:-3} rows=${2:-2} tokens=${3:-1024} steps=${4:-2}
folder=$(mktemp -d /var/tmp/qlora-ranks.XXXXXX)
trap 'rm -rf "$folder"' EXIT
build/bin/random_model 135m "$folder/model"

# step_seconds COMMAND ...: the best step that bench_step prints; ranks print the same
step_seconds() {
    "$@" model_name_or_path="$folder/model" | sed -n 's/.*(best \([0-9.]*\)), .*tokens\/s.*/\1/p' | sort -n | tail -1
}
best() { printf '%s\n' "$@" | sort -n | head -1; }

threads=() ranks=()
for ((round = 1; round <= rounds; round++)); do
    threads+=("$(step_seconds build/bin/bench_step 135m "$rows" "$tokens" 2 "$steps")")
    ranks+=("$(step_seconds mpirun -np 2 build/bin/bench_step 135m "$rows" "$tokens" 1 "$steps")")
    echo "round $round: 1 rank x 2 threads ${threads[-1]} s a step, 2 ranks x 1 thread ${ranks[-1]} s"
done
awk -v t="$(best "${threads[@]}")" -v r="$(best "${ranks[@]}")" \
    'BEGIN { printf "best: %.3f s and %.3f s, two ranks reach %.2f of one with two threads\n", t, r, t / r }'
