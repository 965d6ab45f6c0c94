#!/usr/bin/env bash
# usage: tests/bench/bench_restart.sh [ROUNDS [RANKS]]
# From the death of a rank to training again, with mpirun started anew as soon as it has ended: the example model, rank 1 killed in step 15,
# the last checkpoint at step 10. Loading alone beside it: one process up to its first step.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
rounds=${1:-3} ranks=${2:-2}
folder=$(mktemp -d "${TMPDIR:-/tmp}/qlora-restart.XXXXXX")
trap 'rm -rf "$folder"' EXIT
export OMPI_MCA_odls_base_sigkill_timeout=0 OMPI_MCA_mpi_yield_when_idle=1 # as `qlora run` has it
keys=(eval_dataset=null eval_strategy=no max_steps=30 save_steps=10 save_minutes=0)

since() { awk "BEGIN {printf \"%.2f\", $EPOCHREALTIME - $1}"; }
# first_step_after START FILE LINES: seconds until FILE has more lines of steps
first_step_after() {
    while [[ $(grep -c '"event": "step"' "$2" 2>/dev/null || true) -le $3 ]]; do sleep 0.005; done
    since "$1"
}
train() { # PROGRAM OUT
    "${launch[@]}" "build/bin/$1" --threads 1 examples/demo.yaml "${keys[@]}" output_dir="$folder/$2" >"$folder/log" 2>&1
}

for ((round = 1; round <= rounds; round++)); do
    launch=()
    train qlora-worker "alone-$round" &
    pid=$!
    load=$(first_step_after "$EPOCHREALTIME" "$folder/alone-$round/metrics.jsonl" 0)
    kill -TERM "$pid"
    wait "$pid" || true

    launch=(mpirun -np "$ranks")
    QLORA_FAULT=1:15:kill QLORA_FAULT_MARK=$folder/mark-$round train qlora-worker-faulty "run-$round" || true
    death=$(cut -d' ' -f1 "$folder/mark-$round")
    down=$(since "$death")
    # Steps that were done already are written once more, so that the file first gets shorter.
    lines=$(awk '/"event": "step"/ && !/"step": 1[1-9],/' "$folder/run-$round/metrics.jsonl" | wc -l)
    train qlora-worker "run-$round" &
    pid=$!
    while ! grep -q 'resumed' "$folder/log" 2>/dev/null; do sleep 0.005; done
    again=$(first_step_after "$death" "$folder/run-$round/metrics.jsonl" "$lines")
    wait "$pid"
    echo "round $round: all down after $down s, step 11 done again after $again s; a single process needs $load s for its first step"
done
