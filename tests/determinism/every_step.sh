#!/usr/bin/env bash
# Broken off in any of its twelve steps, a run goes on in any way (ranks x threads x rows at a time and recomputing, or rungs of the memory ladder, x
# instruction sets) to the same lines, checkpoints and adapter.
#   every_step.sh BIN_FOLDER SEED        a few steps and ways of each flavour, by chance
#   every_step.sh BIN_FOLDER SEED all    every step in every way for packed rows; for the others every step, on every number of ranks
# shellcheck source=tests/determinism/runs.sh
. "$(dirname "$0")/runs.sh" "$1"
seed_with "$2"
all=${3:-}
find_processors

# broken FLAVOUR STEP ENDING: a run that ended in that step, in folder $broken
broken() {
  story="$1:"
  any_way
  broken=$scratch/broken
  rm -rf "$broken"
  break_off "$broken" "$3" "$2"
}

# go_on FLAVOUR: from there in the way that is set
go_on() {
  local out=$scratch/going-on
  rm -rf "$out"
  cp -r "$broken" "$out"
  run "$out" || flunk "$story then $way: $(grep -m 2 "error:" "$log" || tail -n 2 "$log")"
  same_as "$1" "$out" "$story then $way"
}

# Each of the ways there are, one after the other.
every_way() {
  local memory
  for ranks in 1 2 3 4; do
    for threads in 1 2; do
      for processor in "${processors[@]}"; do
        find_rungs
        for memory in "${rungs[@]/#/max_memory=}" per_device_train_batch_size={1,3}" gradient_checkpointing="{true,false}; do
          # shellcheck disable=SC2086
          the_way "$ranks" "$threads" "$processor" $memory
          go_on "$1"
        done
      done
    done
  done
}

# On every number of ranks, the rest by chance.
every_rank() {
  local some
  for some in 1 2 3 4; do
    any_way
    the_way "$some" "$threads" "$processor" "${way_keys[@]}"
    unequal_ranks
    go_on "$1"
  done
}

for name in "${flavours[@]}"; do
  flavour "$name"
  undisturbed "$name"
  if [ "$all" = all ]; then
    for ((step = 1; step <= steps; step++)); do
      for ending in kill USR1; do
        broken "$name" "$step" "$ending"
        if [ "$name" = packed ] && [ "$ending" = kill ]; then every_way "$name"; else every_rank "$name"; fi
      done
    done
  else
    pick "${endings[@]}" && ending=$picked
    roll "$steps"
    broken "$name" $((rolled + 1)) "$ending"
    for _ in 1 2; do
      any_way
      go_on "$name"
    done
  fi
done
finish
