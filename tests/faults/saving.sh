#!/usr/bin/env bash
# Checkpoints beside the training: what a slow disk does to the steps, requests to stop in the middle of a save, and ranks that have drifted apart.
#   saving.sh BIN_FOLDER
# shellcheck source=tests/faults/harness.sh
. "$(dirname "$0")/harness.sh" "$1" "${2:-}"
unset QLORA_SAVE_PATIENCE

checkpoints() { # NAME: the steps that are there
  find "$scratch/$1" -maxdepth 1 -name 'checkpoint-[0-9]*' | sed 's/.*checkpoint-0*//' | grep -v set-aside | sort -n | paste -sd' '
}

# holds NAME STEPS: exactly these checkpoints
holds() {
  if [ "$(checkpoints "$1")" = "$2" ]; then pass "$1: checkpoints $2"; else flunk "$1: checkpoints '$(checkpoints "$1")' instead of '$2'"; fi
}

undisturbed

# ---- row 18: what cannot be made durable ----
QL_SHIM_LOG=$scratch/calls suffer fsync_once 1 0:10:fsync:save
exits fsync_once 74
failed=$(sed -n 's/^[0-9]* fsync \(.*\.tmp-checkpoint.*\)/\1/p' "$scratch/calls")
# The folder of a save differs in its name from that of the next, so that what is there twice was tried twice.
if [ "$(wc -l <<<"$failed")" = 3 ] && [ "$(sort -u <<<"$failed" | wc -l)" = 3 ]; then
  pass "fsync_once: each of three saves gives up at its first file"
else
  flunk "fsync_once: synced again after it failed: $(sort <<<"$failed" | uniq -d | head -n 1)"
fi
record "18" "T34" fsync_once "a file whose fsync has failed is given up and never synced again; after three saves 74" "exit status $status, $(wc -l <<<"$failed") calls of fsync"

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
at=$(sed -n 's/.*SIGTERM: stopped after step \([0-9]*\) of .*/\1/p' "$scratch/err" | head -n 1)
if [ "${at:-0}" -ge 13 ] && [ "$at" -le 14 ]; then pass "stopped: after step $at"; else flunk "stopped: asked in step 13, stopped after step ${at:-none}"; fi
holds stopped "10 $at"
go_on stopped 2
if [ "$resumed_at" = "$at" ]; then pass "stopped: goes on from there"; else flunk "stopped: goes on from step $resumed_at"; fi
record "12" "T20" stopped_in_save "TERM while a save is under way: both it and the step of the stop are saved, 85" "exit status 85, checkpoints 10 $at"

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
