#!/usr/bin/env bash
# The most that would fit, by asking again: the value that was found fits, the next one does not.
#   largest_plans.sh BIN_FOLDER
# shellcheck source=tests/plan/outlines.sh
. "$(dirname "$0")/outlines.sh" "$1"
outline 7b 7b && config 7b
outline 256k 256k && config 256k
outline 135m 135m && config 135m

# longest NAME WORD...: with max_length as found, and one more
longest() {
  local name=$1 found
  shift
  plan "$@"
  found=$(most max_length)
  if [ "$found" = null ]; then
    flunk "$name: nothing fits"
    return
  fi
  plan "$@" "max_length=$found"
  is "$name: $found tokens fit" "0 true" "$? $(value fits)"
  plan "$@" "max_length=$((found + 1))"
  is "$name: one more does not" "64 false" "$? $(value fits)"
  is "$name: and the same is found from there" "$found" "$(most max_length)"
}

# rows NAME KEY WORD...: with as many rows at a time as KEY of "most" says, and one more
rows() {
  local name=$1 key=$2 found words
  shift 2
  words=("$@")
  plan "${words[@]}"
  found=$(most "$key")
  [ "$key" = per_device_train_batch_size ] || words+=(gradient_checkpointing=true)
  plan "${words[@]}" "per_device_train_batch_size=$found" "global_batch_size=$((2 * found))"
  is "$name: $found rows are held" "$found" "$(value rows_at_a_time)"
  plan "${words[@]}" "per_device_train_batch_size=$((found + 1))" "global_batch_size=$((2 * found + 2))"
  is "$name: one more is not" yes "$([ "$(value rows_at_a_time)" -le "$found" ] && echo yes)"
}

longest "7B on a T4" --gpu T4 7b.yaml
longest "7B, layers always recomputed" --gpu RTX3090 7b.yaml gradient_checkpointing=true
longest "a vocabulary of 256,000" --gpu RTX4090 256k.yaml
longest "135M in 3 GiB of a CPU" --device cpu --max-memory 3GiB 135m.yaml

rows "7B on an H100" per_device_train_batch_size --gpu H100 7b.yaml
rows "7B on an H100, layers recomputed" per_device_train_batch_size_recomputed --gpu H100 7b.yaml max_length=512
rows "a vocabulary of 256,000 on two A100" per_device_train_batch_size --gpu A100-40 -n 2 256k.yaml max_length=256
finish
