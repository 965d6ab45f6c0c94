#!/usr/bin/env bash
# Plans for cards that are not there.
#   cards.sh BIN_FOLDER
# shellcheck source=tests/plan/outlines.sh
. "$(dirname "$0")/outlines.sh" "$1"
outline 7b 7b && config 7b
outline 1.1b 1.1b && config 1.1b
mib=$((1 << 20))

# card NAME MIB PRODUCTS: what its driver reports, less 512 MiB and 2 %, is planned with
card() {
  plan --gpu "$1" 1.1b.yaml
  is "$1: fits" "0 true" "$? $(value fits)"
  is "$1: the plan is that of CUDA" '"cuda"' "$(value device)"
  is "$1: products" "\"$3\"" "$(value products)"
  is "$1: what may be used" $(($2 * mib - 512 * mib - $2 * mib / 50)) "$(value limit_bytes)"
}
card T4 14909 float16
card RTX3090 24115 bfloat16
card RTX4090 24074 bfloat16
card A100-40 40325 bfloat16
card A100-80 81039 bfloat16
card H100 80998 bfloat16
card H200 143155 bfloat16

# The same card by its memory.
plan --gpu A100-40 --max-memory 20GiB 1.1b.yaml
sed 's/"device_name": "[^"]*"//' "$scratch/out" >"$scratch/by-name"
plan --device cuda --max-memory 20GiB 1.1b.yaml
sed 's/"device_name": "[^"]*"//' "$scratch/out" >"$scratch/by-memory"
if cmp -s "$scratch/by-name" "$scratch/by-memory"; then pass "max_memory makes cards alike"; else flunk "by name: $(cat "$scratch/by-name") by memory: $(cat "$scratch/by-memory")"; fi
plan --gpu T4 --max-memory 64GiB 1.1b.yaml
is "but none larger than it is" $((14909 * mib)) "$(value limit_bytes)"
plan --gpu t4 1.1b.yaml device=cpu
is "a named card goes before the key device" '"cuda" "float16"' "$(value device) $(value products)"
plan --gpu T4 --device auto 1.1b.yaml bnb_4bit_compute_dtype=float32
is "float32 where it is asked for" '"float32"' "$(value products)"

# For people.
says() {
  if grep -Eq -- "$2" "$scratch/out"; then pass "$1"; else flunk "$1: no line like '$2' in: $(cat "$scratch/out")"; fi
}
expect_status "a plan in words" 0 "$qlora" plan --gpu T4 7b.yaml
says "what it is about" '^memory of the rank, cuda: NVIDIA T4, 16 GB, products in float16$'
says "fits with a rung" '^fits with rung [0-9]+: [0-9]+ rows? at a time$'
says "the longest row" '^  max_length, 1 row at a time +[0-9]+  1 row \([0-9]+ tokens\) at a time, .*; the model was made for 4096$'
says "the most rows" '^  rows of 1024 tokens at a time +[0-9]+  [0-9]+ rows'
says "the most rows when layers are recomputed" '^    with gradient_checkpointing: true +[0-9]+  [0-9]+ rows .*whole layers recomputed.*; a step gives a rank 16$'
expect_status "several ranks in words" 0 "$qlora" plan --gpu H200 -n 8 7b.yaml max_length=128
says "each of them" '^memory of each of 8 ranks, cuda: NVIDIA H200, 141 GB, products in bfloat16$'
says "fits without a rung" '^fits$'
expect_status "too small in words" 64 "$qlora" plan --gpu T4 7b.yaml load_in_4bit=false gradient_checkpointing=false max_length=4096
says "does not fit" '^does not fit: [0-9.]+ GiB needed, [0-9.]+ GiB there$'
says "and there is no length that would" '^  max_length, 1 row at a time +none$'
expect_line "what to do" 'qlora: error: memory: at least [0-9.]+ GiB is needed and [0-9.]+ GiB is allowed; '
finish
