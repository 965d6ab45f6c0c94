#!/usr/bin/env bash
# Ranks that die or fail: all go, the reason is said, and the run goes on from the last checkpoint to the same bytes.
#   dying.sh BIN_FOLDER [all]
# shellcheck source=tests/faults/harness.sh
. "$(dirname "$0")/harness.sh" "$1" "${2:-}"

# dies NAME RANKS FAULT STATUS...: checks of one case
dies() {
  local name=$1 ranks=$2 fault=$3
  shift 3
  suffer "$name" "$ranks" "$fault"
  exits "$name" "$@"
  nothing_left "$name"
  local ended_with=$status was_down=$down
  within "$name: down" "$was_down" 1
  go_on "$name" "$ranks"
  nothing_left "$name"
  figure="exit status $ended_with, down in $was_down s, went on from step $resumed_at"
}

dies kill 2 1:27:kill 137
record "1" "T2" kill "a rank killed in step 27 of 40: all down, goes on from 20, same bytes" "$figure"
dies segv 2 1:27:segv:exchange 139
record "2" "T2" segv "a rank that crashes in the exchange of step 27: the same" "$figure"
dies abort 2 0:23:abort:step 134
record "2" "" abort "rank 0 aborts in step 23: the same" "$figure"
dies exit3 2 1:35:exit3:step 3
record "3" "T2" exit3 "a rank exits with 3 in step 35: the same" "$figure"
finish
