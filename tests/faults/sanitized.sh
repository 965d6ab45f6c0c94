#!/usr/bin/env bash
# The worker built with sanitizers (scripts/sanitize.sh builds it) on two ranks: steps, saves by its own thread, evaluations, a stop, a kill, a disk that fails,
# going on. No report, and the same end as without all that.
#   sanitized.sh BIN_FOLDER address|thread
# shellcheck source=tests/determinism/runs.sh
. "$(dirname "$0")/../determinism/runs.sh" "$1"
kind=$2
seed_with 1
processors=(avx2)
case $kind in
  address)
    export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
    # Alone, a rank does not use MPI, whose libraries keep some memory for good.
    leaks=ASAN_OPTIONS=detect_leaks=1
    ;;
  thread)
    # libarcher tells the sanitizer what OpenMP's barriers order; MPI's libraries are not built with it.
    export TSAN_OPTIONS=ignore_noninstrumented_modules=1 OMP_TOOL_LIBRARIES=libarcher.so
    leaks=KIND=thread
    ;;
esac

# clean WHAT: nobody has reported anything in the last run. (Into files of their own the sanitizers cannot write here: the shim stands between.)
clean() {
  local reports
  reports=$(grep -nE 'ERROR: (Address|Leak)Sanitizer|runtime error:|WARNING: ThreadSanitizer' "$log")
  if [ -n "$reports" ]; then flunk "$1: $(tail -n +"${reports%%:*}" "$log" | head -n 60)"; else pass "$1: no report"; fi
}

flavour guarded
keys+=({step,load,save}_timeout=600) # sanitizers are slow, and so may be the machine
the_way 1 2 avx2 per_device_train_batch_size=1
run "$scratch/guarded" "$leaks" || flunk "one rank, undisturbed: $(tail -n 3 "$log")"
facts "$scratch/guarded" >"$scratch/guarded.facts"
clean "one rank"

out=$scratch/run
story=
the_way 2 2 avx2 per_device_train_batch_size=2
break_off "$out" USR1 4
clean "two ranks, asked to stop"
break_off "$out" "kill" 9
clean "two ranks, one is killed"
run "$out" QL_SHIM_DOES=eio QL_SHIM_AT=200 QL_SHIM_UNDER="$out" QL_SHIM_RANK=0
clean "two ranks, a call fails"
run "$out" || flunk "two ranks, to the end: $(tail -n 3 "$log")"
clean "two ranks, to the end"
same_as guarded "$out" "the same end"
finish
