#!/usr/bin/env bash
# qlora prepare as people use it: what it says, that a run takes what it kept and comes to the same bytes, and a kill in its middle.
# usage: prepare.sh BUILD/bin
# shellcheck source=tests/support/shell.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/shell.sh" "$1"
cd "$top" || exit 1
kept=$XDG_CACHE_HOME/qlora

cat >"$scratch/run.yaml" <<END
model_name_or_path: examples/model
dataset: {path: examples/data/train.jsonl, max_records: 400}
eval_dataset: examples/data/eval.jsonl
output_dir: $scratch/none
max_steps: 1
global_batch_size: 2
eval_strategy: "no"
device: cpu
END

# expect_text NAME PATTERN: standard output of the last command has a line that matches
expect_text() {
  if grep -Eq -- "$2" "$scratch/out"; then pass "$1"; else flunk "$1: no line like '$2' in: $(cat "$scratch/out")"; fi
}

# expect NAME COMMAND...: it ends with 0
expect() {
  local name=$1
  shift
  if "$@"; then pass "$name"; else flunk "$name"; fi
}

count_files() {
  find "$kept" -name "$1" | wc -l
}

expect_status 'prepare' 0 "$bin/qlora" prepare "$scratch/run.yaml"
expect_text 'it says what it kept' '^examples/data/train.jsonl: prepared, and kept'
expect_text 'and what that is' '^training +400 records .* targets, in [0-9]+ rows'
expect_status 'prepare again' 0 "$bin/qlora" prepare "$scratch/run.yaml"
expect_text 'there is nothing to do' '^nothing to do'
expect_status 'another length' 0 "$bin/qlora" prepare "$scratch/run.yaml" max_length=512
expect_text 'it says what changed' '^examples/data/eval.jsonl: prepared anew: max_length changed'
expect_status 'nowhere to keep it' 64 "$bin/qlora" prepare "$scratch/run.yaml" dataset_cache=false
expect_status 'a folder that cannot be' 74 "$bin/qlora" prepare "$scratch/run.yaml" dataset_cache=/proc/none

expect_status 'a run on what was kept' 0 "$worker" "$scratch/run.yaml" "output_dir=$scratch/warm"
expect_line 'it says so' '^ +examples/data/train.jsonl: cached \(prepared '
expect_status 'a run that reads' 0 "$worker" "$scratch/run.yaml" "output_dir=$scratch/cold" dataset_cache=false
expect 'both come to the same adapter' cmp "$scratch/warm/adapter_model.safetensors" "$scratch/cold/adapter_model.safetensors"

rm -rf "$kept"
for ((i = 0; i < 20; i++)); do cat examples/data/train.jsonl; done >"$scratch/large.jsonl"
large=("$scratch/run.yaml" "dataset=$scratch/large.jsonl" eval_dataset=null)
"$bin/qlora" prepare "${large[@]}" >/dev/null 2>&1 &
victim=$!
while kill -0 "$victim" 2>/dev/null && ! compgen -G "$kept/*.tokens.tmp-*" >/dev/null; do sleep 0.01; done
kill -KILL "$victim"
wait "$victim" 2>/dev/null
expect 'a killed process keeps nothing' [ "$(count_files '*.tokens')" = 0 ]
"$worker" --check "${large[@]}" >"$scratch/one" 2>&1 &
one=$!
"$worker" --check "${large[@]}" >"$scratch/two" 2>&1 &
two=$!
expect 'one of two at once' wait "$one"
expect 'the other one' wait "$two"
expect 'just one of them prepares' [ "$(grep -l 'prepared, and kept' "$scratch/one" "$scratch/two" | wc -l)" = 1 ]
expect 'the other one takes it' [ "$(grep -l 'cached (prepared' "$scratch/one" "$scratch/two" | wc -l)" = 1 ]
expect 'one file is there' [ "$(count_files '*.tokens')" = 1 ]
expect 'and no lock' [ "$(count_files '*.lock')" = 0 ]

printf '%d checks, %d failed\n' "$checks" "$failures"
exit "$((failures > 0))"
