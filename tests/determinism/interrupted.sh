#!/usr/bin/env bash
# Stopped and killed at any step, continued on other numbers of ranks: the same bytes at the end.
#   interrupted.sh BIN_FOLDER [all]
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/../support/shell.sh" "$1"
need_mpirun
all=${2:-}
cd "$top" || exit 1

head -n 160 examples/data/train.jsonl >"$scratch/data.jsonl"
steps=12
common=(dataset="$scratch/data.jsonl" eval_dataset=null eval_strategy=no max_length=256 max_steps="$steps" lora_dropout=0.1
  learning_rate=5e-3 global_batch_size=5 save_steps=1 save_minutes=0 save_total_limit=2)

# start RANKS OUT KEY=VALUE...
start() {
  local ranks=$1 out=$2
  shift 2
  local launch=()
  [ "$ranks" = 1 ] || launch=(mpirun -np "$ranks")
  "${launch[@]}" "$worker" --threads 1 examples/demo.yaml "${common[@]}" output_dir="$out" "$@"
}

digest() {
  sha256sum "$1/adapter_model.safetensors" 2>/dev/null | cut -d' ' -f1
}

# The workers below a process, by parentage.
workers_of() {
  local child
  for child in $(pgrep -P "$1"); do
    if [ "$(cat "/proc/$child/comm" 2>/dev/null)" = qlora-worker ]; then echo "$child"; fi
    workers_of "$child"
  done
}

wait_for_step() {
  local out=$1 step=$2 pid=$3
  while kill -0 "$pid" 2>/dev/null; do
    if grep -q "\"event\": \"step\", \"step\": $step," "$out/metrics.jsonl" 2>/dev/null; then return 0; fi
    sleep 0.02
  done
  return 1
}

# interrupt SIGNAL STEP RANKS OUT: ends the run there; says the exit status
interrupt() {
  local signal=$1 step=$2 ranks=$3 out=$4
  # bash gives background jobs of scripts an ignored SIGINT; the worker installs its own handler.
  local launch=()
  [ "$ranks" = 1 ] || launch=(mpirun -np "$ranks")
  "${launch[@]}" "$worker" --threads 1 examples/demo.yaml "${common[@]}" output_dir="$out" >"$scratch/log" 2>&1 &
  local pid=$!
  wait_for_step "$out" "$step" "$pid"
  local victim=$pid
  if [ "$ranks" != 1 ]; then victim=$(workers_of "$pid" | tail -n 1); fi
  [ -n "$victim" ] && kill -s "$signal" "$victim" 2>/dev/null
  wait "$pid" 2>/dev/null
  echo $?
}

start 1 "$scratch/plain" >"$scratch/log" 2>&1 || flunk "undisturbed run: $(tail -n 2 "$scratch/log")"
want=$(digest "$scratch/plain")

# check SIGNAL STEP RANKS THEN_RANKS
check() {
  local name="$1 after step $2 on $3 ranks, then $4" out="$scratch/run-$1-$2-$3-$4" status
  status=$(interrupt "$1" "$2" "$3" "$out")
  if [ "$1" != KILL ] && [ ! -e "$out/adapter_model.safetensors" ] && [ "$status" != 85 ]; then
    flunk "$name: exit status $status instead of 85: $(tail -n 2 "$scratch/log")"
    return
  fi
  start "$4" "$out" >"$scratch/log" 2>&1 || flunk "$name: going on: $(tail -n 2 "$scratch/log")"
  local lines
  lines=$(grep -c '"event": "step"' "$out/metrics.jsonl")
  if [ "$(digest "$out")" = "$want" ] && [ "$lines" = "$steps" ]; then
    pass "$name: same bytes, $lines step lines"
  else
    flunk "$name: other bytes, or $lines step lines instead of $steps"
  fi
  rm -rf "$out"
}

check USR1 2 1 3
check TERM 5 2 1
check KILL 7 3 2
check USR2 9 2 2
check INT 4 1 1
check KILL 3 1 4
if [ "$all" = all ]; then
  for step in $(seq 1 $((steps - 1))); do
    for ranks in 1 2 3; do
      check USR1 "$step" "$ranks" $((ranks % 3 + 1))
      check KILL "$step" "$ranks" $((4 - ranks))
    done
  done
fi

# A run that is done does nothing when started again, and says so by its exit status.
cp -r "$scratch/plain" "$scratch/again"
start 2 "$scratch/again" >"$scratch/log" 2>&1 && [ "$(digest "$scratch/again")" = "$want" ] && pass "a finished run stays finished"
# The newest checkpoint damaged: the one before it is taken, the end is the same.
start 1 "$scratch/damaged" max_steps=$steps >"$scratch/log" 2>&1
newest=$(find "$scratch/damaged" -maxdepth 1 -name 'checkpoint-*' | sort | tail -n 1)
printf 'x' | dd of="$newest/state.h5" bs=1 seek=5000 conv=notrunc 2>/dev/null
rm "$scratch/damaged/adapter_model.safetensors"
start 1 "$scratch/damaged" >"$scratch/log" 2>&1
if grep -q 'qlora: warning: .*state.h5' "$scratch/log" && [ "$(digest "$scratch/damaged")" = "$want" ]; then
  pass "a damaged checkpoint is named and the one before it used"
else
  flunk "a damaged checkpoint: $(tail -n 3 "$scratch/log")"
fi
finish
