#!/usr/bin/env bash
# The time is up; a job that fails for ever; jobs that may not be requeued; chains and sweeps.
#   limits.sh BIN_FOLDER [all]
# shellcheck source=tests/slurm/harness.sh
. "$(dirname "$0")/harness.sh" "$@"
cluster_up 2
folder="$scratch/a run"

write_config "$folder" 40
undisturbed "$folder"

# ---- a minute's limit: asked 55 seconds before, or up to a minute earlier than that ----
export QLORA_FAULT=$at_20
figure=''
for template in ${2:+mpirun} srun; do
  before=USR1@55
  [ "$template" = srun ] || before=B:$before
  submit "$folder" "$template" --nodes=1 --ntasks-per-node=2 --time=1 --signal="$before"
  began=$EPOCHREALTIME
  wait_until "$bound" test -e "$folder/out/run/outcome"
  took=$(awk "BEGIN {printf \"%.0f\", $EPOCHREALTIME - $began}")
  until_requeued "$template: time" "$job" 1
  scontrol update "jobid=$job" TimeLimit=30
  until_over "$template: time" "$job" COMPLETED
  same_bytes "$template: time" "$folder/out"
  exact "$template: time"
  figure+="${figure:+; }$template: asked and saved $took s after sbatch, at step $(stopped_at)"
done
record "29" "T39" time "the time is nearly up: saved, requeued, goes on at the exact step" "a minute's limit, 55 s before: $figure"

# ---- where requeueing is not allowed, or there is no scontrol ----
mkdir "$scratch/without"
printf '#!/bin/sh\nexit 127\n' >"$scratch/without/scontrol"
chmod +x "$scratch/without/scontrol"
for options in "--no-requeue" "--export=ALL,PATH=$scratch/without:$PATH"; do
  submit "$folder" srun "$options"
  until_step "$folder/out" 19
  scancel -b -s USR1 "$job"
  until_over "no requeue" "$job" FAILED
  logged "no requeue: said" "job $job: is not requeued: Slurm does not allow it"
  if grep -q "^To go on from step $(stopped_at) submit" "$folder/out/run/REQUEUE"; then pass "no requeue: what to do is written down"; else flunk "no requeue: there is no run/REQUEUE"; fi
  if [ "$(fact_of "$job" ExitCode)" = 85:0 ]; then pass "no requeue: 85"; else flunk "no requeue: $(fact_of "$job" ExitCode)"; fi
done
record "30" "T39" no_requeue "requeueing refused, and no scontrol: run/REQUEUE says what to type, 85" "stopped at $(stopped_at)"

# ---- a chain: one job after the other ----
submit "$folder" srun --no-requeue --array=1-3%1
until_step "$folder/out" 19
scancel -s USR1 "${job}_1"
until_over "chain: 1" "${job}_1" FAILED
logged "chain: 1 leaves it to the next" "job ${job}_1: stops at step $(stopped_at); the next job of the chain goes on"
until_over "chain: 2" "${job}_2" COMPLETED
same_bytes "chain: 2" "$folder/out"
exact "chain"
until_over "chain: 3" "${job}_3" COMPLETED
logged "chain: 3 has nothing to do" "job ${job}_3: the run is done"
record "29" "T42" chain "a chain of three jobs: the second does the rest, the third exits at once" "stopped at $(stopped_at), went on from $(resumed_at)"

# ---- a run that dies each time ----
export QLORA_FAULT=0:30:kill:step
submit "$folder" srun --ntasks-per-node=2
for again in 1 2 3; do until_requeued "dies: $again" "$job" "$again"; done
until_over "dies" "$job" FAILED
logged "dies: given up" "job $job: is not requeued: 3 restarts in a row have brought no newer checkpoint"
if [ "$(restarts_of "$job")" = 3 ]; then pass "dies: three restarts"; else flunk "dies: $(restarts_of "$job") restarts"; fi
record "27" "T41" endless "a run that dies at the same step each time: given up after three restarts without a newer checkpoint" "on from $(resumed_at)"
export QLORA_FAULT=0:5:kill:step
submit "$folder" srun
until_requeued "dies before a checkpoint" "$job" 1
logged "dies before a checkpoint: said" "job $job: goes on from step 0;"
scancel "$job"
export QLORA_FAULT=''

# ---- refused runs are not tried again ----
write_config "$folder" 40 "lora_rr: 3"
submit "$folder" srun --ntasks-per-node=2
until_over "refused" "$job" FAILED
logged "refused: said" "job $job: is not requeued: the run was refused \(exit status 64\)"
write_config "$folder" 40
submit "$folder" srun --export=ALL,PATH=/usr/bin:/bin
until_over "no worker" "$job" FAILED
logged "no worker: said" "qlora-worker: is not on this machine"
submit "$folder" mpirun --export=ALL,OMPI_ALLOW_RUN_AS_ROOT=
until_over "root without leave" "$job" FAILED
logged "root without leave: said" "mpirun starts nothing as root"
if [ -e "$folder/out" ]; then flunk "refused: left an output folder"; else pass "refused: nothing is left"; fi
record "7" "T41" refused "a run that is refused (64) is not tried again" "$(fact_of "$job" ExitCode)"

# ---- a sweep ----
printf '# three runs\nlearning_rate=1e-3 lora_r=2\n\nlearning_rate=5e-3\tlora_r=4\nlora_alpha=16' >"$folder/sweep.txt"
rm -rf "$folder/sweep"
export QLORA_FAULT='*:20:signal=10:step' # USR1, to itself
submit "$folder" sweep --array=1-4%2
for i in 1 2 3; do until_requeued "sweep: $i" "${job}_$i" 1; done
settings=("learning_rate=1e-3 lora_r=2" "learning_rate=5e-3 lora_r=4" "lora_alpha=16")
for i in 1 2 3; do
  until_over "sweep: $i" "${job}_$i" COMPLETED
  read -ra words <<<"${settings[i - 1]}"
  undisturbed "$folder" "${words[@]}"
  same_bytes "sweep: $i" "$folder/sweep/$i"
done
until_over "sweep: 4" "${job}_4" FAILED
logged "sweep: 4 has no line" 'sweep.txt: has no line 4'
record "29" "T42" sweep "an array of runs, one line of settings each; each stopped and requeued alone" "stopped at $(stopped_at)"
finish
