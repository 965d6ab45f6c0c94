#!/usr/bin/env bash
# A machine of the job is cut off, or its slurmd dies: Slurm requeues, and what lives on over there publishes nothing.
#   machines.sh BIN_FOLDER [all]
# shellcheck source=tests/slurm/harness.sh
. "$(dirname "$0")/harness.sh" "$@"
slurmd_timeout=5 # of slurm.sh
cluster_up 2
folder="$scratch/a run"
write_config "$folder" 150
undisturbed "$folder"

# lost NAME TEMPLATE STEP COMMAND...: the command takes a machine away after the step. The job is put back as soon as the machine counts as gone, and starts when it is there again.
lost() {
  local name=$1 template=$2 step=$3 began
  shift 3
  submit "$folder" "$template" --nodes=2 --ntasks-per-node=1
  until_step "$folder/out" "$step"
  began=$EPOCHREALTIME
  "$@"
  wait_until "$bound" is_requeued "$job" 1 || flunk "$name: is not put back into the queue ($(state_of "$job")): $(tail -n 3 "$log")"
  took=$(awk "BEGIN {printf \"%.0f\", $EPOCHREALTIME - $began}")
}

comes_back() {
  local name=$1
  wait_until "$bound" nodes_are_idle 2
  wait_until "$bound" machines_are_quiet
  sleep 1.5
  scontrol update "jobid=$job" StartTime=now
  until_over "$name" "$job" COMPLETED
  same_bytes "$name" "$folder/out"
}

lost "cable" srun 30 ip -n n1 link set eth0 down
ip -n n1 link set eth0 up
comes_back "cable"
record "15" "T43" cable "a machine's cable is pulled: requeued, goes on from a checkpoint, same bytes" "in the queue again after $took s, on from $(resumed_at)"

if [ "${2:-}" = all ]; then
  lost "cable, mpirun" mpirun 30 ip -n n1 link set eth0 down
  ip -n n1 link set eth0 up
  comes_back "cable, mpirun"
  record "15" "T43" cable_mpirun "the same under mpirun" "in the queue again after $took s, on from $(resumed_at)"
  # A run goes on without it, so this one has to be slow.
  export QLORA_FAULT='*:21:asked=40:step'
  lost "slurmd" srun 20 kill -KILL "${slurmd_of[1]}"
  start_slurmd 1
  comes_back "slurmd"
  record "15" "T43" slurmd "slurmd of a machine is killed: requeued, same bytes" "in the queue again after $took s, on from $(resumed_at)"
fi
finish
