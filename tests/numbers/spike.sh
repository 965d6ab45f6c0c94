#!/usr/bin/env bash
# A loss that jumps: judged by an exact moving mean that is part of the state, so the same on any number of ranks and after
# any interruption.   spike.sh BIN_FOLDER [all]
# shellcheck source=tests/numbers/common.sh
. "$(dirname "$0")/common.sh" "$@"
make_model jump 20
# One loud record among 80: about one step in 27.
for i in $(seq 0 79); do
  if [ "$i" = 40 ]; then name='a Z in it'; else name="the $((i * i)) in it"; fi
  echo "{\"text\": \"Line $i of the data has $name and $((i * 7 % 13)) more\"}"
done >"$scratch/data.jsonl"
guarded=(model_name_or_path="$scratch/model-jump" max_steps=60 save_steps=7 learning_rate=1e-4 loss_spike_zscore=6)

run "spikes left out" 0 1 plain "${guarded[@]}" on_nonfinite=skip
expect_line "the spike is told" 'step [0-9]+: the loss [0-9.]+ is a spike, [0-9.]+ standard deviations \([0-9.]+\) above its moving mean 7\.[0-9]+; the largest losses are of records 40 \(.*data.jsonl:41\), '
skipped=$(lines plain | grep '"skipped": true' | grep -o '"step": [0-9]*' | tr '\n' ' ')
# By hand, in plain numbers: Welford's recurrence with a weight that stops falling at 1/64.
by_hand() {
  lines "$1" | sed -n 's/.*"event": "step".*"loss": \([^,]*\),.*/\1/p' | awk -v limit="$2" '
    { if (n >= 20 && ($1 - mean) / sqrt(v) > limit) { printf "\"step\": %d ", NR; next }
      w = ++n < 64 ? n : 64; d = $1 - mean; mean += d / w; v += (d * ($1 - mean) - v) / w }'
}
if [ -n "$skipped" ] && [ "$skipped" = "$(by_hand plain 6)" ]; then pass "the steps are those computed by hand: $skipped"; else flunk "left out: $skipped; by hand: $(by_hand plain 6)"; fi
run "three ranks" 0 3 ranks "${guarded[@]}" on_nonfinite=skip
same "three ranks" ranks plain
for step in 17 33 52; do
  status=$(disturb 2 "cut-$step" "1:$step:kill:vote" "${guarded[@]}" on_nonfinite=skip)
  if [ "$status" = 137 ]; then pass "killed at step $step"; else flunk "killed at step $step: $status"; fi
  run "going on" 0 1 "cut-$step" "${guarded[@]}" on_nonfinite=skip
  same "killed at step $step" "cut-$step" plain
done
first=$(grep -o '[0-9]*' <<<"$skipped" | head -n 1)
run "the end" 65 2 stop "${guarded[@]}"
expect_line "the reason" "error: rank 0: step $first: the loss .* is a spike, .*; look at the data there, lower learning_rate, or raise loss_spike_zscore"
run "going on without it" 0 1 stop "${guarded[@]}" on_nonfinite=skip
same "going on without it" stop plain
run "another threshold" 64 1 stop "${guarded[@]}" on_nonfinite=skip loss_spike_zscore=9
expect_line "the state is that of one threshold" 'loss_spike_zscore is "6" in the checkpoint and "9" now'
run "no guard" 0 1 off "${guarded[@]}" loss_spike_zscore=0
if lines off | grep -q skipped || [ "$(digest off)" = "$(digest plain)" ]; then flunk "without the guard a step is left out"; else pass "without the guard no step is left out"; fi
finish
