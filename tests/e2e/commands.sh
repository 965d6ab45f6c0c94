#!/usr/bin/env bash
# Every command of the contract on the example model, and what it prints.   commands.sh BIN_FOLDER
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/../support/shell.sh" "$1"
cd "$top" || exit 1
qlora=$bin/qlora
out=$scratch/run
head -n 40 examples/data/train.jsonl >"$scratch/data.jsonl"
head -n 6 examples/data/eval.jsonl >"$scratch/eval.jsonl"
keys=(output_dir="$out" dataset="$scratch/data.jsonl" eval_dataset="$scratch/eval.jsonl" max_steps=3 eval_strategy=steps eval_steps=2
  num_train_epochs=1 device=cpu)

has() { # NAME PATTERN FILE
  if grep -Eq -- "$2" "$3"; then pass "$1"; else flunk "$1: no '$2' in $3: $(head -c 300 "$3")"; fi
}

expect_status "train" 0 "$worker" examples/demo.yaml "${keys[@]}"
expect_line "train says the model" '^model .*Llama'
expect_line "train says the data" '^data .*40 records \(question\+answer\)'
expect_line "train says the plan" '^plan '
for file in adapter_model.safetensors adapter_config.json metrics.jsonl config.yaml run.log checkpoint-00000003/state.h5; do
  if [ -s "$out/$file" ]; then pass "$file"; else flunk "$file is not there"; fi
done
if [ "$(grep -c '"event": "step"' "$out/metrics.jsonl")" = 3 ]; then pass "three step lines"; else flunk "step lines"; fi
has "step line" '"event": "step", "step": 2, "epoch": .*"loss": .*"grad_norm": .*"learning_rate": .*"target_tokens": .*"num_input_tokens_seen": .*"step_seconds": .*"tokens_per_second": .*"peak_memory_bytes": ' "$out/metrics.jsonl"
# Times of phases: all there, and together no longer than the steps.
seconds() { grep '"event": "step"' "$out/metrics.jsonl" | grep -Eo "\"($1)_seconds\": [^,]*" | awk '{s += $2} END {print s + 0}'; }
for phase in forward head backward exchange update; do
  if awk "BEGIN {exit !($(seconds "$phase") > 0)}"; then pass "${phase}_seconds"; else flunk "${phase}_seconds: $(seconds "$phase")"; fi
done
phases=$(seconds 'forward|head|backward|exchange|update')
if awk "BEGIN {exit !($phases <= $(seconds step))}"; then pass "phases fit in steps"; else flunk "phases $phases, steps $(seconds step)"; fi
if grep -q loss_scale "$out/metrics.jsonl"; then flunk "a loss scale in float32"; else pass "no loss scale in float32"; fi
has "eval line" '"event": "eval", "step": 2, "eval_loss": .*"perplexity": .*"target_tokens": ' "$out/metrics.jsonl"
if grep -q $'\033' "$scratch/err"; then flunk "control characters on a pipe"; else pass "no control characters on a pipe"; fi

# The resolved configuration can be run again, and gives the same bytes.
expect_status "resolved configuration" 0 "$worker" "$out/config.yaml" output_dir="$scratch/again"
if cmp -s "$out/adapter_model.safetensors" "$scratch/again/adapter_model.safetensors"; then pass "same bytes"; else flunk "the resolved configuration gives other bytes"; fi

# Rows of evaluation that are longer than any row of training have room, too.
printf '{"question": "1 + %d?", "answer": "%d"}\n' 1 2 2 3 3 4 >"$scratch/short.jsonl"
long=(dataset="$scratch/short.jsonl" eval_dataset=examples/data/eval.jsonl packing=false max_steps=1)
expect_status "long rows of evaluation" 0 "$worker" examples/demo.yaml "${long[@]}" output_dir="$scratch/long"
in_training=$(grep -o '"eval_loss": [0-9.]*' "$scratch/long/metrics.jsonl" | tail -n 1)
expect_status "the same afterwards" 0 "$worker" --eval --adapter "$scratch/long" examples/demo.yaml "${long[@]}"
has "and the same loss" "${in_training:-no loss}" "$scratch/out"

expect_status "plan" 0 "$qlora" plan examples/demo.yaml
has "plan table" '^  total +[0-9.]+ [MG]iB' "$scratch/out"
expect_status "plan as JSON" 0 "$worker" --plan --json examples/demo.yaml
has "plan JSON" '"total_bytes": [0-9]+' "$scratch/out"
has "plan JSON has the ladder" '"ladder": \[\{"rung": 0, "name": ".*"total_bytes": [0-9]+.*"extra_time": ' "$scratch/out"
expect_status "plan for a card that is not there" 0 "$qlora" plan --device cuda --max-memory 16GiB -n 8 examples/demo.yaml
has "plan says for what" '^memory of each of 8 ranks, cuda, products in bfloat16$' "$scratch/out"
has "what lies on the host" '^on the host$' "$scratch/out"
has "decoded weights take what is left" '^  decoded weights ' "$scratch/out"
has "moments may go to the host" "AdamW's moments on the host" "$scratch/out"
expect_status "a card that is not there has no memory to ask for" 64 "$qlora" plan --device cuda examples/demo.yaml
expect_line "the cure is named" '--max-memory 16GiB'
expect_status "a small matrix is decoded in the least scratch" 0 "$qlora" plan --json --device cuda --max-memory 16GiB examples/demo.yaml
has "of 16 MiB beside 64 for products" "\"kernels\": $((80 * 1024 * 1024))," "$scratch/out"

# What is free is told a moment earlier, so that it is compared roughly.
number() { grep -o "\"$1\": [0-9]*" "$scratch/out" | head -n 1 | grep -o '[0-9]*$'; }
"$worker" --probe --json >"$scratch/out"
free=$(number bytes_free)
for ranks in 1 4; do
  expect_status "plan of $ranks ranks" 0 "$qlora" plan --json -n "$ranks" examples/demo.yaml
  percent=$((100 * ranks * $(number limit_bytes) / free))
  if [ "$percent" -ge 72 ] && [ "$percent" -le 88 ]; then pass "and share 80 % of what is free"; else flunk "$ranks ranks plan for $percent % of what is free"; fi
done
expect_status "too little for any rung" 64 "$qlora" plan --max-memory 30MiB examples/demo.yaml
expect_line "the smallest that would do" 'at least [0-9.]+ MiB is needed and 30.0 MiB is allowed'
expect_status "a size that is none" 64 "$qlora" plan --max-memory lots examples/demo.yaml
expect_status "check" 0 "$worker" --check examples/demo.yaml "${keys[@]}"
expect_status "probe" 0 "$worker" --probe --json
has "probe JSON" '"kind": "cpu"' "$scratch/out"

expect_status "eval per record" 0 "$worker" --eval --per-record examples/demo.yaml "${keys[@]}"
if [ "$(wc -l <"$scratch/out")" = 6 ]; then pass "a line per record"; else flunk "lines per record: $(wc -l <"$scratch/out")"; fi
has "record line" '^\{"record": 0, "nll": [0-9.]+, "tokens": [0-9]+\}$' "$scratch/out"
cp "$scratch/out" "$scratch/base-records"
expect_status "eval with the adapter" 0 "$worker" --eval --per-record --adapter "$out" examples/demo.yaml "${keys[@]}"
if cmp -s "$scratch/out" "$scratch/base-records"; then flunk "the adapter changes nothing"; else pass "the adapter changes the scores"; fi
expect_status "eval without packing" 0 "$worker" --eval --per-record examples/demo.yaml "${keys[@]}" packing=false
if cmp -s "$scratch/out" "$scratch/base-records"; then pass "packing does not change a bit of the scores"; else flunk "packing changes scores"; fi

expect_status "inspect" 0 "$qlora" inspect examples/demo.yaml --rows 0:2 "${keys[@]}"
expect_status "inspect as JSON" 0 "$qlora" inspect examples/demo.yaml --json "${keys[@]}"
has "inspect JSON" '^\{"row": 0, "input_ids": \[.*"labels": \[.*-100.*"documents": \[\{"record": [0-9]+, "start": 0, "length": [0-9]+\}' "$scratch/out"
expect_status "inspect as a page" 0 "$qlora" inspect examples/demo.yaml --html "$scratch/page.html" --rows 1:3 --tokens "${keys[@]}"
expect_line "the page is named" 'page\.html shows what will be trained on'
has "the page" '<section class="row" id="r2">' "$scratch/page.html"
expect_status "a page or JSON" 64 "$qlora" inspect examples/demo.yaml --html "$scratch/page.html" --json "${keys[@]}"
expect_status "a page that cannot be written" 74 "$qlora" inspect examples/demo.yaml --html "$scratch/nowhere/page.html" "${keys[@]}"

printf '"Hello world"\n"a\\nb"\n' >"$scratch/texts"
"$qlora" tokenize --model examples/model <"$scratch/texts" >"$scratch/ids" 2>"$scratch/err" && pass "tokenize" || flunk "tokenize: $(cat "$scratch/err")"
has "ids" '^\[[0-9]+(, [0-9]+)*\]$' "$scratch/ids"
"$qlora" tokenize --no-special --model examples/model <"$scratch/texts" >"$scratch/ids" 2>"$scratch/err"
"$qlora" detokenize --model examples/model <"$scratch/ids" >"$scratch/back" 2>"$scratch/err"
if cmp -s "$scratch/texts" "$scratch/back"; then pass "there and back"; else flunk "there and back: $(cat "$scratch/back")"; fi

expect_status "quantize" 0 "$qlora" quantize --model examples/model --out "$scratch/model-4bit"
expect_status "eval of the original" 0 "$worker" --eval --per-record examples/demo.yaml "${keys[@]}"
cp "$scratch/out" "$scratch/original"
expect_status "eval of the 4-bit folder" 0 "$worker" --eval --per-record examples/demo.yaml "${keys[@]}" model_name_or_path="$scratch/model-4bit"
if cmp -s "$scratch/out" "$scratch/original"; then pass "quantised before or while loading: same scores"; else flunk "the 4-bit folder scores otherwise"; fi
expect_status "quantize refuses what is there" 64 "$qlora" quantize --model examples/model --out "$scratch/model-4bit"

expect_status "generate" 0 "$qlora" generate --model examples/model --adapter "$out" --json --max-new-tokens 8 load_in_4bit=false "Tom has 3 apples"
has "generate JSON" '^\{"prompt": "Tom has 3 apples", "text": ".*", "tokens": \[[0-9, ]+\]\}$' "$scratch/out"
cp "$scratch/out" "$scratch/greedy"
expect_status "generate again" 0 "$qlora" generate --model examples/model --adapter "$out" --json --max-new-tokens 8 load_in_4bit=false "Tom has 3 apples"
if cmp -s "$scratch/out" "$scratch/greedy"; then pass "greedy is repeatable"; else flunk "greedy text differs"; fi
expect_status "generate sampled" 0 "$qlora" generate --model examples/model --temperature 0.8 --top-p 0.9 --seed 3 --max-new-tokens 8 "Tom has 3 apples"

# More files at once than a device that is full can take: the old checkpoint survives.
if mount -t tmpfs -o size=6m none "$scratch/again" 2>/dev/null; then
  expect_status "disk full" 74 "$worker" examples/demo.yaml "${keys[@]}" output_dir="$scratch/again" lora_r=64
  expect_line "disk full is named" "$scratch/again.*(No space left|free)"
  umount "$scratch/again"
else
  echo "not here: mounting a small disk"
fi
finish
