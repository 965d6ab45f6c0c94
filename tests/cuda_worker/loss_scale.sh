#!/usr/bin/env bash
# float16 on an emulated GPU: gradients that overflow are computed again with a lower loss scale, on all ranks alike, and a run that goes on has
# the scale that it had.
#   loss_scale.sh BIN_FOLDER
# shellcheck source=tests/cuda_worker/common.sh
. "$(dirname "$0")/common.sh" "$1"
common+=(global_batch_size=3 save_strategy=steps save_steps=1 save_total_limit=5)
export QL_EMU_CAPABILITY=75 # of a T4, where float16 is the choice

# scales NAME: the loss scale of each step
scales() {
  sed -n 's/.*"event": "step".*"loss_scale": \([^,]*\),.*/\1/p' "$scratch/$1/metrics.jsonl" | tr '\n' ' '
}

program=$cpu_worker device=cpu train cpu 1 || flunk "cpu: $(tail -n 2 "$scratch/err")"
if [ -z "$(scales cpu)" ]; then pass "float32 is not scaled"; else flunk "float32 is scaled: $(scales cpu)"; fi
train plain 1 per_device_train_batch_size=3 || flunk "plain: $(tail -n 2 "$scratch/err")"
near plain cpu 3e-3
expect_line "a lower scale is told" 'step 1: gradients were too large for float16; the loss scale is lowered from 2\^16 to 2\^1[0-5]$'
reached=$(scales plain)
if [[ $reached =~ ^([0-9]+)\ ([0-9]+)\ $ ]] && [ "${BASH_REMATCH[1]}" -lt 65536 ] && [ "${BASH_REMATCH[2]}" -le "${BASH_REMATCH[1]}" ]; then
  pass "loss scales $reached"
else
  flunk "loss scales '$reached'"
fi

# alike NAME RANKS KEY=VALUE...: the bytes and the scales of `plain`
alike() {
  train "$@" || flunk "$1: $(tail -n 2 "$scratch/err")"
  if [ "$(digest "$1")" = "$(digest plain)" ]; then pass "$1: same bytes"; else flunk "$1: other bytes"; fi
  if [ "$(scales "$1")" = "$reached" ]; then pass "$1: same scales"; else flunk "$1: scales $(scales "$1"), not $reached"; fi
}
QL_EMU_STREAMS=deferred alike one-row-deferred 1 per_device_train_batch_size=1
QL_EMU_DEVICES=3 alike three-gpus 3

# As after a crash in the second step: the scale of the first one is there, and the one that a new run begins with is not.
cp -r "$scratch/plain" "$scratch/resumed"
rm -r "$scratch/resumed/checkpoint-00000002" "$scratch/resumed/run"
alike resumed 1
if grep -q 'lowered from 2^16' "$scratch/err"; then flunk "the scale begins anew"; else pass "the scale is part of the checkpoint"; fi

# What does not fit going forward is no matter of scaling.
train forward 1 lora_alpha=1e9
if [ $? = 65 ]; then pass "forward: status 65"; else flunk "forward: $(tail -n 2 "$scratch/err")"; fi
expect_line "forward: the cure is named" 'error: step 1: the loss is not finite in record.*; .*bnb_4bit_compute_dtype: float32'
finish
