#!/usr/bin/env bash
# Requests to stop that come by scancel, at any moment; each start goes on at the exact step.
#   stops.sh BIN_FOLDER
# shellcheck source=tests/slurm/harness.sh
. "$(dirname "$0")/harness.sh" "$@"
cluster_up 2
folder="$scratch/a run"
write_config "$folder" 40
undisturbed "$folder"

# finishes NAME: the second start of the job does the rest
finishes() {
  until_requeued "$1" "$job" 1
  until_over "$1" "$job" COMPLETED
  same_bytes "$1" "$folder/out"
  exact "$1"
  nothing_left "$1"
}

# asked NAME TEMPLATE FAULT SBATCH-OPTIONS COMMAND...: the first start lingers where the fault has it, and is asked by the command with the job behind it
asked() {
  local name=$1 template=$2 options began
  export QLORA_FAULT=$3
  read -ra options <<<"$4"
  shift 4
  submit "$folder" "$template" "${options[@]}"
  wait_until "$bound" lingers || flunk "$name: never gets there: $(tail -n 3 "$log")"
  began=$EPOCHREALTIME
  "$@" "$job"
  wait_until "$bound" test -e "$folder/out/run/outcome"
  took=$(awk "BEGIN {printf \"%.1f\", $EPOCHREALTIME - $began}")
  finishes "$name"
}
# Each rank says so.
lingers() {
  grep -q '^hook: rank' "$log" 2>/dev/null
}

asked "srun: to the script" srun "$at_20" "--nodes=2 --ntasks-per-node=1" scancel -b -s USR1
figure="srun: saved after $took s, at step $(stopped_at)"
asked "mpirun: to the script" mpirun "$at_20" "--nodes=2 --ntasks-per-node=1" scancel -b -s USR1
record "29" "T39" usr1_script "USR1 to the batch script, both templates: saved, requeued, log appended, goes on at the exact step" "$figure; mpirun: after $took s, at step $(stopped_at)"
asked "srun: to the steps" srun "$at_20" "--nodes=1 --ntasks-per-node=2" scancel -s USR1
record "29" "T39" usr1_steps "USR1 to the job's steps under srun: the same" "saved after $took s, at step $(stopped_at)"

asked "requeued by hand" srun "$at_20" "--nodes=1 --ntasks-per-node=2" scontrol requeue
record "29" "T39" by_hand "scontrol requeue while it runs: the ranks get TERM and save; the same" "saved after $took s, at step $(stopped_at)"
asked "during a save" srun "0:20:asked=55:save" "--nodes=1 --ntasks-per-node=2" scancel -b -s USR1
figure="in the save of 20: stopped at $(stopped_at)"
asked "before MPI_Init" srun "*:0:asked=12:init" "--nodes=1 --ntasks-per-node=2" scancel -b -s USR1
figure+="; before MPI_Init: at $(stopped_at)"
record "29" "T39" odd_moments "USR1 while a checkpoint is written, or before MPI_Init: the same" "$figure"

# As the job begins: the request is heard, or ends what was about to start, or the run is done before it is heard.
export QLORA_FAULT=''
has_had_enough() {
  is_requeued "$job" 1 || is_over "$job"
}
for template in srun mpirun; do
  submit "$folder" "$template" --nodes=1 --ntasks-per-node=2
  wait_until "$bound" is_in_state "$job" RUNNING
  scancel -b -s USR1 "$job"
  wait_until "$bound" has_had_enough
  is_over "$job" || until_requeued "$template, at the start" "$job" 1
  until_over "$template, at the start" "$job" COMPLETED
  same_bytes "$template, at the start" "$folder/out"
done
record "29" "T39" at_the_start "USR1 as the job begins, both templates: requeued, or done before it is heard; same bytes" "mpirun: stopped at '$(stopped_at)'"

# ---- cancelled: the checkpoint is there, the job is not ----
figure=''
for template in srun mpirun; do
  export QLORA_FAULT=$at_20
  submit "$folder" "$template" --nodes=1 --ntasks-per-node=2
  wait_until "$bound" lingers
  scancel "$job"
  until_over "cancelled, $template" "$job" CANCELLED
  nothing_left "cancelled, $template"
  if [ "$(restarts_of "$job")" = 0 ]; then pass "cancelled, $template: stays away"; else flunk "cancelled, $template: came back"; fi
  mv "$folder/out" "$folder/kept"
  export QLORA_FAULT=''
  submit "$folder" "$template" --hold --nodes=2
  mv "$folder/kept" "$folder/out"
  scontrol release "$job"
  until_over "cancelled, $template: submitted again" "$job" COMPLETED
  same_bytes "cancelled, $template: submitted again" "$folder/out"
  figure+="${figure:+; }$template: in step 20, went on from $(resumed_at)"
done
record "11" "T39" scancel "plain scancel, both templates: not requeued; submitted again it goes on from the last checkpoint" "$figure"

submit "$folder" srun --begin=now+1hour
scancel "$job"
until_over "cancelled while it waits" "$job" CANCELLED
if [ -e "$folder/out" ] || [ -e "$log" ]; then flunk "cancelled while it waits: left something"; else pass "cancelled while it waits: nothing is there"; fi
finish
