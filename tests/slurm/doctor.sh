#!/usr/bin/env bash
# qlora doctor inside jobs of a real Slurm: srun and mpirun are tried where they can start workers, and not where they would wait for ever.
#   doctor.sh BIN_FOLDER
# shellcheck source=tests/support/slurm.sh
. "$(dirname "$0")/../support/slurm.sh" "$1"
cluster_up 2

# finds NAME JOB PATTERN
finds() {
  if grep -Eq -- "$3" "$scratch/$2"; then pass "$1"; else flunk "$1: no line like '$3' in: $(grep -E 'mpi|slurm|gpus' "$scratch/$2")"; fi
}
running=()
# in_job NAME WORD...: the doctor as the command of a batch script; its words in $scratch/NAME
printf '#!/bin/bash\n"%s" doctor\n' "$bin/qlora" >"$scratch/script"
in_job() {
  local name=$1
  shift
  sbatch --wait -o "$scratch/$name" "$@" "$scratch/script" >/dev/null 2>&1 &
  running+=($!)
}

in_job one --nodes=1 --ntasks-per-node=2
in_job two --nodes=2 --ntasks-per-node=1
in_job task --nodes=1 --ntasks=1 --gpus-per-task=1
srun --nodes=1 --ntasks=1 "$bin/qlora" doctor >"$scratch/step" 2>/dev/null &
running+=($!)
for job in "${running[@]}"; do wait "$job"; done
finds "inside a job" one '^note +slurm +this is inside Slurm job [0-9]+'
finds "srun with PMIx" one '^ok +slurm +srun --mpi=pmix started 2 workers that found each other'
finds "mpirun" one '^ok +mpi +Open MPI .* started 2 workers that found each other'
finds "srun over two machines" two '^ok +slurm +srun --mpi=pmix started 2 workers that found each other'
finds "GPUs of tasks" task '^warning +slurm +the job has --gpus-per-task'
finds "a task of srun" step '^note +mpi +this is a task of srun'
finish
