#!/usr/bin/env bash
# Starting: several runs at once, starts that cannot work, a /dev/shm that is small or full.
#   start.sh BIN_FOLDER [all]
# The scratch folder stays on the disk: what is in /dev/shm is hidden from a run with one of its own.
export TMPDIR=${TMPDIR:-/tmp}
# shellcheck source=tests/faults/harness.sh
. "$(dirname "$0")/harness.sh" "$1" "${2:-}"

# says PATTERN: the last run said such a line
says() {
  expect_line "$1" "$2"
}

# ---- eight at once: no port, no name is fixed ----
launches=8
common+=(max_steps=4)
undisturbed
for ((i = 0; i < launches; i++)); do
  as_job "$worker" 2 "beside-$i"
  "${job[@]}" >"$scratch/log-$i" 2>&1 &
  pid[i]=$!
done
ended=0
for ((i = 0; i < launches; i++)); do
  if wait "${pid[i]}" && [ "$(digest "beside-$i")" = "$wanted" ]; then ended=$((ended + 1)); fi
done
if [ "$ended" = "$launches" ]; then pass "8 runs at once"; else flunk "of 8 runs at once $ended ended well: $(tail -n 2 "$scratch"/log-*)"; fi
record "26" "T11" eight_at_once "8 runs of 2 ranks started at the same time all end with the right bytes" "$ended of $launches"

# ---- starts that cannot work: one line with the cure, at once ----
# An environment as srun without PMIx gives it to each of two tasks.
as_job "$worker" 1 no-pmix
run_bounded env SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 SLURM_NTASKS=2 SLURM_PROCID=1 "${job[@]}"
exits no_pmix 64
says "srun without PMIx" 'srun started 2 tasks that cannot find each other; use srun --mpi=pmix, or mpirun -np 2'
within no_pmix "$seconds" 1
figure="srun without PMIx $status in $seconds s"
run_bounded env PMI_SIZE=2 PMI_RANK=0 "${job[@]}"
exits other_mpi 64
says "another mpiexec" "2 processes were started by the mpiexec of MPICH"
within other_mpi "$seconds" 1
figure="$figure, MPICH's mpiexec $status in $seconds s"
# A salloc shell has Slurm's variables, but is one process.
as_job "$worker" 1 salloc
run_bounded env SLURM_NTASKS=4 SLURM_JOB_ID=7 "${job[@]}"
exits salloc 0
record "" "T12" wrong_starts "srun without PMIx and a foreign mpiexec: one helpful line, 64; a salloc shell is one process" "$figure"

# ---- a GPU that is asked for and not there ----
as_job "$worker" 1 no-gpu
run_bounded "${job[@]}" device=cuda
exits no_gpu 64
within no_gpu "$seconds" 1
if [ -e "$scratch/no-gpu" ]; then flunk "no_gpu: left a folder"; else pass "no_gpu: leaves no folder"; fi
record "" "T25" no_gpu "device: cuda without a GPU: 64 with the cure, nothing written" "exit status $status in $seconds s"

# ---- shared memory ----
# with_shared SIZE COMMAND...: with a /dev/shm of its own
with_shared() {
  local size=$1
  shift
  run_bounded env -u OMPI_MCA_btl_vader_backing_directory unshare -m sh -c 'mount -t tmpfs -o size=$0 none /dev/shm && exec "$@"' "$size" "$@"
}
if unshare -m mount -t tmpfs none /mnt 2>/dev/null; then
  as_job "$worker" 2 small
  with_shared 5m "${job[@]}"
  exits small_shared_memory 64
  says "small /dev/shm" '/dev/shm: 5.0 MiB are free, and 2 ranks on one machine need 8.0 MiB.*OMPI_MCA_btl=self,tcp'
  within small_shared_memory "$seconds" 2
  figure="exit status $status in $seconds s"
  OMPI_MCA_btl=self,tcp with_shared 64k "${job[@]}"
  exits without_shared_memory 0
  if [ "$(digest small)" = "$wanted" ]; then pass "without shared memory: same bytes"; else flunk "without shared memory: other bytes"; fi
  as_job "$worker" 2 usual
  with_shared 64m "${job[@]}"
  exits usual_shared_memory 0
else
  echo "not here: a /dev/shm of our own needs root; the shim says how much is free"
  as_job "$worker" 2 small
  run_bounded env LD_PRELOAD="$shim" QL_SHIM_UNDER="$shared" QL_SHIM_SPACE=5000000 "${job[@]}"
  exits small_shared_memory 64
  says "small /dev/shm" 'are free, and 2 ranks on one machine need 8.0 MiB.*OMPI_MCA_btl=self,tcp'
  figure="exit status $status in $seconds s, as the shim has it"
fi
record "34" "" small_shared_memory "a /dev/shm without room for the ranks: refused before MPI starts, with the hint, and the hint works" "$figure"
finish
