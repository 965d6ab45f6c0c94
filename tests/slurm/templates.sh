#!/usr/bin/env bash
# Both templates as they stand, on one and two machines with one and two ranks each, end with the bytes of a run without Slurm; and wrong ways to
# start a worker under Slurm.
#   templates.sh BIN_FOLDER
# shellcheck source=tests/slurm/harness.sh
. "$(dirname "$0")/harness.sh" "$@"
ln -sf "$bin/qlora-worker" "$scratch/bin/qlora-worker" # no hook here
cluster_up 2
folder="$scratch/a run" # with a blank
write_config "$folder" 40
undisturbed "$folder"
for template in srun mpirun; do
  for nodes in 1 2; do
    for ranks in 1 2; do
      name="$template, $nodes x $ranks"
      submit "$folder" "$template" --nodes="$nodes" --ntasks-per-node="$ranks" --gpus-per-node="$ranks"
      until_over "$name" "$job" COMPLETED
      same_bytes "$name" "$folder/out"
      if grep -q "\"world_size\": $((nodes * ranks))" "$folder/out/metrics.jsonl"; then pass "$name: all ranks"; else flunk "$name: other ranks"; fi
      if [ "$(cat "$folder/out/run/outcome")" = "done 40" ]; then pass "$name: its outcome"; else flunk "$name: no outcome"; fi
    done
  done
done
record "29" "T38" templates "both templates as they stand, 1 and 2 machines, 1 and 2 ranks each: the bytes of a run without Slurm" "$checks checks, $failures failed"
nothing_left "templates"

# ---- wrong starts ----
cd "$folder" || exit 1
expect_status "srun without PMIx" 64 timeout 60 srun --mpi=none -n 2 -N 1 qlora-worker config.yaml
expect_line "srun without PMIx: the cure" 'srun --mpi=pmix'
# In a salloc shell a worker is one process, whatever the variables say.
expect_status "in a salloc shell" 0 timeout 120 salloc -N 1 -n 2 qlora-worker config.yaml output_dir=in-shell
if [ "$(digest in-shell)" = "$wanted" ]; then pass "in a salloc shell: the same bytes"; else flunk "in a salloc shell: other bytes"; fi
expect_status "one task without PMIx" 0 timeout 120 srun --mpi=none -n 1 qlora-worker config.yaml output_dir=one-task
record "6" "T12" starts "srun without PMIx: one helpful line, 64; a salloc shell or one task: a run of one rank" "64; same bytes"
finish
