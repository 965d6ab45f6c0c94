#!/usr/bin/env bash
# qlora submit with a real Slurm: the run as it is wanted, and what Slurm refuses.
#   submit.sh BIN_FOLDER
# shellcheck source=tests/slurm/harness.sh
. "$(dirname "$0")/harness.sh" "$@"
cluster_up 2
folder="$scratch/a run"
write_config "$folder" 40
undisturbed "$folder"
cd "$folder" || exit 1

# submitted OPTION-OR-WORD...: $job, with its log in $log
submitted() {
  rm -rf out
  expect_status "qlora submit $*" 0 qlora submit "$@" config.yaml
  job=$(cat "$scratch/out")
  log=$folder/qlora-$job.log
}

export QLORA_FAULT=$at_20
for mpi in auto mpirun; do
  submitted --nodes 2 --gpus-per-node 2 --time 30 --mpi $mpi
  until_step out 19
  scancel -b -s USR1 "$job"
  until_requeued "$mpi" "$job" 1
  until_over "$mpi" "$job" COMPLETED
  same_bytes "$mpi" out
  exact "$mpi"
done
if [ "$(fact_of "$job" TimeLimit)" = 00:30:00 ] && [ "$(fact_of "$job" NumNodes)" = 2 ]; then pass "its values"; else flunk "other values: $(fact_of "$job" TimeLimit)"; fi
expect_status "the next one" 0 qlora submit --dry-run config.yaml
expect_line "the next one knows how slow steps are" 'the longest of earlier starts'

export QLORA_FAULT=''
# A whole chain, from another folder than the job's.
rm -rf out
expect_status "a script for later" 0 qlora submit --chain 2 --output-script "$scratch/later.sbatch" config.yaml
job=$(cd / && sbatch --parsable "$scratch/later.sbatch")
log=$folder/qlora-$job.log
until_over "chain: 1" "${job}_1" COMPLETED
until_over "chain: 2" "${job}_2" COMPLETED
same_bytes "chain" out
logged "chain: 2 has nothing to do" "job ${job}_2: the run is done"

expect_status "no such partition" 64 qlora submit --partition nowhere config.yaml
expect_line "no such partition: in sbatch's words" 'error: sbatch: .*[Ii]nvalid partition'
for more in --gpus-per-node --nodes; do # Slurm takes them all the same
  expect_status "more than there is: $more" 0 qlora submit $more 9 config.yaml
  expect_line "more than there is: $more: said" 'warning: job [0-9]* asks for more than its partition ever gives \(Partition'
  scancel "$(cat "$scratch/out")"
done
if [ -z "$(squeue -h)" ]; then pass "nothing waits"; else flunk "something waits"; fi
kill -KILL "$slurmctld"
wait "$slurmctld" 2>/dev/null
SECONDS=0
expect_status "no controller" 75 qlora submit config.yaml
record "30" "T12" refusals "a partition that is not there: 64 in sbatch's words; no controller: 75" "75 after $SECONDS s"
finish
