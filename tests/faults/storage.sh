#!/usr/bin/env bash
# Disks that are full, fail, are slow or read-only: the last checkpoint survives, and what ends with other bytes is no success.
#   storage.sh BIN_FOLDER [all]
# shellcheck source=tests/faults/harness.sh
. "$(dirname "$0")/harness.sh" "$1" "${2:-}"

checkpoints() {
  find "$scratch/$1" -maxdepth 1 -name 'checkpoint-[0-9]*' | sed 's/.*checkpoint-0*//' | sort -n | tr '\n' ' ' | sed 's/ $//'
}

# breaks NAME FAULT PATTERN STATUS: the disk of rank 0 breaks for good before step 15; three saves in a row fail
breaks() {
  suffer "$1" 2 "0:15:$2"
  exits "$1" "$4"
  expect_line "$1: says what" "qlora: (warning|error): .*$3"
  if [ "$(checkpoints "$1")" = 10 ]; then pass "$1: the old checkpoint is there"; else flunk "$1: checkpoints '$(checkpoints "$1")' instead of 10"; fi
  figure="exit status $status"
  go_on "$1" 2
  figure="$figure, went on from step $resumed_at"
  nothing_left "$1"
}

# recovers NAME FAULT PATTERN: it works again from step 25 on: one checkpoint is missing, nothing else
recovers() {
  undisturbed
  suffer "$1" 2 "0:15:$2,0:25:heal"
  exits "$1" 0
  expect_line "$1: says what" "qlora: warning: .*$3.*training goes on"
  if [ "$(digest "$1")" = "$wanted" ]; then pass "$1: same bytes"; else flunk "$1: other bytes"; fi
  if [ "$(checkpoints "$1")" = "30 40" ]; then pass "$1: later checkpoints are there"; else flunk "$1: checkpoints '$(checkpoints "$1")'"; fi
  nothing_left "$1"
  figure="exit status $status, checkpoints $(checkpoints "$1")"
}

breaks full enospc 'No space left' 74
record "17" "T34" full "the disk is full from step 15 on: three saves fail, 74, the checkpoint of step 10 is intact, goes on from it" "$figure"
recovers full_for_a_while enospc 'No space left'
record "17" "T34" full_for_a_while "the disk is full from step 15 to 25: one save is missed, training goes on, same bytes" "$figure"
recovers fsync fsync 'Input/output error'
record "18" "T34" fsync "fsync fails from step 15 to 25: that checkpoint is dropped, the next one is saved" "$figure"
recovers quota edquot 'quota'
record "17" "" quota "a quota is reached from step 15 to 25: the same" "$figure"
recovers read_only erofs 'Read-only'
record "18" "" read_only "the file system is read-only from step 15 to 25: the same" "$figure"
recovers dead eio 'Input/output error'
record "18" "T34" dead "every call fails with EIO from step 15 to 25: the same" "$figure"

# A slow disk: the same bytes, and the end waits for the last save.
undisturbed
QL_SHIM_SECONDS=0.1 suffer slow 2 0:9:slow
exits slow 0
if [ "$(digest slow)" = "$wanted" ]; then pass "slow: same bytes"; else flunk "slow: other bytes"; fi
if [ "$(checkpoints slow | tail -c 3)" = 40 ]; then pass "slow: the last checkpoint is there"; else flunk "slow: checkpoints $(checkpoints slow)"; fi
nothing_left slow
record "23" "T32" slow "each write takes 0.1 s longer: same bytes, the last checkpoint is complete" "$seconds s"

# A folder without locks, without which there would be no saving at all on some network file systems.
for answer in enolck enosys; do
  QL_SHIM_LOCKS=$answer suffer "$answer" 2 ""
  exits "$answer" 0
  if [ "$(digest "$answer")" = "$wanted" ]; then pass "$answer: same bytes"; else flunk "$answer: other bytes"; fi
done
record "" "T37" no_locks "a file system that knows no locks (ENOLCK, ENOSYS): works" "exit status $status"

# A real small disk.
mkdir "$scratch/small"
if unshare -m mount -t tmpfs none /mnt 2>/dev/null; then
  as_job "$worker" 2 small
  # Room for one checkpoint, not for two.
  run_bounded unshare -m sh -c 'mount -t tmpfs -o size=$0 none "$1" && shift && { "$@"; status=$?; cp -r "$scratch/small" "$scratch/copy"; exit "$status"; }' 1500k "$scratch/small" "${job[@]}"
  exits small 74
  figure="exit status $status"
else
  echo "not here: a small tmpfs needs root"
fi
finish
