#!/usr/bin/env bash
# Requests to stop that come through Slurm: by scancel, before the time is up, from the user; each start goes on at the exact step.
#   stops.sh BIN_FOLDER
# shellcheck source=tests/slurm/harness.sh
. "$(dirname "$0")/harness.sh" "$@"
cluster_up 2
folder="$scratch/a run"
write_config "$folder" 150
undisturbed "$folder"

# asked NAME TEMPLATE COMMAND...: one start is asked to stop by the command (JOB is put behind it), the second does the rest
asked() {
  local name=$1 template=$2 began
  shift 2
  submit "$folder" "$template" "${options[@]}"
  until_step "$folder/out" 10
  began=$EPOCHREALTIME
  "$@" "$job"
  wait_until "$bound" test -e "$folder/out/run/outcome"
  took=$(awk "BEGIN {printf \"%.1f\", $EPOCHREALTIME - $began}")
  until_requeued "$name" "$job" 1
  until_over "$name" "$job" COMPLETED
  same_bytes "$name" "$folder/out"
  exact "$name"
  nothing_left "$name"
}

options=(--nodes=2 --ntasks-per-node=1)
for template in srun mpirun; do
  asked "$template: to the script" "$template" scancel -b -s USR1
  record "29" "T39" "usr1_$template" "USR1 to the batch script: saved, requeued, goes on at the exact step" "saved after $took s, at step $(stopped_at)"
done
options=(--nodes=1 --ntasks-per-node=2)
asked "srun: to the steps" srun scancel -s USR1
finish
