#!/usr/bin/env bash
# A plan for a card that is named is the plan on such a card, and GPUs that differ have a plan each.
#   plan.sh BIN_FOLDER
# shellcheck source=tests/cuda_worker/common.sh
. "$(dirname "$0")/common.sh" "$1"
keys=("${common[@]}" max_length=512 output_dir="$scratch/out-of-plan")
mib=$((1 << 20))

# plan WORD...: the plan is in $scratch/plan
plan() {
  "$worker" --plan --json examples/demo.yaml "${keys[@]}" "$@" >"$scratch/plan" 2>"$scratch/err"
}
value() {
  grep -o "\"$1\": [^,}]*" "$scratch/plan" | sed -n "${2:-1}p" | sed "s/^\"$1\": //"
}
is() {
  if [ "$2" = "$3" ]; then pass "$1"; else flunk "$1: '$3' instead of '$2'; it said: $(tail -n 2 "$scratch/err")"; fi
}

# bare: without what may differ
bare() {
  sed 's/"device_name": "[^"]*"//; s/"limit_bytes": [0-9]*//' "$scratch/plan"
}

# alike NAME CARD CAPABILITY MIB WORD...: once both may use the same, the plans are the same, byte for byte
alike() {
  local name=$1 card=$2 capability=$3 memory=$4 there named
  shift 4
  QL_EMU_CAPABILITY=$capability QL_EMU_MEMORY=${memory}MiB plan "$@"
  there=$(value limit_bytes)
  bare >"$scratch/plan-there"
  plan --gpu "$card" "$@"
  named=$((there - $(value limit_bytes)))
  is "$name: what may be used is the card's, less an estimated context" yes "$([ "$named" -ge 0 ] && [ "$named" -le $((600 * mib)) ] && echo yes)"
  plan --gpu "$card" max_memory="$there" "$@"
  if cmp -s <(bare) "$scratch/plan-there"; then pass "$name: the same plan"; else flunk "$name: $(bare) instead of $(cat "$scratch/plan-there")"; fi
}
alike "a T4" T4 75 14909
alike "an RTX 3090" RTX3090 86 24115
alike "an A100" A100-40 80 40325 bnb_4bit_compute_dtype=float32
QL_EMU_CAPABILITY=75 QL_EMU_MEMORY=1GiB plan --gpu H100
is "the card that is here does not matter" '"bfloat16"' "$(value products)"
QL_EMU_DRIVER=none plan --gpu H100
is "nor does a missing driver" '"cuda"' "$(value device)"

# What a run on an emulated GPU has planned and taken is what was said before, bytes of kernels included.
export QL_EMU_MEMORY=14909MiB QL_EMU_CAPABILITY=75
plan --gpu T4 max_memory=790MiB max_length=48
planned=$(value arena_bytes) kernels=$(value kernels)
train run 1 max_memory=790MiB max_length=48 max_steps=1 || flunk "the run: $(tail -n 2 "$scratch/err")"
is "a run takes what was planned for its card" $((planned + kernels)) "$(grep -o '"planned_device_bytes": [0-9]*' "$scratch/run/metrics.jsonl" | grep -o '[0-9]*$')"
unset QL_EMU_MEMORY QL_EMU_CAPABILITY

# Three GPUs of two sizes.
export QL_EMU_DEVICES=3 QL_EMU_MEMORY=900MiB,24GiB,900MiB QL_EMU_CAPABILITY=86
plan -n 3 max_length=2048
is "ranks with the same plan are one group" '[0 2] [1]' "$(grep -o '"rank_numbers": \[[^]]*\]' "$scratch/plan" | sed 's/.*\[/[/; s/,//g' | tr '\n' ' ' | sed 's/ $//')"
is "what would fit is what fits everywhere" yes "$([ "$(value value)" -gt 2048 ] && echo yes)"
longest=$(value value)
QL_EMU_MEMORY=900MiB plan -n 3 max_length=2048
is "so that the smaller GPU decides" "$longest" "$(value value)"
"$worker" --plan -n 3 examples/demo.yaml "${keys[@]}" max_length=2048 >"$scratch/plan" 2>"$scratch/err"
is "in words, too" 'ranks 0, 2;rank 1;' "$(sed -n 's/^memory of \(ranks\{0,1\} [0-9, to]*\), cuda: .*/\1/p' "$scratch/plan" | tr '\n' ';')"
plan -n 5
if grep -q 'note: 3 devices here: of 5 ranks 2 would stand by' "$scratch/err"; then pass "more ranks than GPUs"; else flunk "more ranks than GPUs: $(cat "$scratch/err")"; fi
mpirun -np 3 "$worker" --plan --json examples/demo.yaml "${keys[@]}" max_length=2048 >"$scratch/plan" 2>"$scratch/err"
is "the same from ranks that are there" '[0 2] [1]' "$(grep -o '"rank_numbers": \[[^]]*\]' "$scratch/plan" | sed 's/.*\[/[/; s/,//g' | tr '\n' ' ' | sed 's/ $//')"
QL_EMU_MEMORY=24GiB,700MiB plan -n 2
is "one that is too small is enough" "64 false" "$? $(value fits)"
QL_EMU_CAPABILITY=86,75 plan -n 2
is "GPUs that would compute differently" 64 $?
expect_line "are told apart" 'bnb_4bit_compute_dtype: auto: device 0 would compute in bfloat16 and device 1 \(.*\) in float16'
QL_EMU_CAPABILITY=86,75 plan -n 2 bnb_4bit_compute_dtype=float16
is "unless one says what both can" 0 $?
finish
