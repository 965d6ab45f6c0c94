#!/usr/bin/env bash
# Ranks that stop, spin, sleep or leave: the watchdog of those that wait ends the run within W + 1 s, and names the culprit.
#   silent.sh BIN_FOLDER [all]
# shellcheck source=tests/faults/harness.sh
. "$(dirname "$0")/harness.sh" "$1" "${2:-}"

w=4
# hurried COMMAND...: with deadlines of W where a fault is waited for; disks and starts of a busy machine get more
hurried() {
  local QLORA_STEP_TIMEOUT=$w QLORA_SAVE_TIMEOUT=${save_w:-60}
  export QLORA_STEP_TIMEOUT QLORA_SAVE_TIMEOUT
  "$@"
}
# A first step may take longer than the others by itself; none of these tests needs more.
evaluating=(eval_dataset="$scratch/data.jsonl" eval_strategy=steps eval_steps=10)

# ends_in_time NAME: 75 within W + 1 s, and nothing is left
ends_in_time() {
  exits "$1" 75
  nothing_left "$1"
  within "$1: down" "$down" $((w + 1))
  figure="W = $w s: exit status $status, down in $down s"
}

# hangs NAME FAULT CULPRIT [KEY=VALUE...]: rank, step and what it did not do are named, and the run goes on
hangs() {
  local name=$1 fault=$2 culprit=$3 said
  shift 3
  hurried suffer "$name" 2 "$fault" "$@"
  ends_in_time "$name"
  expect_line "$name: the culprit" "qlora: error: .*$culprit"
  said=$figure
  go_on "$name" 2 "$@"
  nothing_left "$name"
  figure="$said, went on from step $resumed_at"
}

hangs stop 1:12:stop:exchange 'rank 1 .*step 12'
record "5" "T3 T4" stop "rank 1 is stopped before exchanging gradients of step 12: ends, names rank, exchange and step; same bytes afterwards" "$figure"
hangs loop 0:17:loop:step 'rank 0 .*step 17'
record "5" "T3 T4" loop "rank 0 spins in step 17: the same" "$figure"
hangs finalize 1:15:finalize:step 'rank 1 .*step 15'
record "4" "T6" finalize "rank 1 finalises MPI in step 15: the same" "$figure"
hangs stop_in_save 0:20:stop:save 'rank 0 '
record "5" "T3" stop_in_save "rank 0 is stopped before the save of step 20: the same, from step 10" "$figure"
hangs stop_in_evaluation 1:20:stop:evaluation 'rank 1 ' "${evaluating[@]}"
record "5" "T3" stop_in_evaluation "rank 1 is stopped in an evaluation: the same" "$figure"

# ---- before the first step ----
QLORA_LOAD_TIMEOUT=$w hurried suffer slow_load 2 1:0:sleep=60:load
ends_in_time slow_load
expect_line "slow_load: says what" 'qlora: error: .*rank 1 .*load'
record "23" "T7" slow_load "rank 1 waits for its disk while loading: reported as that, not as an exchange" "$figure"
QLORA_INIT_TIMEOUT=$w hurried suffer late 2 1:0:sleep=60:init
ends_in_time late
record "6" "T1" late "rank 1 sleeps before MPI_Init: the others end at the deadline of starting" "$figure"
as_job "$worker" 1 never
QLORA_INIT_TIMEOUT=$w hurried run_bounded mpirun -np 1 "${job[@]}" : -np 1 true
if [ "$status" = 0 ]; then flunk "never: a success"; else pass "never: exit status $status"; fi
nothing_left never
within never "$seconds" $((w + 2))
record "6" "T1" never "a rank that is another program and exits with 0: no success, all down at the deadline" "exit status $status in $seconds s"

# ---- no false alarms ----
hurried suffer slow 2 "1:12:sleep=1.5:step,0:20:sleep=1.5:save,1:30:sleep=1.5:exchange"
exits slow 0
undisturbed
if [ "$(digest slow)" = "$wanted" ]; then pass "slow: same bytes"; else flunk "slow: other bytes"; fi
record "5" "" slow "pauses of half of W in step, save and exchange: no alarm, same bytes" "exit status $status"

if [ "$all" = all ]; then
  for place in vote step exchange save evaluation; do
    save_w=
    [ "$place" != save ] || save_w=$w # it is what hangs
    for rank in 0 1; do
      for kind in stop loop sleep=60; do
        hangs "$kind-$place-$rank" "$rank:20:$kind:$place" "rank $rank " "${evaluating[@]}"
      done
    done
  done
  record "5" "T3 T4" everywhere "stopped, spinning, asleep, on either rank, at five places" "30 cases"
fi
finish
