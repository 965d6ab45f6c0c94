#!/usr/bin/env bash
# Files that are cut short while they are mapped: one line that names the file and status 65 instead of a crash, on one rank and
# on two, whatever MPI does with the signal.   cut_files.sh BIN_FOLDER
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/../support/shell.sh" "$1"
# shellcheck source=tests/faults/record.sh
. "$(dirname "$0")/../faults/record.sh"
cd "$top" || exit 1
faulty=$bin/qlora-worker-faulty
cp -r examples/model "$scratch/model"

# The ranks that have stopped.
stopped() {
  local environ
  while IFS= read -r environ; do
    if grep -q '^State:.T' "${environ%environ}status" 2>/dev/null; then grep -o '[0-9]*' <<<"$environ"; fi
  done < <(grep -lsz -- "^QLORA_RUN_ID=$scratch\$" /proc/[0-9]*/environ)
}

# cut_short NAME RANKS COMMAND...: when every rank has stopped before the loading of the model, whose headers it has read, the file
# becomes shorter
cut_short() {
  local name=$1 ranks=$2 i pid
  shift 2
  cp examples/model/model.safetensors "$scratch/model"
  rm -rf "$scratch/out-dir"
  QLORA_FAULT='*:0:stop:load' QLORA_RUN_ID=$scratch timeout --foreground 600 "$@" "$faulty" --threads 1 examples/demo.yaml \
    output_dir="$scratch/out-dir" model_name_or_path="$scratch/model" max_steps=2 eval_dataset=null eval_strategy=no >"$scratch/out" 2>"$scratch/err" &
  local job=$!
  for ((i = 0; i < 6000; i++)); do
    [ "$(stopped | wc -l)" = "$ranks" ] && break
    sleep 0.05
  done
  truncate -s 20000 "$scratch/model/model.safetensors"
  for pid in $(stopped); do kill -CONT "$pid"; done
  wait $job
  local status=$?
  if [ "$status" = 65 ]; then pass "$name: exit status"; else flunk "$name: exit status $status: $(tail -n 3 "$scratch/err")"; fi
  expect_line "$name: message" '^qlora: error: (rank [01]: )?.*/model.safetensors: was cut short while it was being read'
  if grep -q 'Signal: Bus error\|crashed' "$scratch/err"; then flunk "$name: it crashed"; fi
  if grep -q 'was cut short' "$scratch/out-dir/run.log"; then pass "$name: run.log"; else flunk "$name: run.log does not say it"; fi
}

cut_short "one rank" 1
need_mpirun
cut_short "two ranks" 2 mpirun -np 2
record "31" "" cut_files "one line that names the file, 65" "65 on one rank and on two"
finish
