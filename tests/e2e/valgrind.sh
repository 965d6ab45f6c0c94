#!/usr/bin/env bash
# The worker on two ranks under valgrind: train, save, stop, go on, evaluate. No error that is ours; the suppressions are for Open
# MPI's run time only.   valgrind.sh BIN_FOLDER
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/../support/shell.sh" "$1"
# shellcheck source=tests/faults/record.sh
. "$(dirname "$0")/../faults/record.sh"
cd "$top" || exit 1
need_mpirun
if ! command -v valgrind >/dev/null; then
  echo "skipped: there is no valgrind on this machine"
  exit 77
fi
if grep -q __asan_init "$worker" || grep -q __tsan_init "$worker"; then
  echo "skipped: valgrind does not run programs with sanitizers"
  exit 77
fi
export QLORA_CPU=avx2                   # valgrind knows no AVX-512
export OMP_WAIT_POLICY=passive          # else the worker starts itself once more, without valgrind
export OMPI_MCA_mpi_yield_when_idle=1
head -n 16 examples/data/train.jsonl >"$scratch/data.jsonl"
head -n 4 examples/data/train.jsonl >"$scratch/eval.jsonl"
reports=0

# watched NAME KEY=VALUE...: on two ranks; every process writes a report
watched() {
  local name=$1 report
  shift
  expect_status "$name" 0 mpirun -np 2 valgrind --suppressions=tests/support/libmpi.supp --num-callers=25 \
    --error-exitcode=99 --log-file="$scratch/report.%p" "$worker" --threads 1 examples/demo.yaml output_dir="$scratch/out-dir" \
    dataset="$scratch/data.jsonl" eval_dataset="$scratch/eval.jsonl" max_length=64 excess_length_strategy=truncate audit=warn lora_r=4 global_batch_size=2 \
    step_timeout=600 load_timeout=600 save_timeout=600 "$@"
  for report in "$scratch"/report.*; do
    # The child that reads a checkpoint closes all files but one, valgrind's report, too: its head is all there is.
    if grep -q 'ERROR SUMMARY: 0 errors' "$report"; then
      reports=$((reports + 1))
    elif [ "$(wc -l <"$report")" -gt 6 ]; then
      flunk "$name: $(head -n 40 "$report")"
    fi
  done
  rm -f "$scratch"/report.*
}

watched "ten steps with two saves and evaluations" eval_strategy=steps eval_steps=5 max_steps=10 save_steps=5 lora_dropout=0.1
rm -rf "$scratch/out-dir/checkpoint-00000010" "$scratch"/out-dir/run/DONE*
watched "resumed from the first save" eval_strategy=steps eval_steps=5 max_steps=10 save_steps=5 lora_dropout=0.1
if [ "$reports" -lt 4 ]; then flunk "only $reports reports"; fi
record "" "T46" valgrind "clean, suppressions for libmpi only" "two ranks, 10 steps and 5 after a resume: no error in $reports processes"
finish
