#!/usr/bin/env bash
# Any process of a run under qlora run, the launcher and mpirun among them, is killed, crashed, stopped or asked to stop, at random moments; whoever is left must
# go on or end with a status of ours, nobody may be left, and the same command in the end makes the bytes of an undisturbed run.
#   launched.sh BIN_FOLDER BLOWS SEED
# shellcheck source=tests/faults/harness.sh
. "$(dirname "$0")/harness.sh" "$1"
blows=${2:-20}
RANDOM=${3:-1}
steps=300
common+=(max_steps="$steps" save_steps=4)
export QLORA_STEP_TIMEOUT=10
undisturbed
given=0 launches=0 status=1
signals=(KILL KILL SEGV STOP TERM INT USR1 HUP)

# strike LAUNCHER: one of its processes, at a moment that comes
strike() {
  local all victim signal
  sleep "$((RANDOM % 3)).$((RANDOM % 10))"
  mapfile -t all < <(survivors)
  [ "${#all[@]}" -gt 0 ] || return 0
  victim=${all[RANDOM % ${#all[@]}]}
  signal=${signals[RANDOM % ${#signals[@]}]}
  # Nobody watches the launcher but the shell that started it.
  if [ "$signal" = STOP ] && [ "$victim" = "$1" ]; then return 0; fi
  kill -s "$signal" "$victim" 2>/dev/null && given=$((given + 1)) && story+=" $signal"
}

while [ "$status" != 0 ] && [ "$launches" -lt $((blows + 20)) ]; do
  launches=$((launches + 1))
  ranks=$((1 + RANDOM % 3))
  run_id=$scratch/launch.$launches
  story="launch $launches on $ranks ranks:"
  QLORA_RUN_ID=$run_id "$bin/qlora" run -n "$ranks" --threads 1 examples/demo.yaml "${common[@]}" output_dir="$scratch/launched" >"$scratch/out" 2>"$scratch/err" </dev/null &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    if [ "$given" -lt "$blows" ]; then strike "$pid"; else sleep 0.2; fi
  done
  wait "$pid" 2>/dev/null
  status=$?
  wait_for_all
  # 129 to 143: what hit the launcher itself
  case $status in
    0 | 75 | 85 | 129 | 13[0-9]) pass "$story: $status" ;;
    *) flunk "$story: exit status $status: $(tail -n 2 "$scratch/err")" ;;
  esac
  if [ -n "$(survivors)" ]; then flunk "$story: left: $(survivors | tr '\n' ' ')" && survivors | xargs -r kill -KILL; fi
done
exits launched 0
if [ "$(digest launched)" = "$wanted" ]; then pass "launched: same bytes"; else flunk "launched: other bytes"; fi
record "1 5 9 10 12" "T9" at_random "any process of qlora run hit at random: nobody is left, a status of ours, same bytes in the end" "$given blows, $launches launches"
finish
