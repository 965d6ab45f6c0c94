#!/usr/bin/env bash
# Requests to stop that come through Slurm: by scancel, before the time is up, at odd moments; each start goes on at the exact step.
#   stops.sh BIN_FOLDER [all]
# shellcheck source=tests/slurm/harness.sh
. "$(dirname "$0")/harness.sh" "$@"
cluster_up 2
folder="$scratch/a run"
write_config "$folder" 150
undisturbed "$folder"

# finishes NAME: the second start of the job does the rest
finishes() {
  until_requeued "$1" "$job" 1
  until_over "$1" "$job" COMPLETED
  same_bytes "$1" "$folder/out"
  nothing_left "$1"
}

# asked NAME TEMPLATE STEP SBATCH-OPTIONS COMMAND...: the first start is asked to stop after the step by the command, with the job behind it
asked() {
  local name=$1 template=$2 step=$3 options began
  read -ra options <<<"$4"
  shift 4
  submit "$folder" "$template" "${options[@]}"
  if [ "$step" = 0 ]; then wait_until "$bound" is_in_state "$job" RUNNING; else until_step "$folder/out" "$step"; fi
  began=$EPOCHREALTIME
  [ $# = 0 ] || "$@" "$job"
  wait_until "$bound" test -e "$folder/out/run/outcome"
  took=$(awk "BEGIN {printf \"%.1f\", $EPOCHREALTIME - $began}")
  finishes "$name"
  exact "$name"
}

for template in srun mpirun; do
  asked "$template: to the script" "$template" 10 "--nodes=2 --ntasks-per-node=1" scancel -b -s USR1
  record "29" "T39" "usr1_$template" "USR1 to the batch script: saved, requeued, goes on at the exact step, log appended" "saved after $took s, at step $(stopped_at)"
done
asked "srun: to the steps" srun 10 "--nodes=1 --ntasks-per-node=2" scancel -s USR1
record "12 29" "T39" usr1_steps "USR1 to the job's steps under srun: the same" "saved after $took s, at step $(stopped_at)"

# While every step is being saved.
sed -i 's/^save_steps:.*/save_steps: 1/' "$folder/config.yaml"
asked "during a save" srun 5 "--nodes=1" scancel -b -s USR1
sed -i 's/^save_steps:.*/save_steps: 20/' "$folder/config.yaml"
# Before a rank is there. Whether the request is heard or ends what was about to start, no step is lost.
submit "$folder" srun --nodes=1
wait_until "$bound" is_in_state "$job" RUNNING
scancel -b -s USR1 "$job"
finishes "at the start"
record "12 29" "T39" odd_moments "USR1 while a checkpoint is written, and as the job begins: the same" "at step '$(stopped_at)'"

# ---- cancelled: the checkpoint is there, the job is not ----
for template in srun mpirun; do
  submit "$folder" "$template" --nodes=1 --ntasks-per-node=2
  until_step "$folder/out" 10
  scancel "$job"
  until_over "cancelled, $template" "$job" CANCELLED
  nothing_left "cancelled, $template"
  first=$(restarts_of "$job")
  if [ "$first" = 0 ]; then pass "cancelled, $template: stays away"; else flunk "cancelled, $template: came back"; fi
  mv "$folder/out" "$folder/kept"
  stopped=$(stopped_at)
  submit "$folder" "$template" --hold --nodes=2
  mv "$folder/kept" "$folder/out"
  scontrol release "$job"
  until_over "cancelled, $template: submitted again" "$job" COMPLETED
  same_bytes "cancelled, $template: submitted again" "$folder/out"
  record "11" "T39" "scancel_$template" "plain scancel: not requeued; submitted again it goes on from the last checkpoint" "said to have stopped at '$stopped', on from '$(resumed_at)'"
done

submit "$folder" srun --begin=now+1hour
scancel "$job"
until_over "cancelled while it waits" "$job" CANCELLED
if [ -e "$folder/out" ] || [ -e "$log" ]; then flunk "cancelled while it waits: left something"; else pass "cancelled while it waits: nothing is there"; fi
finish
