#!/usr/bin/env bash
# The best model and early stopping: decided as by hand from metrics.jsonl, and the same on any number of ranks, whatever
# interrupts the run, wherever.   best.sh BIN_FOLDER [all]
# shellcheck source=tests/numbers/common.sh
. "$(dirname "$0")/common.sh" "$@"
make_model quiet 0
# Little data and a high rate: the evaluation falls, then rises.
head -n 6 "$scratch/data.jsonl" >"$scratch/few.jsonl"
for i in $(seq 0 8); do echo "{\"text\": \"This is row $i of the dates, with nothing in it and no more\"}"; done >"$scratch/eval.jsonl"
best=(model_name_or_path="$scratch/model-quiet" dataset="$scratch/few.jsonl" eval_dataset="$scratch/eval.jsonl" eval_strategy=steps eval_steps=2
  num_train_epochs=100 max_steps=60 learning_rate=5e-2 save_steps=5 save_total_limit=2 load_best_model_at_end=true early_stopping_patience=3)

# What transformers would decide, from the eval lines: "BEST LAST", the steps of the best evaluation and of the last one.
by_hand() {
  lines "$1" | sed -n 's/.*"event": "eval", "step": \([0-9]*\), "eval_loss": \([^,]*\),.*/\1 \2/p' | awk -v patience="$2" -v threshold="$3" '
    { if (!n++ || ($2 < best && best - $2 > threshold)) without = 0; else without++
      if (n == 1 || $2 < best) { best = $2; step = $1 }
      last = $1
      if (without >= patience) exit }
    END { print step, last }'
}
last_step() {
  lines "$1" | sed -n 's/.*"event": "eval", "step": \([0-9]*\),.*/\1/p' | tail -n 1
}

# early OUT PATIENCE THRESHOLD: ended where it should have, and hands out what it should
early() {
  local out=$1 step last
  read -r step last < <(by_hand "$@")
  if [ "$last" = "$(last_step "$out")" ] && [ "$last" -lt 60 ] && [ "$step" -lt "$last" ] &&
    lines "$out" | tail -n 1 | grep -q "\"event\": \"end\", \"step\": $last, \"reason\": \"early_stopping\", \"best_step\": $step}"; then
    pass "$out: best at step $step, ended at step $last"
  else
    flunk "$out: by hand best at $step, end at $last; the run: $(lines "$out" | tail -n 1)"
  fi
  if cmp -s "$scratch/$out/adapter_model.safetensors" "$scratch/$out/checkpoint-$(printf %08d "$step")/adapter_model.safetensors"; then
    pass "$out: the adapter is that of step $step"
  else
    flunk "$out: the adapter is not that of step $step: $(ls "$scratch/$out")"
  fi
}

run "early stopping" 0 1 plain "${best[@]}"
early plain 3 0
run "again" 0 2 plain "${best[@]}"
if [ "$(lines plain | grep -c '"event": "end"')" = 1 ]; then pass "started again, it does nothing"; else flunk "started again, it did something"; fi
early plain 3 0
for ranks in 2 3; do
  run "$ranks ranks" 0 "$ranks" "ranks-$ranks" "${best[@]}"
  same "$ranks ranks" "ranks-$ranks" plain
done
run "room for one checkpoint" 0 1 narrow "${best[@]}" save_total_limit=1
same "room for one checkpoint" narrow plain
run "a threshold" 0 2 threshold "${best[@]}" early_stopping_threshold=0.02 save_strategy=best
early threshold 3 0.02
run "perplexity" 0 1 perplexity "${best[@]}" metric_for_best_model=eval_perplexity early_stopping_patience=2
early perplexity 2 0

# Interrupted at any place of any step, by a kill of one rank or a request, continued on other numbers of ranks.
cut=0
check() { # FAULT RANKS THEN_RANKS
  local fault=$1 out status
  cut=$((cut + 1))
  out="cut-$cut"
  status=$(disturb "$2" "$out" "$((cut % $2)):$fault" "${best[@]}")
  if [ "$status" != 137 ] && [ "$status" != 85 ]; then
    flunk "$fault on $2 ranks: exit status $status: $(grep -v '^--' "$scratch/err" | tail -n 2)"
    return
  fi
  run "$fault on $2 ranks, then $3" 0 "$3" "$out" "${best[@]}"
  same "$fault on $2 ranks, then $3" "$out" plain
  rm -rf "${scratch:?}/$out"
}
read -r best_step last < <(by_hand plain 3 0)
export QLORA_SPEEDS=10,10,10 # each rank has rows
check "$best_step:signal:evaluation" 2 1
check "$best_step:kill:evaluation" 1 3
check "$((best_step + 1)):kill:vote" 3 2
check "$best_step:kill:save" 1 2
check "$last:signal:evaluation" 3 2
check "$last:kill:evaluation" 2 1
check "$last:kill:end" 1 2
check "$last:kill:done" 1 1
check "7:signal:loss" 2 3
check "0:kill:score" 2 1
check "0:signal:score" 1 2
# Twice: an evaluation that was broken off, made by the next start, which is killed before it saves again.
for kind in "$best_step" "$((best_step + 2))"; do
  first=$(disturb 2 "twice-$kind" "1:$kind:signal:evaluation" "${best[@]}")
  if [ "$(last_step "twice-$kind")" = $((kind - 2)) ]; then pass "not evaluated"; else flunk "evaluated at $(last_step "twice-$kind")"; fi
  second=$(disturb 1 "twice-$kind" "0:$((kind + 1)):kill:vote" "${best[@]}")
  if [ "$first $second" = "85 137" ]; then pass "broken off, then killed"; else flunk "broken off, then killed: $first, $second"; fi
  run "broken off and killed, then three ranks" 0 3 "twice-$kind" "${best[@]}"
  same "broken off and killed at step $kind" "twice-$kind" plain
done
if [ "$all" = all ]; then
  for step in $(seq 1 "$last"); do
    for ranks in 1 2 3; do
      for fault in kill:vote kill:loss kill:evaluation kill:save signal:loss signal:evaluation; do
        if [ $((step % 2)) = 1 ] && [[ $fault = *:evaluation ]]; then continue; fi
        if [ $((step % 5)) != 0 ] && [[ $fault = *:save ]]; then continue; fi
        check "$step:$fault" "$ranks" $((ranks % 3 + 1))
      done
    done
  done
fi
unset QLORA_SPEEDS

# The last evaluation of all broken off, in a run that keeps no checkpoints but that of the stop.
none=("${best[@]}" load_best_model_at_end=false early_stopping_patience=0 save_strategy=no max_steps=4)
run "no checkpoints, undisturbed" 0 1 none "${none[@]}"
status=$(disturb 2 none-cut "0:4:signal:evaluation" "${none[@]}")
if [ "$status" = 85 ]; then pass "the last evaluation is broken off"; else flunk "the last evaluation: $status"; fi
for time in first second; do
  run "going on, $time time" 0 1 none-cut "${none[@]}"
  if [ "$(lines none-cut)" = "$(lines none)" ] && [ "$(digest none-cut)" = "$(digest none)" ]; then
    pass "$time time: same bytes and lines"
  else
    flunk "$time time: other bytes or lines: $(lines none-cut | tail -n 2)"
  fi
done

# At the end of all steps, too; without the best model the last one is handed out.
short=("${best[@]}" max_steps=4 early_stopping_patience=0)
run "to the end" 0 1 end "${short[@]}" eval_steps=3
if lines end | tail -n 1 | grep -q '"step": 4, "reason": "done", "best_step": 4}' && [ "$(lines end | grep -c '"event": "eval"')" = 2 ]; then
  pass "the last evaluation counts, too"
else
  flunk "to the end: $(lines end | grep -v '"event": "step"')"
fi
run "the last" 0 1 last "${best[@]}" load_best_model_at_end=false
if [ "$(lines last)" = "$(lines plain)" ] && [ "$(digest last)" != "$(digest plain)" ]; then pass "the last adapter is another"; else flunk "the last adapter is the best"; fi

# The best checkpoint is gone, or damaged: the last adapter, and the run says so.
name=checkpoint-$(printf %08d "$best_step")
printf x | dd of="$scratch/plain/$name/state.h5" bs=1 seek=3000 conv=notrunc 2>/dev/null
run "a damaged best checkpoint" 65 2 plain "${best[@]}"
expect_line "a damaged best checkpoint" "error: rank 0: .*$name, the checkpoint of the best evaluation, cannot be used \(.*state.h5.*\); the adapter of the last step is written instead"
if [ "$(digest plain)" = "$(digest last)" ]; then pass "the last adapter is handed out"; else flunk "not the last adapter"; fi
rm -r "${scratch:?}/plain/$name"
run "no best checkpoint" 65 1 plain "${best[@]}"
expect_line "no best checkpoint" "$name, the checkpoint of the best evaluation, cannot be used"

# Mistakes of the configuration.
refuse() { # NAME PATTERN KEY=VALUE...
  local name=$1 pattern=$2
  shift 2
  run "$name" 64 1 refused model_name_or_path="$scratch/model-quiet" "$@"
  expect_line "$name" "$pattern"
}
refuse "no evaluations" 'load_best_model_at_end=true: load_best_model_at_end needs evaluations during training; set eval_strategy' load_best_model_at_end=true
refuse "no patience without them" 'early_stopping_patience needs evaluations' early_stopping_patience=2
refuse "no best without them" 'save_strategy: best needs evaluations' save_strategy=best
refuse "no checkpoints" 'load_best_model_at_end needs checkpoints; set save_strategy' "${best[@]}" save_strategy=no
refuse "more is not better" 'greater_is_better is true, but of loss and perplexity less is better' "${best[@]}" greater_is_better=true
finish
