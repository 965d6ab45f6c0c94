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
record "1" "" kill "a rank killed in step 27 of 40: all down, goes on from 20, same bytes" "$figure"
dies segv 2 1:27:segv:exchange 139
if grep -q 'qlora: error: rank 1: crashed: SIGSEGV at address' "$scratch/segv/run.log" && grep -q 'qlora-worker-faulty(+0x' "$scratch/segv/run.log"; then
  pass "segv: a backtrace in run.log"
else
  flunk "segv: no backtrace in run.log"
fi
record "2" "" segv "a rank that crashes in the exchange of step 27: the same, with a backtrace in run.log" "$figure"
dies exit3 2 1:35:exit3:step 3
record "3" "" exit3 "a rank exits with 3 in step 35: the same" "$figure"
dies exit0 2 1:15:exit0:step 1
record "4" "" exit0 "a rank exits with 0 in step 15, as if all were well: the same, and no success" "$figure"
dies kill_in_save 2 0:20:kill:save 137
record "1" "" kill_in_save "rank 0 killed before the save of step 20: the same, from step 10" "$figure"

# ---- before there is a world ----
# never_starts NAME FAULT: rank 1 is gone before MPI_Init
never_starts() {
  suffer "$1" 2 "$2"
  if [ "$status" = 0 ]; then flunk "$1: a success"; else pass "$1: exit status $status"; fi
  nothing_left "$1"
  within "$1: down" "$down" 1
  figure="exit status $status, down in $down s"
}
never_starts exit4_early 1:0:exit=4:init
record "6" "T1" exit4_early "a rank exits with 4 before MPI_Init: all down" "$figure"
never_starts kill_early 1:0:kill:init
record "6" "T1" kill_early "a rank killed before MPI_Init: all down" "$figure"

# As where a library is not installed on one machine.
sed 's/libjansson\.so/libjanssoX.so/g' "$worker" >"$scratch/unloadable"
chmod +x "$scratch/unloadable"
as_job "$worker" 1 missing-library
run_bounded mpirun -np 1 "${job[@]}" : -np 1 "$scratch/unloadable" "${job[@]:1}"
exits missing_library 127
expect_line "missing_library: which" 'error while loading shared libraries: libjanssoX.so'
nothing_left missing-library
within missing_library "$seconds" 1
record "6" "T1" missing_library "a rank whose program cannot be loaded: all down, the library is named" "exit status $status in $seconds s"

# ---- as the plan has it ----
common+=(max_steps=120 save_total_limit=3)
# planned NAME RANKS FAULT STATUS
planned() {
  dies "$@"
  if [ "$resumed_at" = 50 ]; then pass "$1: goes on from step 50"; else flunk "$1: goes on from step $resumed_at instead of 50"; fi
}
planned kill_57_of_120 2 0:57:saved=50,1:57:kill:exchange 137
record "1" "T2" kill_57_of_120 "killed in step 57 of 120 on 2 ranks: goes on from 50 to the same bytes" "$figure"
if [ "$all" = all ]; then
  dies abort 2 0:23:abort:step 134
  record "2" "" abort "rank 0 aborts in step 23: the same" "$figure"
  dies two_of_four 4 1:27:kill,2:27:segv 137 139
  record "1 2" "" two_of_four "two of four ranks die at the same step: the same" "$figure"
  for ranks in 2 4; do
    planned "segv_57_$ranks" "$ranks" "0:57:saved=50,$((ranks - 1)):57:segv:exchange" 139
    planned "exit3_57_$ranks" "$ranks" "0:57:saved=50,$((ranks - 1)):57:exit3:exchange" 3
    planned "kill_57_$ranks" "$ranks" "0:57:saved=50,0:57:kill:exchange" 137
  done
fi
finish
