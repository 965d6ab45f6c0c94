#!/usr/bin/env bash
# Who waits for whom, and for how long: slow disks are waited for and named, runs that stood still as a whole go on, ranks that are not at
# the same place are refused, and no pipe that nobody reads keeps a process from ending.
#   waiting.sh BIN_FOLDER [all]
# shellcheck source=tests/faults/harness.sh
. "$(dirname "$0")/harness.sh" "$1" "${2:-}"
unset QLORA_SAVE_PATIENCE

# Long enough for machines that have much else to do; what is slow is said after a quarter of it. A deadline that is to pass is short.
w=20
export QLORA_STEP_TIMEOUT=$w QLORA_LOAD_TIMEOUT=100 QLORA_SAVE_TIMEOUT=100

# Without checkpoints on the way, whose writer is a thread of its own that may be anywhere when something happens.
common+=(save_steps=1000)
undisturbed

# goes_on NAME: the run that was held up ends with the bytes of an undisturbed one
goes_on() {
  exits "$1" 0
  if [ "$(digest "$1")" = "$wanted" ]; then pass "$1: same bytes"; else flunk "$1: other bytes"; fi
  if grep -q 'qlora: error' "$scratch/err"; then flunk "$1: an alarm: $(grep 'qlora: error' "$scratch/err")"; fi
  nothing_left "$1"
}

# ---- slow disks ----
suffer slow_reading 2 1:0:sleep=8:load
goes_on slow_reading
expect_line "slow_reading: is named" 'qlora: warning: rank 1 is reading \(examples/model\) and has got no further for'
record "23" "T7" slow_reading "rank 1 needs more than a quarter of W to read the model: rank 0 says which rank reads what, waits, and the run ends well" "exit status $status"
QL_SHIM_SECONDS=8 suffer slow_metrics 2 0:12:stall
goes_on slow_metrics
expect_line "slow_metrics: is named" 'qlora: warning: rank 0 is writing \((metrics.jsonl|run.log)\) and has got no further for'
record "23" "T7" slow_metrics "a write of rank 0 between two steps takes more than a quarter of W: the same" "exit status $status"
QLORA_SAVE_TIMEOUT=3 QL_SHIM_SECONDS=60 suffer dead_disk 2 0:12:stall
exits dead_disk 75
expect_line "dead_disk: is named" 'qlora: error: rank 0 made no progress for .* while writing \((metrics.jsonl|run.log)\)'
within "dead_disk: down" "$down" 4
nothing_left dead_disk
record "23" "" dead_disk "a write of rank 0 takes longer than the deadline of writing: all end, the file is named" "exit status $status, down in $down s"

QL_SHIM_SECONDS=8 suffer slow_saving 2 0:40:stall:save
goes_on slow_saving
expect_line "slow_saving: is named" 'qlora: warning: rank 0 is writing \(a checkpoint\) and has got no further for'
record "23" "T32" slow_saving "a write of the last checkpoint takes more than a quarter of W: rank 1 says what it waits for, and the run ends well" "exit status $status"
QLORA_SAVE_TIMEOUT=3 QL_SHIM_SECONDS=60 suffer dead_saving 2 0:40:stall:save
exits dead_saving 75
expect_line "dead_saving: is named" 'qlora: error: rank 0 made no progress for .* while writing \(a checkpoint\)'
within "dead_saving: down" "$down" 4
record "23" "" dead_saving "it takes longer than the deadline of writing: all end, and it is named" "exit status $status, down in $down s"

# ---- long steps ----
as_job "$worker" 1 long dataset=examples/data/train.jsonl max_length=256 global_batch_size=250 max_steps=1
QLORA_STEP_TIMEOUT=4 run_bounded "${job[@]}"
exits long 0
longest=$(sed -n 's/.*"step_seconds": \([0-9.e-]*\).*/\1/p' "$scratch/long/metrics.jsonl" | sort -g | tail -n 1)
if awk "BEGIN {exit !($longest > 4)}"; then pass "long: a step of $longest s"; else echo "note: this machine is too fast for this case: a step took $longest s"; fi
record "5" "" long "a step that takes longer than the deadline of a step, but gets on: no alarm" "exit status $status, a step of $longest s"

# ---- a run that stands still as a whole ----
as_job "$faulty" 2 frozen
run_id=$scratch/frozen.id
QLORA_STEP_TIMEOUT=8 QLORA_RUN_ID=$run_id QLORA_FAULT="*:12:sleep=1:step" QLORA_FAULT_MARK=$scratch/mark.frozen "${job[@]}" >"$scratch/out" 2>"$scratch/err" </dev/null &
pid=$!
while kill -0 "$pid" 2>/dev/null && [ "$(grep -c hook "$scratch/mark.frozen" 2>/dev/null)" != 2 ]; do sleep 0.02; done
mapfile -t held < <(survivors)
kill -STOP "${held[@]}"
sleep 10
# One rank after the other, so that the first sees another one that has been silent for long.
for process in "${held[@]}"; do
  kill -CONT "$process"
  sleep 0.5
done
wait "$pid"
status=$?
goes_on frozen
record "5" "" frozen "all processes of a run stand still for longer than W and are continued one after the other: no alarm, same bytes" "exit status $status"

# ---- ranks that are not at the same place ----
QLORA_STEP_TIMEOUT=4 suffer other_exchange 2 1:12:barrier
exits other_exchange 75
expect_line "other_exchange: says what" 'qlora: error: rank . waits in exchange .* of step 12 .*the ranks are not at the same place of the program'
within "other_exchange: down" "$down" 5
nothing_left other_exchange
record "8" "" other_exchange "a rank comes to another exchange than the others: both are named when W is over" "exit status $status, down in $down s"

# ---- deadlines that are none ----
for name in INIT STEP LOAD SAVE; do
  for value in 0 -1 1s 99999999999; do
    as_job "$worker" 1 refused
    expect_status "QLORA_${name}_TIMEOUT=$value" 64 env "QLORA_${name}_TIMEOUT=$value" "${job[@]}"
  done
done
expect_line "deadlines: says what is expected" 'QLORA_SAVE_TIMEOUT=99999999999: expected a whole number of seconds'

# ---- a pipe that nobody reads ----
mkfifo "$scratch/full"
exec 7<>"$scratch/full"
dd if=/dev/zero of="$scratch/full" bs=4096 oflag=nonblock 2>/dev/null
as_job "$faulty" 1 full
start=$(now)
QLORA_SAVE_TIMEOUT=3 timeout -k 5 "$bound" "${job[@]}" >"$scratch/out" 2>&7 </dev/null
status=$?
exits full 75
seconds=$(calc "$(now) - $start")
within full "$seconds" 6
exec 7>&-
record "5" "" full "nobody reads standard error: the process ends, though it cannot say why" "exit status $status in $seconds s"
# ---- ranks that do not see each other's processes, as on other machines ----
if [ "$all" = all ] && unshare --pid --fork --mount-proc true 2>/dev/null; then
  as_job "$faulty" 1 far
  run_id=$scratch/far.id
  QLORA_STEP_TIMEOUT=5 QLORA_RUN_ID=$run_id QLORA_FAULT="1:12:sleep=3:exchange" QLORA_FAULT_MARK=$scratch/mark.far \
    mpirun -np 1 "${job[@]}" : -np 1 unshare --pid --fork --mount-proc "${job[@]}" >"$scratch/out" 2>"$scratch/err" </dev/null &
  pid=$!
  while kill -0 "$pid" 2>/dev/null && [ ! -s "$scratch/mark.far" ]; do sleep 0.02; done
  mapfile -t those < <(survivors)
  for process in "${those[@]}"; do
    if grep -q '^NSpid:.*[[:space:]]1$' "/proc/$process/status"; then kill -STOP "$process"; fi
  done
  start=$(now)
  wait "$pid"
  status=$?
  exits far 75
  down=$(calc "$(now) - $start")
  within far "$down" 12
  expect_line "far: the culprit" 'qlora: error: rank 1 on .* did not enter exchange .* of step 12 .*: no sign of life'
  survivors | xargs -r kill -KILL # the first process of a namespace hears nothing else
  record "5" "" far "rank 1 is stopped where rank 0 sees only its file in output_dir/run: named after ten seconds" "exit status $status, down in $down s"
elif [ "$all" = all ]; then
  echo "note: this user may not make a namespace for processes: not tested with ranks that do not see each other's"
fi
finish
