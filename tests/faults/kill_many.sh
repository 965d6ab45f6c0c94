#!/usr/bin/env bash
# Kills at random moments: a rank, all of them or mpirun, of runs that save after every step, in any phase of their life. After each the newest
# checkpoints must be there and verify; the same command goes on; each run ends as an undisturbed one does.
#   kill_many.sh BIN_FOLDER KILLS SEED
# shellcheck source=tests/determinism/runs.sh
. "$(dirname "$0")/../determinism/runs.sh" "$1"
# shellcheck source=tests/faults/record.sh
. "$(dirname "$0")/record.sh"
wanted_kills=$2
seed_with "$3"
find_processors
program=${QL_WORKER:-$worker}
usual_steps=80
limit=3
flavour few-rows
keys+=(save_total_limit="$limit" "target_modules=[q_proj]")
compared=$limit # killed after the last one was published, nobody removes older ones any more
undisturbed few-rows
out=$scratch/run

# newest: the step of the newest checkpoint, in `newest`; 0: none
find_newest() {
  newest=$("$worker" --do checkpoints "$out" | head -n 1 | cut -d' ' -f1)
  newest=${newest:-0}
}

# strike KIND: at the run in the background
strike() {
  find_workers "$pid"
  if [ "${#workers[@]}" = 0 ] || [ "$1" = launcher ]; then
    kill -KILL "$pid"
  elif [ "$1" = all ]; then
    kill -KILL "${workers[@]}"
  else
    pick "${workers[@]}"
    kill -KILL "$picked"
  fi
}

# wait_for_lines: until the run in the background has begun to train, however long its start takes here.
wait_for_lines() {
  while kill -0 "$pid" 2>/dev/null && ! [ "$out/metrics.jsonl" -nt "$scratch/launched" ]; do sleep 0.02; done
}

# one_kill: starts the run, or goes on with it, and kills it within a second and a half, of the start or of training; how it ended in `died`
one_kill() {
  local moment
  pick 1 1 2 2 3
  the_way "$picked" 1 "${processors[-1]}"
  pick "kill" all launcher && ending=$picked
  roll 1500 && moment=$(printf '%d.%03d' $((rolled / 1000)) $((rolled % 1000)))
  : >"$scratch/launched"
  launch "$out"
  roll 3
  [ "$rolled" = 0 ] || wait_for_lines
  sleep "$moment"
  strike "$ending" 2>/dev/null
  await 2>/dev/null
  died=$?
}

kills=0 lost=0 runs=0 in_save=0 in_start=0 published=0
while [ "$kills" -lt "$wanted_kills" ]; do
  one_kill
  if [ "$died" = 0 ]; then
    same_as few-rows "$out" "run $runs, after $kills kills in all"
    runs=$((runs + 1)) published=0
    continue
  fi
  kills=$((kills + 1))
  [ "$died" -gt 128 ] || [ "$ranks" -gt 1 ] || flunk "kill $kills: exit status $died: $(tail -n 2 "$log")"
  find_newest
  compgen -G "$out/.tmp-checkpoint-*" >/dev/null && in_save=$((in_save + 1))
  [ "$newest" -gt "$published" ] || in_start=$((in_start + 1))
  if [ "$newest" -lt "$published" ] || ! checkpoints_are_there "$out" "$newest" "$limit"; then
    lost=$((lost + 1))
    flunk "kill $kills ($ending, $way): step $published was published; there are: $("$worker" --do checkpoints "$out" | tr '\n' ',')"
  fi
  published=$newest
done
the_way 2 1 "${processors[-1]}"
run "$out" || flunk "the last run: $(tail -n 2 "$log")"
same_as few-rows "$out" "run $runs, after $kills kills in all"
pass "$kills kills in $((runs + 1)) runs: $in_save with an unfinished save left, $in_start before the first of a start, $stuck after which mpirun had to be killed; $lost checkpoints lost; $SECONDS s"
record "1 19" "T2" kill_many "killed at any moment: no checkpoint lost, the same bytes" "$kills kills in $((runs + 1)) runs, $in_save with an unfinished save left; $lost checkpoints lost"
finish
