#!/usr/bin/env bash
# Who started a run may be killed: nobody is left behind, what Open MPI leaves goes at the next start, and the run goes on. A run that a
# shell started needs nobody.
#   parents.sh BIN_FOLDER [all]
# shellcheck source=tests/faults/harness.sh
. "$(dirname "$0")/harness.sh" "$1" "${2:-}"
common+=(max_steps=12 save_steps=5)

# ---- mpirun is killed ----
outside killed mpirun KILL step 7
exits killed 137
within "mpirun killed: all gone" "$down" 1.5
gone_after=$down
if [ -n "$(find "$shared" -name 'vader_segment.*')" ]; then pass "Open MPI leaves shared memory"; else flunk "there is no shared memory left to be removed"; fi

# Beside what is ours lies what is not: of a run that lives, of one that carries no mark, of another user, behind a link.
sessions=$(dirname "$(find "$TMPDIR" -name qlora-run | head -n 1)" 2>/dev/null)
sessions=${sessions%/*}
space=$(stat -L -c %i /proc/self/ns/pid)
others=("$shared/vader_segment.$(hostname).$(id -u).abc0001.0" "$shared/vader_segment.$(hostname).$(id -u).abd0001.0"
  "$shared/vader_segment.$(hostname).12345.abe0001.0" "$sessions/pid.1/qlora-run" "$sessions/pid.2/contact.txt" "$scratch/linked/qlora-run")
mkdir -p "$sessions/pid.1" "$sessions/pid.2" "$scratch/linked"
ln -s "$scratch/linked" "$sessions/pid.3"
printf 'here' | tee "${others[@]}" >/dev/null
printf 'abc0001 %d 0 999999999 0 %s\n' $$ "$space" >"$sessions/pid.1/qlora-run"
printf 'abd0001 999999999 0 999999999 0 %s\n' "$space" >"$scratch/linked/qlora-run"
if [ "$(id -u)" = 0 ]; then
  mkdir "$sessions/pid.4"
  printf 'abd0001 999999999 0 999999999 0 %s\n' "$space" >"$sessions/pid.4/qlora-run"
  chown -R 12345 "$sessions/pid.4"
  others+=("$sessions/pid.4/qlora-run")
fi
go_on killed 2
kept=0
for file in "${others[@]}"; do
  if [ -e "$file" ]; then kept=$((kept + 1)); else flunk "killed: $file was not ours to remove"; fi
done
[ "$kept" = "${#others[@]}" ] && pass "killed: what is not ours stays"
rm -rf "${others[@]}" "$sessions"/pid.[1234]
nothing_left killed
record "9" "T8" mpirun_killed "mpirun killed in step 7: all ranks gone, the next start removes our litter and nobody else's, same bytes" \
  "gone in $gone_after s, on from $resumed_at"
# There is no MPI yet that would notice.
lingers=0 linger=sleep=600 outside killed-early mpirun KILL init 0
within "mpirun killed before MPI_Init: all gone" "$down" 1.5
if [ -z "$(survivors)" ]; then pass "killed-early: no process is left"; else flunk "killed-early: processes are left"; fi
gone_after=$down
go_on killed-early 2
nothing_left killed-early
record "9" "T8" mpirun_killed_early "mpirun killed before MPI_Init: the same" "gone in $gone_after s"

linger=stop outside killed-stopped mpirun KILL step 7
within "mpirun killed beside a stopped rank: all gone" "$down" 1.5
if [ -z "$(survivors)" ]; then pass "killed-stopped: the stopped rank is gone"; else flunk "killed-stopped: a stopped rank is left"; fi
gone_after=$down
go_on killed-stopped 2
nothing_left killed-stopped
record "9 5" "T8" mpirun_killed_stopped "mpirun killed while a rank is stopped: the same" "gone in $gone_after s"

# ---- the launcher is killed ----
figure=
for at in "init 0" "step 7" "save 10"; do
  name=launcher-killed-${at% *}
  # shellcheck disable=SC2086 # a place and a step
  lingers=0 linger=sleep=600 outside "$name" run KILL $at
  within "$name: all gone" "$down" 2
  if [ -z "$(survivors)" ]; then pass "$name: no process is left"; else flunk "$name: processes are left"; fi
  figure="$figure, ${at% *} $down s"
  go_on "$name" 2
  nothing_left "$name"
done
record "10" "T9" launcher_killed "qlora run killed while it starts, in a step, in a save: no process is left, same bytes" "gone after: ${figure#, }"
figure=
for at in "init 0" "step 7" "save 10"; do
  name=launcher-asked-${at% *}
  # shellcheck disable=SC2086 # a place and a step
  outside "$name" run TERM $at
  exits "$name" 85
  nothing_left "$name"
  figure="$figure, ${at% *} $down s"
  go_on "$name" 1
done
record "10" "T9" launcher_asked "qlora run gets TERM while it starts, in a step, in a save: 85, no process is left, same bytes" "gone after: ${figure#, }"

# ---- a process that is alone ----
# lingering PLACE STEP: $pid of a run that lingers there
lingering() {
  as_job "$faulty" 1 alone
  rm -rf "$scratch/mark" "$scratch/alone"
  QLORA_FAULT=0:$2:sleep=1:$1 QLORA_FAULT_MARK=$scratch/mark "${job[@]}" >"$scratch/out" 2>"$scratch/err" </dev/null &
  pid=$!
  until [ -s "$scratch/mark" ] || ! kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
}
for at in "data 0" "step 3"; do
  # shellcheck disable=SC2086 # a place and a step
  lingering $at
  sockets=$(find "/proc/$pid/fd" -lname 'socket:*' | wc -l)
  children=$(pgrep -P "$pid" | wc -l)
  wait "$pid"
  if [ "$sockets $children" = "0 0" ]; then pass "alone: no socket, no child at ${at% *}"; else flunk "alone: $sockets sockets, $children children at ${at% *}"; fi
done
record "" "" alone "a run of one process opens no socket and starts no program (MPI is not touched)" "0 sockets, 0 children"

# The shell that started it is killed: a daemon, or a user who has logged off.
as_job "$worker" 1 orphan
mkfifo "$scratch/nobody"
# shellcheck disable=SC2016 # for the other shell
sh -c '"$@" >/dev/null 2>&1 & echo $! >"$0/orphan.pid"; read -r nothing <"$0/nobody"' "$scratch" "${job[@]}" &
shell=$!
until [ -s "$scratch/orphan/metrics.jsonl" ] || ! kill -0 "$shell" 2>/dev/null; do sleep 0.01; done
orphan=$(cat "$scratch/orphan.pid")
kill -KILL "$shell"
wait "$shell" 2>/dev/null
for ((i = 0; i < bound * 10; i++)); do
  [ -e "/proc/$orphan/exe" ] || break
  sleep 0.1
done
undisturbed
if [ "$(digest orphan)" = "$wanted" ]; then pass "orphan: lives on to the end"; else flunk "orphan: other bytes, or none"; fi
record "" "" orphan "a run whose shell is killed lives on" "same bytes at the end"
finish
