#!/usr/bin/env bash
# A job of a more urgent partition takes the machines: saved, requeued, and nothing is lost or done twice.
#   preemption.sh BIN_FOLDER
# shellcheck source=tests/slurm/harness.sh
. "$(dirname "$0")/harness.sh" "$@"
# shellcheck disable=SC2034 # of slurm.sh
grace_time=4
cluster_up 2
folder="$scratch/a run"
write_config "$folder" 40
undisturbed "$folder"
export QLORA_FAULT=$at_20

# preempted NAME TEMPLATE SBATCH-OPTION...
preempted() {
  local name=$1 template=$2 urgent
  shift 2
  submit "$folder" "$template" "$@"
  until_step "$folder/out" 19
  urgent=$(sbatch --parsable --output=/dev/null -p urgent -N 2 --exclusive --wrap 'sleep 1')
  until_requeued "$name" "$job" 1
  until_over "$name: the urgent job" "$urgent" COMPLETED
  until_over "$name" "$job" COMPLETED
  same_bytes "$name" "$folder/out"
  nothing_left "$name"
}

preempted "srun, two machines" srun --nodes=2 --ntasks-per-node=2
exact "srun, two machines"
figure="2 machines x 2 ranks: stopped at $(stopped_at), on from $(resumed_at)"
preempted "srun, one machine" srun --nodes=1
exact "srun, one machine"
record "13" "T40" preempted_srun "preempted under srun: saved as the grace begins, requeued, no step lost" "$figure; 1 x 1: $(stopped_at), $(resumed_at)"
preempted "mpirun, two machines" mpirun --nodes=2 --ntasks-per-node=2
figure="2 machines: stopped at '$(stopped_at)', on from $(resumed_at)"
preempted "mpirun, one machine" mpirun --nodes=1 --ntasks-per-node=2
record "13" "T40" preempted_mpirun "preempted under mpirun: requeued, goes on from the last checkpoint" "$figure; 1 machine: '$(stopped_at)', $(resumed_at)"
finish
