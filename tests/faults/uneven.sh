#!/usr/bin/env bash
# Data sets of any size on any number of ranks, also fewer rows than ranks: nobody waits for a rank that has nothing to do, and the bytes are those
# of one rank.
#   uneven.sh BIN_FOLDER [all]
# shellcheck source=tests/faults/harness.sh
. "$(dirname "$0")/harness.sh" "$1" "${2:-}"

common+=(max_steps=-1 num_train_epochs=2 max_length=256 packing=false)
combinations=0
# even RECORDS RANKS...
even() {
  local records=$1 ranks
  shift
  head -n "$records" examples/data/train.jsonl >"$scratch/$records.jsonl"
  undisturbed dataset="$scratch/$records.jsonl"
  for ranks in "$@"; do
    as_job "$worker" "$ranks" "records-$records-ranks-$ranks" dataset="$scratch/$records.jsonl"
    run_bounded "${job[@]}"
    exits "$records records on $ranks ranks" 0
    if [ "$(digest "records-$records-ranks-$ranks")" = "$wanted" ]; then pass "$records records on $ranks ranks: same bytes"; else flunk "$records records on $ranks ranks: other bytes"; fi
    combinations=$((combinations + 1))
  done
}
if [ "$all" = all ]; then
  for records in 1 2 3 7 100; do even "$records" 2 3 4; done
else
  even 1 4
  even 2 3
  even 3 2
  even 7 4
  even 100 3
fi
record "" "T26" uneven "1, 2, 3, 7 and 100 records of unequal length on 1 to 4 ranks: no hang, the bytes of one rank" "$combinations combinations"
finish
