#!/usr/bin/env bash
# Runs to which one thing happens after the other, by chance: killed, asked to stop, stopped for good, a disk that fails or is full, the newest
# checkpoint damaged; each time they go on in another way (ranks, threads, rows, memory, instructions). No checkpoint may be lost, and each run must
# end as an undisturbed one does. Takes one core.
#   soak.sh BIN_FOLDER [MINUTES [SEED]]
# shellcheck source=tests/determinism/runs.sh
. "$(dirname "$0")/../determinism/runs.sh" "$1"
# shellcheck source=tests/faults/record.sh
. "$(dirname "$0")/record.sh"
until_second=$((${2:-1} * 60))
seed_with "${3:-1}"
find_processors
taskset -pc "$(taskset -pc $$ | grep -oE '[0-9]+$')" $$ >/dev/null # other tests run beside it
limit=3
out=$scratch/run
happened=()

# ---- what happens: each takes the step in which it shall ----

# A signal to a rank, to all or to mpirun, in a step.
ended() {
  pick "${endings[@]}" && happened+=("$picked")
  break_off "$out" "$picked" "$1"
}

# A rank stands still: the others, and its own watchdog when it wakes, end the run.
stopped() {
  local victim
  roll "$ranks" && victim=$rolled
  [ "$ranks" -gt 1 ] || return 0
  happened+=(stop)
  story+=" rank $victim stops in step $1 of $way;"
  way_keys+=(step_timeout=2)
  run "$out" QLORA_FAULT="$victim:$1:stop" 2>/dev/null
  expect_end 75
}

# SIGKILL at any moment, of a start as well as of a step or a save.
killed() {
  local moment
  roll 1500 && moment=$(printf '%d.%03d' $((rolled / 1000)) $((rolled % 1000)))
  happened+=(moment)
  story+=" killed after $moment s of $way;"
  launch "$out"
  sleep "$moment"
  find_workers "$pid"
  [ "${#workers[@]}" -gt 0 ] || workers=("$pid")
  pick "${workers[@]}"
  kill -KILL "$picked" 2>/dev/null
  await 2>/dev/null
}

# From some call on, or in one, the disk does not do what it should.
disk() {
  local fault call
  pick enospc edquot erofs eio fsync dead && fault=$picked
  roll 700 && call=$((rolled + 1))
  happened+=("$fault")
  disk_failed=yes
  story+=" $fault from call $call of $way;"
  run "$out" QL_SHIM_DOES="$fault" QL_SHIM_AT="$call" QL_SHIM_UNDER="$out" QL_SHIM_RANK=0 2>/dev/null
  expect_end 0 74
}

# expect_end STATUS...: how the last command may have ended
expect_end() {
  local got=$? wanted
  for wanted in "$@"; do
    [ "$got" != "$wanted" ] || return 0
  done
  flunk "$story exit status $got instead of $*: $(grep -m 2 "error:" "$log" || tail -n 2 "$log")"
}

# The newest checkpoint is spoilt, if there is another good one.
damaged() {
  local folder file
  [ "$(good_checkpoints | wc -l)" -ge 2 ] || return 0
  folder=$out/checkpoint-$(printf '%08d' "$(good_checkpoints | head -n 1)")
  pick state.h5 MANIFEST.json adapter_model.safetensors adapter_config.json && file=$folder/$picked
  pick cut flip remove empty && happened+=("$picked")
  case $picked in
    cut) truncate -s -1 "$file" ;;
    flip) printf 'x' | dd of="$file" bs=1 seek=40 conv=notrunc 2>/dev/null ;;
    remove) rm "$file" ;;
    empty) rm "$folder"/* ;;
  esac
  story+=" $picked ${file#"$out"/};"
  newest=$(good_checkpoints | head -n 1)
}

# ---- what must be true ----

good_checkpoints() {
  "$worker" --do checkpoints "$out" 2>/dev/null | sed -n 's/ good$//p'
}

# The newest good checkpoint never gets older.
nothing_is_lost() {
  local now
  now=$(good_checkpoints | head -n 1)
  if [ "${now:-0}" -lt "$newest" ]; then flunk "$story step $newest was published, the newest good one is ${now:-none}" && lost=$((lost + 1)); fi
  newest=${now:-0}
}

# How it ended: lines, newest checkpoint, adapter. A disk that failed may have cost lines.
end_of() {
  facts "$1" | grep '"event"'
  cat "$1/checkpoint-000000$steps/MANIFEST.json"
  digest "$1"
}

# round FLAVOUR
round() {
  local pieces step=0
  story="$1:" newest=0 disk_failed=no
  flavour "$1"
  keys+=(save_total_limit="$limit")
  rm -rf "$out"
  roll 5 && pieces=$((rolled + 2))
  for (( ; pieces > 0 && step < steps; pieces--)); do
    any_way
    roll $((steps - newest)) && step=$((newest + 1 + rolled))
    pick ended ended stopped killed disk disk damaged
    "$picked" "$step"
    nothing_is_lost
    step=$newest
  done
  any_way
  run "$out" || flunk "$story then $way: $(grep -m 2 "error:" "$log" || tail -n 2 "$log")"
  check_end "$1"
}

# What the undisturbed run came to. A disk that failed may have cost lines of steps, nothing else.
check_end() {
  local difference
  difference=$(end_of "$out" 2>&1 | diff "$scratch/$1.end" - | grep '^[<>]')
  [ "$disk_failed" = no ] || difference=$(grep -v '^< {"event": "step"' <<<"$difference")
  if [ -z "$difference" ]; then pass "$story then $way"; else flunk "$story then $way: $(head -n 4 <<<"$difference" | cut -c 1-200)"; fi
}

for name in "${flavours[@]}"; do
  flavour "$name"
  keys+=(save_total_limit="$limit")
  undisturbed "$name"
  end_of "$scratch/$name" >"$scratch/$name.end"
done
rounds=0 lost=0
while [ "$SECONDS" -lt "$until_second" ] || [ "$rounds" -lt 3 ]; do
  round "${flavours[rounds % ${#flavours[@]}]}"
  rounds=$((rounds + 1))
done
told=$(printf '%s\n' "${happened[@]}" | sort | uniq -c | awk '{printf "%s%s %s", (NR == 1 ? "" : ", "), $1, $2}')
pass "$rounds runs, ${#happened[@]} faults ($told): $lost checkpoints lost; $SECONDS s"
record "" "T47" soak "whatever happens in a row, on whatever ranks it goes on: no checkpoint lost, the same bytes" "$rounds runs, ${#happened[@]} faults in $((SECONDS / 60)) min; $lost checkpoints lost"
finish
