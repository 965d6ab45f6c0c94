#!/usr/bin/env bash
# Numbers that go wrong on one rank: all ranks do the same about it, at the same step.
#   numbers.sh BIN_FOLDER [all]
# shellcheck source=tests/faults/harness.sh
. "$(dirname "$0")/harness.sh" "$1" "${2:-}"

# stops NAME FAULT PATTERN: 65 on all ranks in step 15, and the run goes on from step 10
stops() {
  suffer "$1" 2 "$2"
  exits "$1" 65
  expect_line "$1: says what and where" "qlora: error: .*$3"
  nothing_left "$1"
  within "$1: down" "$down" 1
  figure="exit status $status, down in $down s"
  go_on "$1" 2
  figure="$figure, went on from step $resumed_at"
}
stops nan 1:15:nan 'step 15: .*not finite.*record'
record "32" "" nan "a loss that is no number on rank 1: all stop in step 15 and name the records; the bytes of before go on" "$figure"
# Once, and not when the rows are computed again to find the culprit: as a flaw of the machine would have it.
stops inf 0:15:inf 'step 15: .*gradient is not finite'
record "32" "" inf "a gradient that is infinite, once and not again, with a finite loss, on rank 0: all stop in step 15" "$figure"

# Which row is hit depends on the ranks; that the step is left out as a whole does not.
suffer skip_one 1 0:15:nan on_nonfinite=skip
exits skip_one 0
suffer skip_two 2 1:15:nan on_nonfinite=skip
exits skip_two 0
if [ -n "$(digest skip_one)" ] && [ "$(digest skip_one)" = "$(digest skip_two)" ]; then pass "skip: same bytes"; else flunk "skip: other bytes on two ranks"; fi
undisturbed
if [ "$(digest skip_one)" != "$wanted" ]; then pass "skip: a step is missing"; else flunk "skip: nothing was skipped"; fi
record "32" "" skip "on_nonfinite: skip leaves the step out, on 1 and on 2 ranks with the same bytes" "exit status $status"

suffer drift 2 1:15:drift
exits drift 75
expect_line "drift: says what" 'qlora: error: .*(rank 1|differ)'
nothing_left drift
if [ -e "$scratch/drift/checkpoint-00000020" ]; then flunk "drift: published"; else pass "drift: nothing published"; fi
figure="exit status $status, down in $down s"
go_on drift 2
if [ "$resumed_at" = 10 ]; then pass "drift: goes on from step 10"; else flunk "drift: goes on from $resumed_at"; fi
record "33" "T28" drift "one bit of the adapter changes on rank 1 in step 15: seen before the save of step 20, nothing published; goes on from 10 to the same bytes" "$figure"
finish
