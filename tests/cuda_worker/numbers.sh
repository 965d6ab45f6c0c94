#!/usr/bin/env bash
# Numbers that go wrong on emulated GPUs: named and left out as on a CPU, the same on any number of GPUs, where the sums hide behind the
# backward pass, too.
#   numbers.sh BIN_FOLDER
# shellcheck source=tests/cuda_worker/common.sh
. "$(dirname "$0")/common.sh" "$1"
export QL_EMU_DEVICES=3
loud=$("$bin/qlora" tokenize --model examples/model --no-special <<<'"Z"' | grep -o '[0-9]*' | tail -n 1)
for i in $(seq 0 8); do
  if [ "$i" = 5 ]; then name='a Z'; else name=nothing; fi
  echo "{\"text\": \"Line $i with $name in it\"}"
done >"$scratch/data.jsonl"
common+=(load_in_4bit=false packing=false global_batch_size=3 max_steps=3 max_length=64 on_nonfinite=skip
  "target_modules=[q_proj,k_proj,v_proj,gate_proj,up_proj]")
make_model() { # NAME VALUE
  "$bin/loud_model" "$scratch/model-$1" "$loud" "$2" && cp examples/model/tokenizer* "$scratch/model-$1"
}

# left_out NAME VALUE PATTERN: on one and on three GPUs
left_out() {
  make_model "$1" "$2"
  train "$1" 1 model_name_or_path="$scratch/model-$1" || flunk "$1: $(tail -n 2 "$scratch/err")"
  expect_line "$1: the record" "step [123]: $3 in record 5 \($scratch/data.jsonl:6\).*; its update is left out"
  if [ "$(grep -c '"skipped": true' "$scratch/$1/metrics.jsonl")" = 1 ]; then pass "$1: one step"; else flunk "$1: not one step"; fi
  same "$1-three-gpus" "$1" 3 model_name_or_path="$scratch/model-$1" per_device_train_batch_size=1
  expect_line "$1: the record on three GPUs" "step [123]: $3 in record 5 \(.*; its update is left out"
}
left_out nan 3e38 'the loss is not finite'
left_out large 1e8 'a gradient is too large for the exact sums \(overflow\)'

# On one GPU by a fault: the step is left out on all, whichever it was.
make_model quiet 0
program=$bin/qlora-worker-faulty-emulated
export QLORA_SPEEDS=10,10,10
QLORA_FAULT=0:2:nan train hit-first 1 model_name_or_path="$scratch/model-quiet" || flunk "hit-first: $(tail -n 2 "$scratch/err")"
QLORA_FAULT=2:2:inf same hit-third hit-first 3 model_name_or_path="$scratch/model-quiet"
expect_line "a gradient on the third" 'step 2: a gradient is not finite, though none is when the same rows are computed again'
finish
