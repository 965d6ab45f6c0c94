#!/usr/bin/env bash
# The promise: the adapter is a function of model, data, configuration and seed. Trains the example
# model with dropout in many ways and compares the adapter's bytes with those of the plainest one.
#   same_bytes.sh BIN_FOLDER [all]
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/../support/shell.sh" "$1"
need_mpirun
all=${2:-}
cd "$top" || exit 1

head -n 160 examples/data/train.jsonl >"$scratch/data.jsonl"
common=(dataset="$scratch/data.jsonl" eval_dataset=null eval_strategy=no save_strategy=no max_length=256 max_steps=4
  lora_dropout=0.1 learning_rate=5e-3 num_train_epochs=1)

# train NAME RANKS THREADS KEY=VALUE...
train() {
  local name=$1 ranks=$2 threads=$3
  shift 3
  local start=()
  [ "$ranks" = 1 ] || start=(mpirun -np "$ranks")
  "${start[@]}" "$worker" --threads "$threads" examples/demo.yaml "${common[@]}" output_dir="$scratch/$name" "$@" >"$scratch/log" 2>&1
}

digest() {
  sha256sum "$scratch/$1/adapter_model.safetensors" 2>/dev/null | cut -d' ' -f1
}

# same NAME REFERENCE RANKS THREADS KEY=VALUE...
same() {
  local name=$1 reference=$2
  shift 2
  train "$name" "$@" || {
    flunk "$name: did not end well: $(tail -n 2 "$scratch/log")"
    return
  }
  if [ -n "$(digest "$name")" ] && [ "$(digest "$name")" = "$(digest "$reference")" ]; then
    pass "$name: same bytes as $reference"
  else
    flunk "$name: other bytes than $reference"
  fi
  rm -rf "${scratch:?}/$name"
}

has_isa() {
  QLORA_CPU=$1 "$worker" --probe >/dev/null 2>&1
}

train plain 1 1 global_batch_size=7 per_device_train_batch_size=1 || flunk "plain: did not run: $(tail -n 2 "$scratch/log")"
# A test that cannot fail proves nothing: another seed must give other bytes.
train other-seed 1 1 global_batch_size=7 per_device_train_batch_size=1 seed=43
if [ "$(digest other-seed)" != "$(digest plain)" ]; then pass "another seed: other bytes"; else flunk "another seed: same bytes"; fi
same one-rank-two-threads plain 1 2 global_batch_size=7 per_device_train_batch_size=4
same two-ranks plain 2 1 global_batch_size=7
same three-ranks-recomputing plain 3 1 global_batch_size=7 per_device_train_batch_size=2 gradient_checkpointing=true
same four-ranks plain 4 1 global_batch_size=7 per_device_train_batch_size=1 gradient_checkpointing=false
# As if one rank were much faster than the others: it gets more rows, from the third step on.
QLORA_SPEEDS=90,30 same unequal-ranks plain 2 1 global_batch_size=7 per_device_train_batch_size=2
QLORA_SPEEDS=10,20,70 same three-unequal-ranks plain 3 1 global_batch_size=7
same little-memory plain 1 2 global_batch_size=7 max_memory=60MiB
for isa in avx2 avx512; do
  if has_isa "$isa"; then QLORA_CPU=$isa same "$isa" plain 1 2 global_batch_size=7; else echo "not here: $isa"; fi
done
# Plain C takes fifty times as long: fewer rows for it.
short=(global_batch_size=2 max_steps=2 warmup_ratio=0)
train short 1 1 "${short[@]}" || flunk "short: did not run: $(tail -n 2 "$scratch/log")"
QLORA_CPU=portable same portable short 1 2 "${short[@]}"

# The base from the cache is the base that was quantised, whoever wrote it and whoever reads it.
kept=quantized_cache=$scratch/kept
same keeps-the-base plain 1 2 global_batch_size=7 "$kept"
same two-ranks-from-the-cache plain 2 1 global_batch_size=7 "$kept"
if grep -q '^base  *from the cache' "$scratch/log"; then pass "it came from the cache"; else flunk "not from the cache: $(grep base "$scratch/log")"; fi
QLORA_CPU=portable same portable-from-the-cache short 1 2 "${short[@]}" "$kept"
if grep -q '^base  *from the cache' "$scratch/log"; then pass "and again"; else flunk "not from the cache: $(grep base "$scratch/log")"; fi

# Products of operands rounded to bfloat16: other bytes, a loss near by, and the same bytes on whatever
# instructions there are.
bf16=(global_batch_size=7 bnb_4bit_compute_dtype=bfloat16 max_steps=2)
train bf16 1 1 "${bf16[@]}" per_device_train_batch_size=1
if [ "$(digest bf16)" != "$(digest plain)" ]; then pass "bfloat16: other bytes"; else flunk "bfloat16: same bytes as float32"; fi
losses() {
  sed -n 's/.*"event": "step".*"loss": \([^,]*\),.*/\1/p' "$scratch/$1/metrics.jsonl"
}
if paste <(losses bf16) <(losses plain | head -n 2) | awk '{d = $1 - $2; if (d < 0) d = -d; if (d > 0.003 * $2) bad = 1} END {exit bad || NR != 2}'; then
  pass "bfloat16: losses near those of float32"
else
  flunk "bfloat16: losses $(losses bf16 | tr '\n' ' ') beside $(losses plain | tr '\n' ' ')"
fi
same bf16-one-rank-two-threads bf16 1 2 "${bf16[@]}" per_device_train_batch_size=4
same bf16-two-ranks-recomputing bf16 2 1 "${bf16[@]}" gradient_checkpointing=true
for cpu in avx2 avx512 avx512_bf16 amx; do
  if has_isa "$cpu"; then QLORA_CPU=$cpu same "bf16-$cpu" bf16 1 2 "${bf16[@]}"; else echo "not here: $cpu"; fi
done
short+=(bnb_4bit_compute_dtype=bfloat16)
train bf16-short 1 1 "${short[@]}" || flunk "bf16-short: did not run: $(tail -n 2 "$scratch/log")"
QLORA_CPU=portable same bf16-portable bf16-short 1 2 "${short[@]}"
train bf16-dense 1 1 global_batch_size=4 load_in_4bit=false max_steps=2 bnb_4bit_compute_dtype=bfloat16
same bf16-dense-two-ranks bf16-dense 2 1 global_batch_size=4 load_in_4bit=false max_steps=2 bnb_4bit_compute_dtype=bfloat16

# More ranks than rows; no packing; plain LoRA on the weights as they are.
train few-rows 1 1 global_batch_size=2
same more-ranks-than-rows few-rows 4 1 global_batch_size=2
train unpacked 1 1 global_batch_size=6 packing=false
same unpacked-three-ranks unpacked 3 1 global_batch_size=6 packing=false per_device_train_batch_size=2
train dense 1 1 global_batch_size=4 load_in_4bit=false max_steps=2
same dense-two-ranks dense 2 1 global_batch_size=4 load_in_4bit=false max_steps=2 per_device_train_batch_size=1

if [ "$all" = all ]; then
  QLORA_CPU=portable same portable-of-seven-rows plain 1 2 global_batch_size=7
  # Every rung of the ladder, and what lies between two of them.
  totals=$("$worker" --plan --json examples/demo.yaml "${common[@]}" global_batch_size=7 2>/dev/null | grep -o '"total_bytes": [0-9]*' |
    grep -o '[0-9]*' | sort -nru)
  before=0
  for total in $totals; do
    [ "$before" = 0 ] || same "between-$total-and-$before" plain 1 2 global_batch_size=7 max_memory=$(((total + before) / 2))
    same "rung-of-$total" plain 1 2 global_batch_size=7 max_memory=$((total + (1 << 20)))
    before=$total
  done
  for ranks in 1 2 3 4; do
    for threads in 1 2 3; do
      for rows in 1 2 3 7; do
        for recompute in true false; do
          same "ranks-$ranks-threads-$threads-rows-$rows-recompute-$recompute" plain "$ranks" "$threads" global_batch_size=7 \
            per_device_train_batch_size="$rows" gradient_checkpointing="$recompute"
        done
      done
    done
  done
fi
finish
