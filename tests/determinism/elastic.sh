#!/usr/bin/env bash
# A run that is broken off again and again, at random moments and in every way there is, and each time goes on in another way (ranks,
# threads, rows at a time, recomputing, rung of the memory ladder, instruction set) comes to the same lines, checkpoints and adapter.
#   elastic.sh BIN_FOLDER [SEQUENCES [SEED]]
# shellcheck source=tests/determinism/runs.sh
. "$(dirname "$0")/runs.sh" "$1"
# shellcheck source=tests/faults/record.sh
. "$(dirname "$0")/../faults/record.sh"
sequences=${2:-12}
seed_with "${3:-1}"
find_processors

# sequence NUMBER FLAVOUR: twelve steps in two to four pieces
sequence() {
  local out=$scratch/run-$1 pieces step=0
  story="$1, $2:"
  flavour "$2"
  roll 3 && pieces=$((rolled + 1))
  for (( ; pieces > 0 && step < steps; pieces--)); do
    any_way
    roll $((steps - step)) && step=$((step + 1 + rolled))
    pick "${endings[@]}"
    break_off "$out" "$picked" "$step"
  done
  any_way
  run "$out" || flunk "$story then $way: $(grep -m 2 "error:" "$log" || tail -n 2 "$log")"
  same_as "$2" "$out" "$story then $way"
}

for name in "${flavours[@]}"; do
  flavour "$name"
  undisturbed "$name"
done
# A test that cannot fail proves nothing.
flavour packed
keys+=(seed=43)
undisturbed other
if cmp -s "$scratch/packed.facts" "$scratch/other.facts"; then flunk "another seed: nothing differs"; else pass "another seed: other facts"; fi
for ((number = 0; number < sequences; number++)); do sequence "$number" "${flavours[number % ${#flavours[@]}]}"; done

# A run that is done does nothing when it is started again, and says so by its exit status.
flavour packed
the_way 2 1 "${processors[-1]}"
run "$scratch/packed" || flunk "a finished run, started again: $(grep -m 2 "error:" "$log" || tail -n 2 "$log")"
same_as packed "$scratch/packed" "a finished run stays finished"
# The newest checkpoint damaged: it is named, the one before it is taken, and the end is the same.
the_way 1 1 "${processors[-1]}"
run "$scratch/damaged" || flunk "undisturbed: $(tail -n 2 "$log")"
newest=$scratch/damaged/checkpoint-000000$steps
printf 'x' | dd of="$newest/state.h5" bs=1 seek=5000 conv=notrunc 2>/dev/null
rm "$scratch/damaged/adapter_model.safetensors"
run "$scratch/damaged" || flunk "going on from before the damaged checkpoint: $(tail -n 2 "$log")"
if grep -q 'qlora: warning: .*state.h5' "$log"; then pass "a damaged checkpoint is named"; else flunk "a damaged checkpoint: $(tail -n 3 "$log")"; fi
rm -rf "$newest".set-aside-*
same_as packed "$scratch/damaged" "the one before it is used"
record "28" "T16 T17" elastic "other ranks, threads, rows at a time, memory and instructions after each fault: the same bytes" "$sequences runs in $((endings_seen + sequences)) pieces"
finish
