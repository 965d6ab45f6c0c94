#!/usr/bin/env bash
# Requests to stop: every signal, to one rank, to all, to mpirun and to the launcher, in every phase, once and twice. The run ends with
# 85 and a checkpoint at the very step, and goes on from there to the same bytes.
#   signals.sh BIN_FOLDER [all]
# shellcheck source=tests/faults/harness.sh
. "$(dirname "$0")/harness.sh" "$1" "${2:-}"
steps=12
head -n 12 examples/data/eval.jsonl >"$scratch/eval.jsonl"
common+=(max_steps="$steps" save_steps=5 eval_dataset="$scratch/eval.jsonl" eval_strategy=steps eval_steps=4)
export QLORA_SPEEDS=10,10,10 # so that every rank has rows in every step
declare -A number=([HUP]=1 [INT]=2 [USR1]=10 [USR2]=12 [TERM]=15)

# stopped NAME STEP...: the last run stopped at one of these steps, with a checkpoint of that very step
stopped() {
  local name=$1 at
  shift
  exits "$name" 85
  at=$(sed -n 's/.*: stopped after step \([0-9]*\) of .* with a verified checkpoint.*/\1/p' "$scratch/err" | head -n 1)
  if [[ " $* " == *" ${at:-none} "* ]]; then pass "$name: stopped after step $at"; else flunk "$name: stopped after step ${at:-none} instead of $*"; fi
  stopped_at=${at:-0}
  if [ -d "$(printf '%s/%s/checkpoint-%08d' "$scratch" "$name" "$stopped_at")" ]; then pass "$name: its checkpoint"; else flunk "$name: no checkpoint of it"; fi
  nothing_left "$name"
}

# goes_on NAME RANKS: from where it stopped
goes_on() {
  go_on "$1" "$2"
  if [ "$resumed_at" = "$stopped_at" ]; then pass "$1: goes on from there"; else flunk "$1: goes on from $resumed_at, stopped at $stopped_at"; fi
  rm -rf "${scratch:?}/$1"
}

# goes_on_from_last NAME RANKS: from the last checkpoint that it published; a save that was under way is cleaned away
goes_on_from_last() {
  local last
  last=$(find "$scratch/$1" -maxdepth 1 -name 'checkpoint-*' | sed 's/.*checkpoint-0*//' | sort -n | tail -n 1)
  go_on "$1" "$2"
  if [ "$resumed_at" = "${last:-0}" ]; then pass "$1: goes on from $resumed_at"; else flunk "$1: goes on from $resumed_at, not ${last:-0}"; fi
  nothing_left "$1"
}

# asked SIGNAL RANK PLACE STEP RANKS THEN STEP_AFTER...: a rank (or *: all) gets a signal at that place of that step
asked() {
  local signal=$1 rank=$2 place=$3 step=$4 ranks=$5 then=$6 name
  shift 6
  name=$signal-$place-${rank/\*/all}-of-$ranks
  suffer "$name" "$ranks" "$rank:$step:signal=${number[$signal]}:$place"
  stopped "$name" "$@"
  goes_on "$name" "$then"
}

# told TARGET SIGNAL PLACE STEP TIMES STEP_AFTER...
told() {
  local name=$1-$2-$3-$5
  outside "$name" "${@:1:5}"
  shift 5
  stopped "$name" "$@"
  goes_on "$name" 1
}

# ---- one rank, all ranks ----
asked USR1 1 init 0 2 1 0
asked TERM 0 data 0 2 2 0
asked INT '*' load 0 2 1 0
record "12" "T20" before_training "asked before MPI_Init, while reading data or loading: a checkpoint of step 0, 85, same bytes" "init, data, load: 85 at step 0"
asked USR2 1 exchange 3 2 1 4 # after the vote of the step
asked USR1 '*' step 3 2 3 3
asked TERM 0 gradient 7 1 2 7
record "12" "T20" in_a_step "asked in a step, by one rank or all: stopped after it, or after the next one if its vote is over; 85, same bytes" "step 3, 7: after it; exchange of 3: after 4"
asked HUP 0 vote 6 2 2 7
asked TERM 1 evaluation 4 2 1 4
asked USR1 0 score 0 1 1 4
asked INT 0 save 5 2 1 5 6
record "12" "T20" between_steps "asked in the vote, an evaluation, a save: stopped at the next boundary, 85, same bytes" "vote of 6: after 7, evaluation after 4: 4, save of 5: $stopped_at"

# A request that comes when nothing is left to be stopped changes nothing.
suffer at-the-end 2 "1:$steps:signal=15:end"
exits at-the-end 0 85
go_on at-the-end 1
record "12" "T20" at_the_end "asked when the last step is done: done, or stopped with a checkpoint of it" "exit status $status"

# ---- twice ----
suffer twice 2 '*:5:signal=15:step,*:5:signal=10:exchange'
stopped twice 5
goes_on twice 1
suffer interrupts 2 '*:7:signal=2:step,*:7:signal=15:gradient,*:7:signal=2:exchange'
exits interrupts 75
expect_line "interrupts: said" 'interrupted twice: leaving at once; the last checkpoint is intact'
goes_on_from_last interrupts 2
record "12" "T20" twice "a second request changes nothing, a second INT leaves at once with 75, the last checkpoint is intact" "85 at step 5; 75, on from $resumed_at"

# ---- a resumed run that is not there yet ----
suffer early 2 "0:3:signal=10:step"
stopped early 3
suffer early 2 "1:0:signal=15:data"
exits early 85
expect_line "early: where it stops" 'SIGTERM: stopped before the first step of this start; .*checkpoint-00000003 is verified'
if grep -q '^base ' "$scratch/err"; then flunk "early: loaded the model all the same"; else pass "early: loads nothing"; fi
goes_on early 2
record "12" "T20" resumed_early "a resumed run that is asked before it has begun: stops at once, its checkpoint as it was" "85 before loading"

# ---- mpirun and the launcher ----
told mpirun USR1 step 6 1 6
told mpirun USR2 init 0 1 0
told run TERM exchange 6 1 7
told run INT init 0 1 0
told run HUP evaluation 4 2 4
record "12" "T20" outside "USR1 to mpirun, any request to qlora run: stopped after the step, 85, same bytes" "mpirun: step 6, init; launcher: exchange of 6: after 7, init, evaluation"
linger=sleep=1 outside launcher-twice run INT step 7 2
exits launcher_twice 75
within "launcher_twice: down" "$down" 1
goes_on_from_last launcher-twice 2
record "12" "T20" launcher_twice "INT twice to qlora run: gone at once, 75, goes on from the last checkpoint" "down in $down s, on from $resumed_at"

# As Open MPI is by itself: a second from the request to TERM, one more to KILL.
unset OMPI_MCA_odls_base_sigkill_timeout
figures=()
for signal in TERM INT; do
  name=mpirun-$signal
  linger=sleep=1.2 outside "$name" mpirun "$signal" step 7 # TERM comes while it lingers, KILL soon after
  if [ "$status" = 0 ]; then flunk "$name: a success"; else pass "$name: exit status $status"; fi
  within "$name: down" "$down" 3
  goes_on_from_last "$name" 1
  figures+=("$signal: down in $down s, on from step $resumed_at")
done
record "11" "T20" mpirun_asked "TERM or INT to mpirun in step 7: at most the steps since the checkpoint of 5 are lost, same bytes" "${figures[0]}; ${figures[1]}"
export OMPI_MCA_odls_base_sigkill_timeout=0

# ---- under nohup ----
as_job "$faulty" 1 nohup
QLORA_FAULT=0:3:signal=1:step run_bounded sh -c 'trap "" HUP; exec "$@"' sh "${job[@]}"
exits nohup 0
expect_line "nohup: HUP came" '^hook: rank 0, step 3, step: signal'
record "12" "T20" nohup "HUP where it is ignored, as under nohup: the run goes on" "exit status $status"

# ---- everything ----
if [ "$all" = all ]; then
  # 5 signals x 3 choices of ranks x 11 places, and with mpirun and the launcher in between.
  for signal in HUP INT USR1 USR2 TERM; do
    for rank in 0 1 '*'; do
      for place in init data load; do asked "$signal" "$rank" "$place" 0 2 1 0; done
      for place in step gradient loss; do asked "$signal" "$rank" "$place" 3 2 1 3; done
      for place in vote exchange; do asked "$signal" "$rank" "$place" 3 2 1 4; done
      asked "$signal" "$rank" evaluation 4 2 3 4
      asked "$signal" "$rank" score 0 2 1 4
      asked "$signal" "$rank" save 5 2 1 5 6
    done
    for times in 1 2; do
      [ "$signal" = INT ] && [ "$times" = 2 ] && continue
      for place in init data load; do told run "$signal" "$place" 0 "$times" 0; done
      told run "$signal" step 6 "$times" 6
      told run "$signal" exchange 6 "$times" 7
      told run "$signal" vote 6 "$times" 6 7 # the other rank may not have voted yet
      told run "$signal" evaluation 4 "$times" 4
      told run "$signal" save 5 "$times" 5 6
    done
  done
  for signal in USR1 USR2; do
    for times in 1 2; do
      for place in init data load; do told mpirun "$signal" "$place" 0 "$times" 0; done
      told mpirun "$signal" step 6 "$times" 6
      told mpirun "$signal" exchange 6 "$times" 7
      told mpirun "$signal" vote 6 "$times" 6 7
      told mpirun "$signal" save 5 "$times" 5 6
    done
  done
fi
finish
