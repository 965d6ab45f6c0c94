#!/usr/bin/env bash
# On emulated GPUs: runs that are broken off on two of them, and go on with one and with three, in other ways (rows at a time, recomputing, rung of
# the memory ladder, work done at once or as late as streams allow), come to the same lines, checkpoints and adapter. With float16 the loss scale is
# part of what goes on.
#   elastic.sh BIN_FOLDER SEED [all]
# shellcheck source=tests/determinism/runs.sh
. "$(dirname "$0")/../determinism/runs.sh" "$1"
seed_with "$2"
all=${3:-}
program=$bin/qlora-worker-faulty-emulated
device=cuda
usual_steps=4
thread_choices=(1)
flavours=(gpu-float16 gpu-bfloat16 gpu-float32)
find_processors
export QL_EMU_DEVICES=4

# some_way RANKS
some_way() {
  rank_choices=("$1")
  any_way
  pick immediate deferred
  environment+=(QL_EMU_STREAMS="$picked")
  way+=", $picked"
}

# sequence FLAVOUR ENDING STEP FIRST_RANKS THEN_RANKS: broken off in that step, gone on to the end
sequence() {
  local out=$scratch/run
  story="$1:"
  rm -rf "$out"
  some_way "$4"
  break_off "$out" "$2" "$3"
  some_way "$5"
  run "$out" || flunk "$story then $way: $(grep -m 2 "error:" "$log" || tail -n 2 "$log")"
  same_as "$1" "$out" "$story then $way"
}

for name in "${flavours[@]}"; do
  flavour "$name"
  undisturbed "$name"
  if [ "$all" = all ]; then
    for ((step = 1; step <= steps; step++)); do
      for ending in USR1 kill all; do
        for some in 1 3 4; do sequence "$name" "$ending" "$step" 2 "$some"; done
        sequence "$name" "$ending" "$step" "$((step % 4 + 1))" 2
      done
    done
  else
    roll $((steps - 2)) && step=$((rolled + 2))
    pick USR1 kill launcher && ending=$picked
    pick 1 3
    sequence "$name" "$ending" "$step" 2 "$picked"
  fi
done
scales=$(grep -o '"loss_scale": [0-9]*' "$scratch/gpu-float16.facts" | sort -u | grep -c -v ' 65536$')
if [ "$scales" -gt 0 ]; then pass "float16: the loss scale was lowered"; else flunk "float16: the loss scale was never lowered"; fi
finish
