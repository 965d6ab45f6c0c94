#!/usr/bin/env bash
# A cable is pulled, a host dies, its daemon dies: all ranks are gone within the time of the keepalive, the run goes on where it stood, and a
# rank that was cut off publishes nothing any more.
# No step is overdue all the while: the side on which something was under way when the cable was pulled notices by its own connections.
#   cut.sh BIN_FOLDER [all]     all: with the keepalive that qlora run has by itself, 19 s, and without any
# shellcheck source=tests/network/harness.sh
. "$(dirname "$0")/harness.sh" "$@"
common+=(max_steps=20 save_steps=5)
undisturbed
export QLORA_STEP_TIMEOUT=600
keepalive=(OMPI_MCA_oob_tcp_keepalive_time=3 OMPI_MCA_oob_tcp_keepalive_intvl=1 OMPI_MCA_oob_tcp_keepalive_probes=3)
limit=8
[ -z "$all" ] || { keepalive=() limit=20; }

# begin NAME STEP [KEY=VALUE...]: a run on both hosts whose rank 1 takes three seconds longer in that step, in which this returns
begin() {
  local name=$1 step=$2
  shift 2
  as_hosts "$name" "$@"
  rm -f "$scratch/mark"
  run_id=$scratch/$((runs += 1))
  env "${keepalive[@]}" QLORA_RUN_ID="$run_id" QLORA_FAULT="1:$step:sleep=${lingering:-3}:step" QLORA_FAULT_MARK="$scratch/mark" \
    timeout -k 5 "$bound" on a "${job[@]}" >"$scratch/out" 2>"$scratch/err" </dev/null &
  running=$!
  until [ -s "$scratch/mark" ] || ! kill -0 "$running" 2>/dev/null; do sleep 0.02; done
  started=$(now)
}

# Until it has ended by itself: $status; $here, when the launcher had, and $down, when no process was left on either host, from `begin` on.
end() {
  local patience
  wait "$running"
  status=$?
  here=$(calc "$(now) - $started")
  for ((patience = 0; patience < bound * 10; patience++)); do
    [ -n "$(survivors)" ] || break
    sleep 0.1
  done
  down=$(calc "$(now) - $started")
}

# saved NAME: the checkpoints that are there
saved() {
  find "$scratch/$1" -maxdepth 1 -name 'checkpoint-*' -printf '%f ' | tr ' ' '\n' | sort | xargs
}

# ---- a cable is pulled, and put back before the next start ----
begin cut 12 max_restarts=0
link b down
end
exits cut 75
within "cut: the launcher has noticed" "$here" "$limit"
within "cut: all gone on both hosts" "$down" 30
no_one_left cut
if [ "$(saved cut)" = "checkpoint-00000005 checkpoint-00000010" ]; then pass "cut: nothing was published after it"; else flunk "cut: there is $(saved cut)"; fi
cut_after="noticed after $here s, all down after $down s"
link b up
on_hosts cut
exits cut 0
same_bytes cut
if grep -q 'resumed: .*, step 10 of' "$scratch/err"; then pass "cut: goes on from step 10"; else flunk "cut: does not go on from step 10"; fi
record "14" "T18" cut "the cable of a host is pulled in step 12: all down on both sides, nothing is published, the same bytes after the next start" \
  "$cut_after"

# The launcher goes on by itself once the cable is back.
begin mended 12
link b down
until grep -q 'starting them again' "$scratch/err" || ! kill -0 "$running" 2>/dev/null; do sleep 0.1; done
noticed=$(calc "$(now) - $started")
link b up
end
exits mended 0
same_bytes mended
nothing_left mended
within "mended: noticed" "$noticed" "$limit"
record "14" "T18" mended "the same, and the cable is put back: qlora run goes on by itself to the same bytes" "noticed after $noticed s, done $down s after the cut"

# ---- a host dies ----
plain_host() { # NAME: and the run goes on without it
  as_job "$worker" 1 "$1"
  run_bounded on a "${job[@]}"
  exits "$1" 0
  same_bytes "$1"
}
begin daemon 12 max_restarts=0
pgrep -f "orted.*ess_base_jobid" | while read -r pid; do grep -qz "ql-b-$$" <(nsenter --target "$pid" --uts hostname) 2>/dev/null && kill -KILL "$pid"; done
end
exits daemon 75
within "daemon: all gone" "$down" 3
no_one_left daemon
daemon_after=$down
plain_host daemon
record "14" "" daemon "the daemon of Open MPI on the other host is killed: all down, goes on on one host" "down in $daemon_after s"

# ---- fenced ----
# A file server's lock of a host that nobody reaches any more is given away; here, locks do not work at all.
usual=("${keepalive[@]}")
keepalive=(OMPI_MCA_oob_tcp_keepalive_time=300 QL_SHIM_LOCKS=enolck QLORA_LINK_TIMEOUT=600)
begin fenced 12 max_restarts=0
link b down
as_job "$faulty" 1 fenced
QL_SHIM_LOCKS=enolck on b "${job[@]}" >"$scratch/other" 2>&1
other=$?
other_seconds=$(calc "$(now) - $started")
before=$(find "$scratch/fenced" -name '*.safetensors' -newermt @0 -printf '%p %T@\n' | sort | sha256sum)
if [ "$other" = 0 ]; then pass "fenced: the other host goes on alone to the end"; else flunk "fenced: exit status $other: $(tail -n 3 "$scratch/other")"; fi
same_bytes fenced
link b up
end
exits fenced 0 # what is on disk is done, whoever did it
expect_line "fenced: says who has taken over" "another start \(generation 2, host $host_b, process [0-9]+\) has taken over"
if [ "$before" = "$(find "$scratch/fenced" -name '*.safetensors' -printf '%p %T@\n' | sort | sha256sum)" ]; then pass "fenced: it publishes nothing"; else flunk "fenced: it has written"; fi
same_bytes fenced
no_one_left fenced
record "15" "T18" fenced "a host is cut off, another finishes the run, and the cable is put back: it ends at its next save, nothing is published" "the other one ended after $other_seconds s, this one $down s after the cut"

# ---- ranks notice by themselves, as they have to where nobody else does: under srun, or where mpirun had just sent something ----
if [ -n "$all" ]; then
  keepalive=(OMPI_MCA_oob_tcp_keepalive_time=20 QLORA_LINK_TIMEOUT=6)
  begin silent 12 max_restarts=0
  link b down
  end
  link b up
  exits silent 75
  no_one_left silent
  for end in "0 10.78.0.2" "1 10.78.0.1"; do
    if grep -q "rank ${end% *}: ${end#* } has not answered for 6 s" "$scratch/silent/run.log"; then pass "silent: rank ${end% *} has noticed"; else flunk "silent: rank ${end% *} has not noticed"; fi
  done
  # A rank that is busy, stopped or waits for a disk is not taken for a machine that is gone.
  lingering=10 begin busy 12 max_restarts=0
  end
  exits busy 0
  same_bytes busy
  record "14 23" "T18" silent "both sides of a cut link end by themselves, though no step is overdue and mpirun says nothing; a rank that is busy for longer is waited for" "after 6 s, as set"
fi

# ---- power is lost; this host does not come back ----
keepalive=("${usual[@]}")
begin off 12 max_restarts=0
switch_off b
end
exits off 75
within "off: all gone" "$down" "$limit"
no_one_left off
off_after=$down
plain_host off
record "14" "" off "a host loses its power: all down, goes on on one host" "down in $off_after s"
finish
