#!/usr/bin/env bash
# Checkpoints that lie there: damaged ones are named and passed over, those of other runs are neither taken nor deleted, and a save is on the disk
# before it has its name.
#   stored.sh BIN_FOLDER [all]
# shellcheck source=tests/faults/harness.sh
. "$(dirname "$0")/harness.sh" "$1" "${2:-}"

newest=checkpoint-00000030 before=checkpoint-00000020
undisturbed
suffer whole 2 0:33:saved=30,0:33:kill:step
[ -d "$scratch/whole/$newest" ] && [ -d "$scratch/whole/$before" ] || flunk "there are no two checkpoints"

flip() { # FILE: one bit, in its middle
  local middle byte
  middle=$(($(stat -c %s "$1") / 2))
  byte=$(od -An -tu1 -j "$middle" -N 1 "$1")
  # shellcheck disable=SC2059
  printf "\\x$(printf %x $((byte ^ 4)))" | dd of="$1" bs=1 seek="$middle" conv=notrunc 2>/dev/null
}
cut_short() { truncate -s -100 "$1"; }
to_nothing() { : >"$1"; }
missing() { rm -rf "$1"; }
empty_folder() { rm -rf "${1:?}"/*; }
a_file() { rm -rf "$1" && echo text >"$1"; }

# damaged DAMAGE [FILE]: of the newest checkpoint; the one before is taken, and the reason said
ways=0
damaged() {
  local name=$1-${2:-itself}
  cp -r "$scratch/whole" "$scratch/$name"
  "$1" "$scratch/$name/$newest${2:+/$2}"
  go_on "$name" 1
  if [ "$resumed_at" = 20 ]; then pass "$name: goes on from step 20"; else flunk "$name: goes on from step $resumed_at"; fi
  expect_line "$name: says why" "qlora: warning: .*$newest"
  rm -rf "${scratch:?}/$name"
  ways=$((ways + 1))
}
files=(state.h5 MANIFEST.json adapter_model.safetensors adapter_config.json)
if [ "$all" = all ]; then
  for file in "${files[@]}"; do
    for damage in flip cut_short to_nothing missing; do damaged "$damage" "$file"; done
  done
else
  damaged flip state.h5
  damaged flip MANIFEST.json
  damaged flip adapter_model.safetensors
  damaged cut_short state.h5
  damaged to_nothing MANIFEST.json
  damaged missing adapter_config.json
fi
damaged empty_folder
damaged a_file
record "21" "T30" damaged "the newest checkpoint has a wrong bit in any file, is cut, empty, incomplete, or is a file: named, and the one before is taken; same bytes" "$ways ways, each on from step 20"

# Nothing is left: never from zero in silence.
cp -r "$scratch/whole" "$scratch/all-bad"
for file in "$scratch"/all-bad/checkpoint-*/state.h5; do flip "$file"; done
as_job "$worker" 1 all-bad
run_bounded "${job[@]}"
exits all_bad 65
expect_line "all_bad: says so" 'qlora: error: .*checkpoint'
record "21" "T30" all_bad "all checkpoints are damaged: refused, the run does not begin anew in silence" "exit status $status"

# ---- of other runs ----
# A higher step by another configuration lies in the folder, and the newest name is its.
as_job "$worker" 1 other learning_rate=1e-3 max_steps=50
run_bounded "${job[@]}"
cp -r "$scratch/whole" "$scratch/stale"
cp -r "$scratch/other/checkpoint-00000050" "$scratch/stale/"
as_job "$worker" 1 stale
run_bounded "${job[@]}"
exits stale 64 65
expect_line "stale: the difference is named" 'qlora: error: .*checkpoint-00000050.*(learning_rate|steps)'
if [ -d "$scratch/stale/checkpoint-00000050" ] && [ -d "$scratch/stale/$newest" ] && [ -d "$scratch/stale/$before" ]; then
  pass "stale: nothing was deleted"
else
  flunk "stale: something was deleted"
fi
record "22" "" stale "a checkpoint of another run with a higher step: refused, the difference is named, nothing is deleted" "exit status $status"

# ---- pruning ----
cp -r "$scratch/whole" "$scratch/pruned"
mkdir "$scratch/pruned/checkpoint-mine" "$scratch/pruned/checkpoint-7" "$scratch/pruned/checkpoint-00000005.old" "$scratch/beside"
echo text >"$scratch/beside/file"
ln -s "$scratch/beside" "$scratch/pruned/checkpoints"
echo text >"$scratch/pruned/checkpoint-00000002"
go_on pruned 2
here=$(find "$scratch/pruned" -maxdepth 1 -name 'checkpoint-*' -printf '%f\n' | sort | tr '\n' ' ')
if [ "$here" = "checkpoint-00000002 checkpoint-00000005.old checkpoint-00000030 checkpoint-00000040 checkpoint-7 checkpoint-mine " ] && [ -e "$scratch/pruned/checkpoints/file" ]; then
  pass "pruned: only ours went"
else
  flunk "pruned: there is $here"
fi
# One that has the very name of a checkpoint could lead anywhere.
ln -s "$scratch/beside" "$scratch/pruned/checkpoint-00000001"
as_job "$worker" 1 pruned
run_bounded "${job[@]}"
exits link 77
if [ -e "$scratch/beside/file" ]; then pass "link: what it leads to is there"; else flunk "link: what it leads to was touched"; fi
record "" "T31" pruning "pruning beside folders and files with names like ours: only our own go, two are kept; a link with such a name is refused" "kept 30, 40 and 4 others; exit status 77"

# ---- two starts of a run at the same time ----
# Where the file system knows no locks, the first is cut off (stopped) while the second goes on from its checkpoint, and comes back afterwards.
export QL_SHIM_LOCKS=enolck
as_job "$faulty" 1 fenced
rm -f "$scratch/mark"
QLORA_FAULT=0:15:saved=10,0:15:stop:step QLORA_FAULT_MARK=$scratch/mark QLORA_RUN_ID=$scratch/first "${job[@]}" >"$scratch/first-out" 2>&1 &
first=$!
until [ -s "$scratch/mark" ] || ! kill -0 "$first" 2>/dev/null; do sleep 0.02; done
suffer fenced 2 ""
exits fenced 0
if [ "$(digest fenced)" = "$wanted" ]; then pass "fenced: the second start ends with the right bytes"; else flunk "fenced: other bytes"; fi
state_of() { (cd "$scratch/$1" && find . -type f ! -name 'run.log' ! -path './run/*' -exec sha256sum {} + | sort -k 2); }
state_of fenced >"$scratch/after-second"
kill -CONT "$first"
wait "$first"
status=$?
exits fenced_first 75
if grep -Eq 'qlora: error: .*(generation|start|claim|another run)' "$scratch/first-out"; then pass "fenced: says why"; else flunk "fenced: $(tail -n 2 "$scratch/first-out")"; fi
if state_of fenced | cmp -s - "$scratch/after-second"; then pass "fenced: nothing is published by the first start"; else flunk "fenced: $(state_of fenced | diff - "$scratch/after-second" | head -n 4)"; fi
unset QL_SHIM_LOCKS
record "15" "" fenced "a start that was cut off comes back after another one has finished the run: 75 at its next save, it publishes nothing" "exit status $status"

# ---- power that fails right after a save ----
# Everything of a checkpoint must be on the disk before it has its name, and the name before the save counts: read off the calls of a run.
QL_SHIM_LOG=$scratch/calls QL_SHIM_RANK=0 suffer durable 1 ""
exits durable 0
if awk -v out="$scratch/durable" '
  { call = $2; path = $3 }
  call ~ /^p?writev?$/ || call ~ /^(ftruncate|fallocate)$/ { dirty[path] = 1 }
  call ~ /^f(data)?sync$/ { delete dirty[path]; unnamed[path] = 0 }
  call ~ /^rename/ && index(path, out "/checkpoint-") == 1 {
    names++
    for (file in dirty) if (index(file, out "/.tmp-checkpoint-") == 1) { print "not synced before its name: " file; bad = 1 }
    unnamed[out] = 1
  }
  call ~ /^rename/ && path ~ /-gone-/ && unnamed[out] { print "pruned before the name is on the disk: " path; bad = 1 }
  END {
    if (unnamed[out]) { print "the folder is not synced after the last name"; bad = 1 }
    if (names < 3) { print "only " names " names"; bad = 1 }
    exit bad
  }' "$scratch/calls"; then
  pass "durable: everything is synced before its name, the name before older ones go"
else
  flunk "durable: the order of a save"
fi
record "20" "" durable "each file of a checkpoint is synced before the folder gets its name, and the name before anything older goes" "$(grep -c 'fsync' "$scratch/calls") syncs in a run with 4 saves"
finish
