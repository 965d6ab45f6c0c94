#!/usr/bin/env bash
# Ranks that were not given the same: refused before the first step, and nothing is written.
#   mismatch.sh BIN_FOLDER [all]
# shellcheck source=tests/faults/harness.sh
. "$(dirname "$0")/harness.sh" "$1" "${2:-}"

# differs NAME STATUS PATTERN KEY=VALUE...: rank 1 has these keys, rank 0 has not
differs() {
  local name=$1 wanted=$2 pattern=$3
  shift 3
  as_job "$worker" 1 "$name"
  run_bounded mpirun -np 1 "${job[@]}" : -np 1 "${job[@]}" "$@"
  exits "$name" "$wanted"
  expect_line "$name: says what" "error: rank [01]: $pattern"
  if grep -q '^step 1 of' "$scratch/err"; then flunk "$name: trained"; else pass "$name: refused before step 1"; fi
  if [ -e "$scratch/$name/adapter_model.safetensors" ] || compgen -G "$scratch/$name/checkpoint-*" >/dev/null; then flunk "$name: left an adapter"; fi
  nothing_left "$name"
  figure="exit status $status in $seconds s"
}

differs config 65 'the configuration is not the same on all ranks' learning_rate=1e-3
record "8" "T5" config "rank 1 has another learning_rate: refused before step 1" "$figure"
differs seed 65 'the configuration is not the same on all ranks' seed=7
record "8" "T5" seed "rank 1 has another seed: the same" "$figure"
head -n 59 "$scratch/data.jsonl" >"$scratch/other.jsonl"
differs data 65 'the (configuration|data set) is not the same on all ranks' dataset="$scratch/other.jsonl"
record "8" "T5" data "rank 1 has a data set that is one record shorter: the same" "$figure"
mkdir "$scratch/elsewhere"
sed 's/[0-9]/7/' "$scratch/data.jsonl" >"$scratch/elsewhere/data.jsonl"
as_job "$worker" 1 same-name
job=("${job[@]/#examples/$top/examples}" model_name_or_path="$top/examples/model" dataset=data.jsonl)
run_bounded mpirun -np 1 -wdir "$scratch" "${job[@]}" : -np 1 -wdir "$scratch/elsewhere" "${job[@]}"
exits same_name 65
expect_line "same_name: says what" 'error: rank 0: the data set is not the same on all ranks'
record "8" "T5" same_name "a data set of the same name with other records on rank 1: refused by its digest" "exit status $status in $seconds s"
# ---- in the middle of a run: no rank makes the step ----
# votes NAME FAULT STATUS PATTERN
votes() {
  local name=$1 fault=$2 wanted=$3 pattern=$4
  suffer "$name" 2 "$fault"
  exits "$name" "$wanted"
  expect_line "$name: says what" "qlora: error: .*$pattern"
  within "$name: down" "$down" "${limit:-1}"
  if grep -q '"event": "step", "step": 15,' "$scratch/$name/metrics.jsonl"; then flunk "$name: step 15 was made"; else pass "$name: refused before step 15 was made"; fi
  nothing_left "$name"
  figure="exit status $status, down in $down s"
  go_on "$name" 2
  figure="$figure, went on from step $resumed_at"
}
votes vote_step 1:15:cursor 65 'rank 0 is in step 15, rank 1 in another'
record "8" "" vote_step "rank 1 is in another step than rank 0: refused by the vote of the step; goes on to the same bytes" "$figure"
votes vote_config 0:15:config 65 'configuration of rank 1 is not that of rank 0'
record "8" "" vote_config "rank 0 has another configuration from step 15 on: the same" "$figure"
votes vote_data 1:15:data 65 'rows of this step are others on rank 1'
record "8" "" vote_data "rank 1 has other rows in step 15: the same" "$figure"
votes vote_generation 1:15:generation 75 'rank 0 belongs to start 1 of the run, rank 1 to another'
record "8 15" "" vote_generation "rank 1 belongs to another start of the run: the same, 75" "$figure"
# Nothing can be read off a ballot that has met another exchange: it ends at W.
QLORA_STEP_TIMEOUT=3 limit=4 votes one_more 1:15:seq 75 'rank [01] .*exchange .*step 15'
record "8" "" one_more "rank 1 makes an exchange more than the others: W = 3 s: nothing it says is taken for something else, 75 within W + 1 s" "$figure"

differs missing 65 'rank 1 failed: .*none.jsonl' dataset="$scratch/none.jsonl"
record "7" "" missing "rank 1 does not find its data set while rank 0 waits: all end, and rank 0 says which rank and why" "$figure"
finish
