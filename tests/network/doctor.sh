#!/usr/bin/env bash
# qlora doctor on two hosts: what it says of them, and of what one of them lacks.
#   doctor.sh BIN_FOLDER
# shellcheck source=tests/network/harness.sh
. "$(dirname "$0")/harness.sh" "$1"
unset QLORA_INIT_TIMEOUT
mkdir -p "$scratch/out"

# examine STATUS HOSTS KEY=VALUE...: what it says is in $scratch/out.txt
examine() {
  local wanted=$1 hosts=$2 got
  shift 2
  timeout -k 5 "$bound" on a "$bin/qlora" doctor --hosts "$hosts" examples/demo.yaml "${common[@]}" output_dir="$scratch/out/run" "$@" >"$scratch/out.txt" 2>"$scratch/err" </dev/null
  got=$?
  if [ "$got" = "$wanted" ]; then pass "exit status $got"; else flunk "exit status $got instead of $wanted: $(grep -v '^ok' "$scratch/out.txt" | tail -n 6) $(tail -n 2 "$scratch/err")"; fi
}
finds() {
  if grep -Eq -- "$2" "$scratch/out.txt"; then pass "$1"; else flunk "$1: no line like '$2' in: $(grep -v '^ok' "$scratch/out.txt")"; fi
}

examine 0 "$both"
finds "both hosts" "^ok +mpi +Open MPI .* started 2 workers on $host_a, $host_b that found each other"
finds "what both read" '^ok +job +data: 60 records'
examine 0 "$host_a:2,$host_b:2"
finds "two workers on each" "started 4 workers on $host_a, $host_b that"
mkdir -p "$scratch/only-a"
on b mount -t tmpfs hidden "$scratch/only-a"
cp "$scratch/data.jsonl" "$scratch/only-a"
examine 65 "$both" dataset="$scratch/only-a/data.jsonl"
finds "data that one host lacks" "^error +job .*$host_b.*only-a/data.jsonl"
examine 75 "$host_a,nowhere"
finds "a host that is not there" '^error +mpi +Open MPI .* does not start 2 workers: '
link b down
examine 75 "$both"
finds "a cable that is pulled" '^error +mpi +Open MPI .*: '
[ -z "$(ls -A "$scratch/out")" ] && pass "no trace" || flunk "it left $(ls -A "$scratch/out")"
finish
