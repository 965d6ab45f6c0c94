#!/usr/bin/env bash
# How much of an emulated GPU's memory a run plans with: what is free less a reserve, or max_memory, which makes any card behave
# like one of that size.
#   memory.sh BIN_FOLDER
# shellcheck source=tests/cuda_worker/common.sh
. "$(dirname "$0")/common.sh" "$1"

limit_of() {
  "$worker" --device cuda --plan --json examples/demo.yaml "${common[@]}" "$@" 2>"$scratch/err" | grep -o '"limit_bytes": [0-9]*' | grep -o '[0-9]*'
}

# between NAME LOW NUMBER HIGH
between() {
  if [ -n "$3" ] && [ "$2" -le "$3" ] && [ "$3" -le "$4" ]; then pass "$1"; else flunk "$1: '$3' is not between $2 and $4: $(tail -n 1 "$scratch/err")"; fi
}

gib=$((1 << 30)) mib=$((1 << 20))
reserve=$((512 * mib + 16 * gib / 50))
free=$(QL_EMU_MEMORY=16GiB limit_of)
between "of 16 GiB all but the reserve" $((16 * gib - reserve - 512 * mib)) "$free" $((16 * gib - reserve + 640 * mib))
taken=$(QL_EMU_MEMORY=16GiB QL_EMU_MEMORY_TAKEN=6GiB limit_of)
between "what others took is not there" $((free - 6 * gib)) "$taken" $((free - 6 * gib))
between "a plan for a larger card" $((64 * gib)) "$(QL_EMU_MEMORY=16GiB limit_of max_memory=64GiB)" $((64 * gib))

plan_of() {
  train "$@" || flunk "$1: did not run: $(tail -n 2 "$scratch/err")"
  sed -n 's/.*plan  *//p' "$scratch/err" | head -n 1
}
asked=(max_memory=790MiB max_steps=1)
small=$(QL_EMU_MEMORY=1GiB plan_of small 1 "${asked[@]}")
large=$(QL_EMU_MEMORY=141GiB plan_of large 1 "${asked[@]}")
if [ -n "$small" ] && [ "$small" = "$large" ]; then pass "max_memory makes a large card behave like a small one"; else flunk "small: '$small', large: '$large'"; fi
more=$(QL_EMU_MEMORY=2GiB plan_of more 1 max_memory=64GiB max_steps=1)
if grep -Eq ' of (1\.[0-9]+|2\.[0-5][0-9]*) GiB a rank' <<<"$more"; then pass "no run plans with more than is there"; else flunk "more than there is: '$more'"; fi
finish
