# shellcheck shell=bash disable=SC2034
# For shell tests: `. shell.sh BIN_FOLDER`. Gives a scratch folder that is removed at the end, the
# environment for mpirun on any machine, and checks that say what was expected.
set -uo pipefail
bin=$1
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
worker=$bin/qlora-worker
# In memory where there is room: thousands of small checkpoints are written to disk for sure, and a
# test should not depend on how long this machine's disk takes for that.
roomy_scratch() {
  local free
  free=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)
  if [ "${free:-0}" -ge 2097152 ] && [ -w /dev/shm ]; then echo /dev/shm; else echo /tmp; fi
}
scratch=$(mktemp -d "${TMPDIR:-$(roomy_scratch)}/qlora-test.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export XDG_CACHE_HOME=$scratch/cache
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_btl_vader_single_copy_mechanism=none
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
checks=0
failures=0

pass() {
  checks=$((checks + 1))
  printf 'ok: %s\n' "$1"
}

flunk() {
  checks=$((checks + 1))
  failures=$((failures + 1))
  printf 'FAILED: %s\n' "$1"
}

# expect_status NAME WANTED COMMAND...: runs it with output in $scratch/out and $scratch/err
expect_status() {
  local name=$1 wanted=$2
  shift 2
  "$@" >"$scratch/out" 2>"$scratch/err"
  local got=$?
  if [ "$got" = "$wanted" ]; then
    pass "$name"
  else
    flunk "$name: exit status $got instead of $wanted; it said: $(tail -n 3 "$scratch/err")"
  fi
}

# expect_line NAME PATTERN: standard error of the last command has a line that matches
expect_line() {
  if grep -Eq -- "$2" "$scratch/err"; then pass "$1"; else flunk "$1: no line like '$2' in: $(tail -n 3 "$scratch/err")"; fi
}

need_mpirun() {
  # MPI libraries keep some memory for good, which is no leak of ours.
  export ASAN_OPTIONS=detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}
  if ! command -v mpirun >/dev/null; then
    echo "skipped: there is no mpirun on this machine"
    exit 77
  fi
}

finish() {
  printf '%d checks, %d failed\n' "$checks" "$failures"
  [ "$failures" = 0 ]
}
