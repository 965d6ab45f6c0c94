#!/usr/bin/env bash
# Disks that are full, fail, are slow or read-only: the last checkpoint survives, and what ends with other bytes is no success.
#   storage.sh BIN_FOLDER [all]
# shellcheck source=tests/faults/harness.sh
. "$(dirname "$0")/harness.sh" "$1" "${2:-}"
unset QLORA_SAVE_PATIENCE

checkpoints() {
  find "$scratch/$1" -maxdepth 1 -name 'checkpoint-[0-9]*' | sed 's/.*checkpoint-0*//' | sort -n | tr '\n' ' ' | sed 's/ $//'
}

# breaks NAME FAULT PATTERN STATUS: the disk of rank 0 breaks for good before step 15; saves of 15, 20 and 25 fail, and the run ends long before
# its last step, whose save it could not do without
breaks() {
  suffer "$1" 2 "0:14:saved=10,0:15:$2,0:38:heal" save_steps=5
  if grep -q '^hook: .*heal' "$scratch/err"; then flunk "$1: trains on after three failures"; else pass "$1: ends after three failures"; fi
  exits "$1" "$4"
  expect_line "$1: says what" "qlora: (warning|error): .*$3"
  if [ "$(checkpoints "$1")" = "5 10" ]; then pass "$1: the old checkpoints are there"; else flunk "$1: checkpoints '$(checkpoints "$1")' instead of 5 10"; fi
  figure="exit status $status"
  go_on "$1" 2
  figure="$figure, went on from step $resumed_at"
  nothing_left "$1"
}

# recovers NAME FAULT PATTERN: it works again from step 29 on: one checkpoint is missing, nothing else
recovers() {
  undisturbed
  suffer "$1" 2 "0:14:saved=10,0:15:$2,0:29:sleep=0.5:step,0:29:heal"
  exits "$1" 0
  expect_line "$1: says what" "qlora: warning: .*$3.*training goes on"
  if [ "$(digest "$1")" = "$wanted" ]; then pass "$1: same bytes"; else flunk "$1: other bytes"; fi
  if [ "$(checkpoints "$1")" = "30 40" ]; then pass "$1: later checkpoints are there"; else flunk "$1: checkpoints '$(checkpoints "$1")'"; fi
  nothing_left "$1"
  figure="exit status $status, checkpoints $(checkpoints "$1")"
}

breaks full enospc 'No space left' 74
record "17" "T34" full "the disk is full from step 15 on: three saves fail, 74, the checkpoints before are intact, goes on from step 10" "$figure"
recovers full_for_a_while enospc 'No space left'
record "17" "T34" full_for_a_while "the disk is full from step 15 to 29: one save is missed, training goes on, same bytes" "$figure"
recovers fsync fsync 'Input/output error'
record "18" "T34" fsync "fsync fails from step 15 to 29: that checkpoint is dropped, the next one is saved" "$figure"
if [ "$all" = all ]; then
  recovers quota edquot 'quota'
  record "17" "" quota "a quota is reached from step 15 to 29: the same" "$figure"
  recovers read_only erofs 'Read-only'
  record "18" "" read_only "the file system is read-only from step 15 to 29: the same" "$figure"
fi
recovers dead eio 'Input/output error'
record "18" "T34" dead "every call fails with EIO from step 15 to 29: the same" "$figure"

# A slow disk: the same bytes, and the end waits for the last save.
undisturbed
QL_SHIM_SECONDS=0.002 suffer slow 2 0:9:slow
exits slow 0
if [ "$(digest slow)" = "$wanted" ]; then pass "slow: same bytes"; else flunk "slow: other bytes"; fi
latest=$(checkpoints slow)
if [ "${latest##* }" = 40 ]; then pass "slow: the last checkpoint is there"; else flunk "slow: checkpoints $(checkpoints slow)"; fi
nothing_left slow
record "23" "T32" slow "each write takes 2 ms longer: same bytes, the last checkpoint is complete" "checkpoints $(checkpoints slow), $seconds s"
checkpoint_kib=$(du -sk "$scratch/slow/checkpoint-00000040" | cut -f1)

# A disk that stands still for longer than the deadline of a step may be: no alarm as long as the deadline of a save has not
# passed; when it has, that is what is said.
QLORA_STEP_TIMEOUT=2 QLORA_SAVE_TIMEOUT=60 QL_SHIM_SECONDS=5 suffer stalls 2 0:20:stall=4:save
exits stalls 0
if [ "$(digest stalls)" = "$wanted" ]; then pass "stalls: same bytes"; else flunk "stalls: other bytes"; fi
record "23" "" stalls "one call of a save takes 5 s, with deadlines of 2 s for steps and 60 s for saves: no alarm, same bytes" "exit status $status, $seconds s"
QLORA_STEP_TIMEOUT=60 QLORA_SAVE_TIMEOUT=2 suffer stalls_for_ever 2 0:20:stall=4:save
exits stalls_for_ever 75
expect_line "stalls_for_ever: says what" 'qlora: error: .*rank 0.*(checkpoint|save|writ)'
within "stalls_for_ever: down" "$down" 3
figure="exit status $status, down in $down s"
go_on stalls_for_ever 2
nothing_left stalls_for_ever
record "23" "" stalls_for_ever "a save that never ends: 75 at its deadline of 2 s, said to be writing; goes on from the checkpoint before" "$figure, went on from step $resumed_at"

# A folder without locks, without which there would be no saving at all on some network file systems.
for answer in enolck enosys; do
  QL_SHIM_LOCKS=$answer suffer "$answer" 2 0:27:saved=20,1:27:kill:exchange
  QL_SHIM_LOCKS=$answer suffer "$answer" 2 ""
  exits "$answer" 0
  expect_line "$answer: goes on" 'resumed: .*step 20 of'
  if [ "$(digest "$answer")" = "$wanted" ]; then pass "$answer: same bytes"; else flunk "$answer: other bytes"; fi
done
record "" "T37" no_locks "a file system that knows no locks (ENOLCK, ENOSYS): saves, and goes on from what was saved" "exit status $status"

# The folder is taken away for good, and put back for the next start.
(
  until [ -s "$scratch/mark" ]; do sleep 0.02; done
  mv "$scratch/vanishes" "$scratch/elsewhere"
) &
suffer vanishes 2 0:14:saved=10,0:15:sleep=1:step
wait $!
exits vanishes 74
expect_line "vanishes: says what" 'qlora: (warning|error): .*vanishes.*No such file'
figure="exit status $status"
rm -rf "$scratch/vanishes"
mv "$scratch/elsewhere" "$scratch/vanishes"
go_on vanishes 2
record "18" "" vanishes "output_dir is taken away in step 15: three saves fail, 74; put back, the run goes on" "$figure, went on from step $resumed_at"

# A real small disk. A save asks for more room than it takes in the end, so that the first fits and the second does not.
if unshare -m mount -t tmpfs none /mnt 2>/dev/null; then
  mkdir "$scratch/small"
  as_job "$worker" 2 small
  # shellcheck disable=SC2016
  run_bounded unshare -m bash -c 'mount -t tmpfs -o "size=$1k" none "$2" && { "${@:4}"; status=$?; cp -a "$2" "$3"; exit "$status"; }' \
    small "$((checkpoint_kib * 33 / 10))" "$scratch/small" "$scratch/copy" "${job[@]}"
  exits small 74
  expect_line "small: says what" 'qlora: (warning|error): .*(No space left|free)'
  figure="exit status $status"
  rm -rf "$scratch/small"
  mv "$scratch/copy" "$scratch/small"
  if [ "$(checkpoints small)" = 10 ]; then pass "small: the old checkpoint is there"; else flunk "small: checkpoints '$(checkpoints small)'"; fi
  go_on small 2
  record "17" "T34" small_disk "a small tmpfs, with room for one save: 74 after three saves, the first checkpoint is intact; with room again it goes on" "$figure, went on from step $resumed_at"
else
  echo "not here: a small tmpfs needs root, so that only the shim stands for it"
fi
finish
