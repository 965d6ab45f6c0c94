#!/usr/bin/env bash
# Checkpoints beside the training: who may publish them, what they are worth when they are damaged or another run's, and what
# a disk that is slow does to the steps.
#   saving.sh BIN_FOLDER
# shellcheck source=tests/faults/harness.sh
. "$(dirname "$0")/harness.sh" "$1" "${2:-}"

checkpoints() { # NAME: the steps that are there
  find "$scratch/$1" -maxdepth 1 -name 'checkpoint-[0-9]*' | sed 's/.*checkpoint-0*//' | grep -v set-aside | sort -n | paste -sd' '
}

# holds NAME STEPS: exactly these checkpoints
holds() {
  if [ "$(checkpoints "$1")" = "$2" ]; then pass "$1: checkpoints $2"; else flunk "$1: checkpoints '$(checkpoints "$1")' instead of '$2'"; fi
}

all_digests() { # NAME: of everything that a run reads
  (cd "$scratch/$1" && find . -type f ! -name run.log ! -path './run/*' -exec sha256sum {} + | sort -k2)
}

# ---- row 15: a run that was cut off lives on ----
# Stopped as a whole, without locks that would keep a second one out; the second comes to its end, then the first goes on.
undisturbed
as_job "$faulty" 2 replaced
rm -f "$scratch/mark"
QL_SHIM_LOCKS=enolck QLORA_FAULT=0:15:stop:step QLORA_FAULT_MARK=$scratch/mark QLORA_RUN_ID=$scratch/old timeout -k 5 "$bound" "${job[@]}" \
  step_timeout=600 >"$scratch/out.old" 2>"$scratch/err.old" &
old=$!
until [ -s "$scratch/mark" ] || ! kill -0 "$old" 2>/dev/null; do sleep 0.05; done
stopped=$(grep -lsz -- "^QLORA_RUN_ID=$scratch/old\$" /proc/[0-9]*/environ | grep -o '[0-9]*' | while read -r pid; do
  grep -q '^State:.*stopped' "/proc/$pid/status" 2>/dev/null && echo "$pid"
done)
QL_SHIM_LOCKS=enolck suffer replaced 2 ""
exits replaced 0
expect_line "replaced: the second run goes on" 'resumed: .*checkpoint-00000010'
before=$(all_digests replaced)
awake=$(now)
for pid in $stopped; do kill -CONT "$pid"; done
wait "$old"
status=$?
seconds=$(calc "$(now) - $awake")
cp "$scratch/err.old" "$scratch/err"
exits "replaced: the first run" 75
expect_line "replaced: says by whom" 'qlora: error: .*another start \(generation 2, host .*, process [0-9]+\) has taken over .*replaced; this one is generation 1'
within "replaced: ends" "$seconds" 3
if [ "$(digest replaced)" = "$wanted" ]; then pass "replaced: the bytes of an undisturbed run"; else flunk "replaced: other bytes"; fi
if diff <(echo "$before" | grep -v metrics) <(all_digests replaced | grep -v metrics) >/dev/null; then
  pass "replaced: nothing of the second run has changed"
else
  flunk "replaced: the first run has changed files"
fi
lines=$(($(grep -c '"event": "step"' "$scratch/replaced/metrics.jsonl") - steps))
if [ "$lines" -le 1 ]; then pass "replaced: $lines lines too many in metrics.jsonl"; else flunk "replaced: $lines lines too many in metrics.jsonl"; fi
run_id=$scratch/old
nothing_left replaced
record "15" "T37" replaced "a stopped run is started a second time on a file system without locks, then goes on: it publishes nothing and ends; the second has resumed and ended well" "exit status $status after $seconds s"

# ---- row 22: another run's checkpoints ----
suffer stale 1 "" learning_rate=1e-3
exits stale 0
before=$(all_digests stale)
suffer stale 1 ""
exits "stale: another learning rate" 64
expect_line "stale: says what differs" 'qlora: error: .*learning_rate is "0.001" in the checkpoint and "0.005" now'
if [ "$before" = "$(all_digests stale)" ]; then pass "stale: nothing has changed"; else flunk "stale: a refused run has changed something"; fi
suffer stale 1 "" resume_from_checkpoint=false
exits "stale: started anew" 0
if [ "$(digest stale)" = "$wanted" ]; then pass "stale: the bytes of an undisturbed run"; else flunk "stale: other bytes"; fi
if [ -e "$scratch/stale/checkpoint-00000040.set-aside-1/state.h5" ]; then pass "stale: set aside"; else flunk "stale: the old checkpoint is gone"; fi
record "22" "" stale "checkpoints of another learning rate: refused by name, or set aside on demand, never deleted" "exit status 64"
# One that came further, in a folder where this run goes on from its own older one by name.
rm -rf "$scratch/stale"/checkpoint-*.set-aside-1
cp -a "$scratch/stale/checkpoint-00000030" "$scratch/kept"
suffer further 1 "" max_steps=60
rm -rf "$scratch/further/run" "$scratch/further/checkpoint-00000050"
suffer further 1 "" resume_from_checkpoint="$scratch/kept"
exits further 0
holds further "30 40 60"
if [ "$(digest further)" = "$wanted" ]; then pass "further: the bytes of an undisturbed run"; else flunk "further: other bytes"; fi
record "22" "T31" further "a stale checkpoint with a higher step beside this run's: pruning leaves it alone" "checkpoints $(checkpoints further)"

# ---- row 21: the newest is damaged ----
suffer whole 1 ""
flip() { # FILE: one bit in the middle
  local at=$(($(stat -c %s "$1") / 2)) byte
  byte=$(od -An -tu1 -j "$at" -N 1 "$1")
  # shellcheck disable=SC2059
  printf "$(printf '\\%03o' $((byte ^ 16)))" | dd of="$1" bs=1 seek="$at" conv=notrunc status=none
}
cut_off() { truncate -s -20 "$1"; }
ways=0
for file in state.h5 adapter_model.safetensors adapter_config.json MANIFEST.json; do
  for damage in flip cut_off rm; do
    name=$damage-$file
    cp -a "$scratch/whole" "$scratch/$name"
    rm "$scratch/$name/run/DONE-40"
    "$damage" "$scratch/$name/checkpoint-00000040/$file"
    go_on "$name" 1 >"$scratch/said"
    grep FAILED "$scratch/said"
    checks=$((checks + 3)) failures=$((failures + $(grep -c FAILED "$scratch/said")))
    if [ "$resumed_at" = 30 ]; then pass "$name: goes on from step 30"; else flunk "$name: goes on from step $resumed_at"; fi
    expect_line "$name: says why" "qlora: warning: checkpoint of step 40 is skipped: .*$file"
    ways=$((ways + 1))
    rm -rf "${scratch:?}/$name"
  done
done
cp -a "$scratch/whole" "$scratch/none"
for step in 30 40; do flip "$scratch/none/checkpoint-000000$step/state.h5"; done
suffer none 1 ""
exits "no good one" 65
expect_line "no good one: never from zero in silence" 'qlora: error: .*holds checkpoints, but no good one'
record "21" "T30" damaged "each file of the newest flipped, cut and missing: named, the one before is taken; no good one at all: 65" "$ways ways, exit status $status"

# ---- rows 20 and 18: in which order things get to the disk ----
rm -rf "$scratch/calls"
QL_SHIM_LOG=$scratch/calls QL_SHIM_UNDER=$scratch/order suffer order 1 "" save_total_limit=1
exits order 0
# For each checkpoint: every file is synced after its last write, then the folder, then renamed, then the output folder synced,
# and only then an older one goes.
awk -v out="$scratch/order" '
  { call = $2; path = $3 }
  call ~ /write|fallocate|ftruncate/ { dirty[path] = 1 }
  call == "fsync" { delete dirty[path]; if (path ~ /\.tmp-checkpoint-[^\/]*$/) folder = path; if (path == out) { synced[published] = 1 } }
  call == "rename" && path ~ /\.tmp-checkpoint-.*\// { folder = "" }
  call == "rename" && path ~ /\/checkpoint-[0-9]*$/ {
    for (file in dirty) if (file ~ /\.tmp-checkpoint-/) { print "not synced when published: " file; bad = 1 }
    if (folder == "") { print "its folder was not synced: " path; bad = 1 }
    published = path; n++
  }
  call == "rename" && path ~ /-gone-/ && !synced[published] { print "an older one goes before " published " is durable"; bad = 1 }
  END { if (n < 4) { print n " checkpoints only"; bad = 1 } exit bad }' "$scratch/calls" >"$scratch/said"
if [ $? = 0 ]; then pass "order: all is durable before the name is, and the name before an older one goes"; else flunk "order: $(head -n 3 "$scratch/said")"; fi
record "20" "" order "the system calls of four saves: each file, the folder and the name are synced in that order, and older ones go last" "$(wc -l <"$scratch/calls") calls"

rm -f "$scratch/calls"
QL_SHIM_LOG=$scratch/calls QL_SHIM_DOES=fsync QL_SHIM_AT=1 QL_SHIM_UNDER=$scratch/fsync_once/.tmp suffer fsync_once 1 ""
again=$(sed -n 's/^[0-9]* fsync //p' "$scratch/calls" | sort | uniq -d | head -n 1)
rm -rf "$scratch/fsync_once"
# (the folder of a save differs in name from that of the next, so that what is there twice was tried twice)
if [ -z "$again" ]; then pass "fsync_once: nothing is synced again after it failed"; else flunk "fsync_once: $again is synced again after it failed"; fi
record "18" "T34" fsync_once "a file whose fsync has failed is given up and never synced again" "$(grep -c ' fsync ' "$scratch/calls") failed, each another file"

# ---- row 23: a slow disk, and what happens meanwhile ----
QL_SHIM_SECONDS=0.02 suffer aside 2 0:9:slow step_timeout=120
exits aside 0
if [ "$(digest aside)" = "$wanted" ]; then pass "aside: same bytes"; else flunk "aside: other bytes"; fi
# The line of the save of step 10 comes when it is done; how many steps were done before that?
meanwhile=$(sed '/"event": "save", "step": 10,/q' "$scratch/aside/metrics.jsonl" | sed -n 's/.*"event": "step", "step": \([0-9]*\),.*/\1/p' | tail -n 1)
if [ "${meanwhile:-0}" -gt 12 ]; then pass "aside: step $meanwhile was done before the save of step 10 was"; else flunk "aside: steps wait for the save: only ${meanwhile:-none} was done"; fi
stall=$(sed -n 's/.*"event": "save", "step": 10,.*"stall_seconds": \([0-9.e-]*\).*/\1/p' "$scratch/aside/metrics.jsonl")
stall=$(awk "BEGIN {printf \"%.4f\", ${stall:-99}}")
within "aside: the step stands still" "$stall" 0.1
nothing_left aside
record "23" "T32" aside "writes that take 20 ms longer: training goes on beside the save, the end waits for it" "$((meanwhile - 10)) steps beside the first save, stalled $stall s"

# Asked to stop in the middle of a save: that one is finished, and the step of the stop is saved as well.
QL_SHIM_SECONDS=0.005 suffer stopped 2 0:9:slow,1:13:signal=15:vote step_timeout=120
exits stopped 85
holds stopped "10 13"
go_on stopped 2
if [ "$resumed_at" = 13 ]; then pass "stopped: goes on from step 13"; else flunk "stopped: goes on from step $resumed_at"; fi
record "12" "T20" stopped_in_save "TERM while a save is under way: both it and the step of the stop are saved, 85" "exit status 85, checkpoints 10 13"

# Asked to stop on a full disk: no promise that is not kept.
suffer stop_full 2 0:20:enospc:save,1:22:signal=15:vote
exits stop_full 74
holds stop_full 10
go_on stop_full 2
record "17" "" stop_full "TERM on a full disk: 74 and not 85, the old checkpoint is intact, goes on from it" "exit status 74, went on from step $resumed_at"

# ---- row 33: who has drifted ----
suffer most 4 2:15:drift:step
exits most 75
expect_line "most: the one of four is named" 'qlora: error: .*after step 20 adapter and moments of rank 2 are not those of rank 0'
suffer first 3 0:15:drift:step
exits first 75
expect_line "first: rank 0 can be the one" 'qlora: error: .*after step 20 adapter and moments of rank 0 are not those of most ranks'
holds first 10
record "33" "T28" who "a bit changes on rank 2 of 4, on rank 0 of 3: that rank is named on all ranks, nothing published" "exit status $status"
finish
