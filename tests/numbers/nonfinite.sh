#!/usr/bin/env bash
# Losses and gradients that are no use: named by record, left out or the end of the run, the same on any number of ranks.
#   nonfinite.sh BIN_FOLDER [all]
# shellcheck source=tests/numbers/common.sh
. "$(dirname "$0")/common.sh" "$@"
make_model nan 3e38
make_model large 1e8
make_model quiet 0
steps=(max_steps=9 save_steps=1 save_total_limit=20)

# step_of OUT STEP: that line
step_of() {
  lines "$1" | grep "\"event\": \"step\", \"step\": $2,"
}

# Left out: the same on any number of ranks; the records are named with their lines; the schedule goes on.
nan=(model_name_or_path="$scratch/model-nan" "${steps[@]}")
run "left out" 0 1 nan "${nan[@]}" on_nonfinite=skip
expect_line "the record of step 3" "warning: step 3: the loss is not finite in record 22 \($scratch/data.jsonl:23\); its update is left out"
expect_line "the records of step 8" "step 8: the loss is not finite in records 4 \(.*data.jsonl:5\) and 13 \(.*data.jsonl:14\); its update"
if step_of nan 3 | grep -q '"loss": null, "skipped": true, "grad_norm": null' && step_of nan 4 | grep -q '"loss": [0-9]' &&
  lines nan | grep -q '"reason": "done", "skipped_steps": 2'; then
  pass "metrics.jsonl tells it"
else
  flunk "metrics.jsonl: $(step_of nan 3)"
fi
for ranks in 2 3; do
  run "left out on $ranks ranks" 0 "$ranks" "nan-$ranks" "${nan[@]}" on_nonfinite=skip
  expect_line "the records on $ranks ranks" "step 8: the loss is not finite in records 4 \(.*:5\) and 13 \(.*:14\); its update"
  same "left out on $ranks ranks" "nan-$ranks" nan
done

# The same step in a packed row: only its record is named.
run "packed" 0 2 packed "${nan[@]}" max_length=128 packing=true on_nonfinite=skip max_steps=3
expect_line "the record of a packed row" 'the loss is not finite in records? [0-9]+ \(.*data.jsonl:(5|14|23)\)[^,]*; its update'

# The end: on all ranks at the same step, the checkpoint before it intact; going on without these steps is as if one had done so from the start.
for ranks in 1 3; do
  run "the end on $ranks ranks" 65 "$ranks" "stop-$ranks" "${nan[@]}"
  expect_line "the reason on $ranks ranks" "error: (rank 0: )?step 3: the loss is not finite in record 22 \(.*data.jsonl:23\); .*on_nonfinite: skip"
  if [ "$(cd "$scratch/stop-$ranks" && echo checkpoint-*)" = "checkpoint-00000001 checkpoint-00000002" ] &&
    ! [ -e "$scratch/stop-$ranks/adapter_model.safetensors" ]; then
    pass "two checkpoints, no adapter"
  else
    flunk "after the end on $ranks ranks: $(ls "$scratch/stop-$ranks")"
  fi
  run "going on with on_nonfinite: skip" 0 $((4 - ranks)) "stop-$ranks" "${nan[@]}" on_nonfinite=skip
  same "going on with on_nonfinite: skip" "stop-$ranks" nan
done

# Sums that would not be exact any more: the verdict is each row's own, so the same for any micro-batch and number of ranks.
large=(model_name_or_path="$scratch/model-large" "${steps[@]}")
run "overflow" 0 1 large "${large[@]}" on_nonfinite=skip per_device_train_batch_size=3
expect_line "overflow is told" 'step 3: a gradient is too large for the exact sums \(overflow\) in record 22 \(.*:23\), first in model.layers.1'
if step_of large 3 | grep -q '"loss": 1[0-9.]*, "skipped": true, "grad_norm": null'; then pass "its loss is told"; else flunk "$(step_of large 3)"; fi
run "overflow, three ranks" 0 3 large-3 "${large[@]}" on_nonfinite=skip
same "overflow, three ranks" large-3 large
run "overflow, row by row" 0 2 large-rows "${large[@]}" on_nonfinite=skip per_device_train_batch_size=1
same "overflow, row by row" large-rows large
run "overflow, the end" 65 2 large-stop "${large[@]}"
expect_line "overflow, the end" 'error: rank 0: step 3: a gradient is too large for the exact sums \(overflow\) in record 22 .*lower learning_rate or lora_alpha'

# On one rank by a fault: all leave the same step out, whichever rank it was.
quiet=(model_name_or_path="$scratch/model-quiet" "${steps[@]}" on_nonfinite=skip)
export QLORA_SPEEDS=10,10,10 # each has a row in each step
for where in 1:0 2:1 3:2; do
  ranks=${where%:*} rank=${where#*:}
  status=$(disturb "$ranks" "hit-$ranks" "$rank:4:nan,$rank:6:inf" "${quiet[@]}")
  if [ "$status" = 0 ]; then pass "hit on rank $rank of $ranks"; else flunk "hit on rank $rank: $status: $(tail -n 2 "$scratch/err")"; fi
  expect_line "a loss on rank $rank" 'step 4: the loss is not finite in record [0-9]+ '
  expect_line "a gradient on rank $rank" 'step 6: a gradient is not finite, though none is when the same rows are computed again'
done
unset QLORA_SPEEDS
# What was hit was left out; the loss of a row that was not is told, so only the bytes are those of one another.
if [ -n "$(digest hit-1)" ] && [ "$(digest hit-1)" = "$(digest hit-2)" ] && [ "$(digest hit-1)" = "$(digest hit-3)" ]; then
  pass "hit on any rank: same bytes"
else
  flunk "hit on different ranks: other bytes"
fi

# Too many in a row, over an interruption: the tenth ends the run.
grep Z "$scratch/data.jsonl" >"$scratch/loud.jsonl"
always=(model_name_or_path="$scratch/model-nan" max_steps=20 save_steps=1 save_total_limit=3 on_nonfinite=skip dataset="$scratch/loud.jsonl" global_batch_size=1)
status=$(disturb 1 always "0:8:kill:vote" "${always[@]}")
if [ "$status" = 137 ]; then pass "killed at step 8"; else flunk "not killed at step 8: $status"; fi
run "ten in a row" 65 2 always "${always[@]}"
expect_line "ten in a row" 'step 10: .*that is 10 steps in a row whose update is left out'
if grep -q 'resumed: .*checkpoint-0000000[67]' "$scratch/err"; then pass "it went on after step 6"; else flunk "it did not go on after step 6"; fi

# Evaluation: the record is named; left out, its loss is null and training goes on.
eval=(model_name_or_path="$scratch/model-nan" dataset="$scratch/eval.jsonl" eval_dataset="$scratch/data.jsonl" eval_strategy=steps eval_steps=2 max_steps=4)
run "evaluation" 65 2 eval "${eval[@]}"
expect_line "evaluation, the records" 'evaluation: the loss is not finite in records 4 \(.*data.jsonl:5\), 13 \(.*:14\) and 22 \(.*:23\); '
run "evaluation left out" 0 1 eval-1 "${eval[@]}" on_nonfinite=skip
run "evaluation left out, three ranks" 0 3 eval-3 "${eval[@]}" on_nonfinite=skip
same "evaluation left out" eval-3 eval-1
if [ "$(lines eval-1 | grep -c '"eval_loss": null, "perplexity": null')" = 2 ]; then pass "null twice"; else flunk "$(lines eval-1 | grep eval_loss)"; fi

# Scores record by record.
score=(model_name_or_path="$scratch/model-nan" dataset="$scratch/data.jsonl" --eval --per-record)
run "scores" 65 1 scores "${score[@]}"
run "scores left out" 0 2 scores "${score[@]}" on_nonfinite=skip
if [ "$(grep '"nll": null' "$scratch/out" | grep -o '"record": [0-9]*' | tr -d '\n')" = '"record": 4"record": 13"record": 22' ]; then
  pass "null for the records"
else
  flunk "scores: $(grep -c null "$scratch/out") times null"
fi
finish
