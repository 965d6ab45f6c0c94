#!/usr/bin/env bash
# The life of an output folder: stopped through the launcher, refused commands, two runs at once,
# started anew, evaluated once, continued from an adapter.   life.sh BIN_FOLDER
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/../support/shell.sh" "$1"
need_mpirun
cd "$top" || exit 1
qlora=$bin/qlora
head -n 160 examples/data/train.jsonl >"$scratch/data.jsonl"
head -n 6 examples/data/eval.jsonl >"$scratch/eval.jsonl"
quiet=(dataset="$scratch/data.jsonl" eval_dataset=null eval_strategy=no max_length=256)

wait_for() { # PATTERN FILE PID
  while kill -0 "$3" 2>/dev/null; do
    grep -q "$1" "$2" 2>/dev/null && return 0
    sleep 0.02
  done
  return 1
}

# Asked to stop, the launcher has the workers save, and tells how they ended.
for signal in TERM HUP; do
  "$qlora" run -n 2 examples/demo.yaml "${quiet[@]}" output_dir="$scratch/job-$signal" max_steps=5000 num_train_epochs=1 \
    >"$scratch/log" 2>&1 &
  pid=$!
  wait_for '"event": "step", "step": 2,' "$scratch/job-$signal/metrics.jsonl" "$pid"
  kill -s "$signal" "$pid"
  wait "$pid"
  status=$?
  if [ "$status" = 85 ] && ls -d "$scratch/job-$signal"/checkpoint-* >/dev/null 2>&1; then
    pass "qlora run, $signal: saved, exit status 85"
  else
    flunk "qlora run, $signal: exit status $status: $(tail -n 3 "$scratch/log")"
  fi
done

# A second run in the same folder is refused while the first is at work.
"$worker" --threads 1 examples/demo.yaml "${quiet[@]}" output_dir="$scratch/two" max_steps=5000 >"$scratch/log" 2>&1 &
pid=$!
wait_for '"event": "step", "step": 1,' "$scratch/two/metrics.jsonl" "$pid"
expect_status "two runs in one folder" 75 "$worker" --threads 1 examples/demo.yaml "${quiet[@]}" output_dir="$scratch/two" max_steps=5000
expect_line "the reason" 'another run is at work'
kill -TERM "$pid"
wait "$pid"

# What is refused changes nothing.
out=$scratch/run
expect_status "a run" 0 "$worker" --threads 1 examples/demo.yaml "${quiet[@]}" output_dir="$out" max_steps=4 save_steps=2
cp "$out/config.yaml" "$scratch/kept.yaml"
expect_status "another type of the arithmetic" 64 "$worker" --threads 1 examples/demo.yaml "${quiet[@]}" output_dir="$out" max_steps=4 \
  bnb_4bit_compute_dtype=bfloat16
expect_line "the types" 'compute dtype.*float32.*bfloat16|compute dtype.*bfloat16.*float32'
expect_status "another learning rate" 64 "$worker" --threads 1 examples/demo.yaml "${quiet[@]}" output_dir="$out" max_steps=4 learning_rate=0.1
expect_line "the difference is named" 'learning_rate is "0.005" in the checkpoint and "0.1" now'
expect_status "no data" 65 "$worker" --threads 1 examples/demo.yaml "${quiet[@]}" output_dir="$out" dataset="$scratch/none.jsonl"
if cmp -s "$out/config.yaml" "$scratch/kept.yaml"; then pass "config.yaml is still the run's"; else flunk "config.yaml was overwritten"; fi
expect_status "no data, new folder" 65 "$worker" --threads 1 examples/demo.yaml "${quiet[@]}" output_dir="$scratch/new" dataset="$scratch/none.jsonl"
if [ -e "$scratch/new" ]; then flunk "a refused run left a folder"; else pass "a refused run leaves no folder"; fi

# Started anew, the checkpoints of before are out of the way, and going on finds the new ones.
expect_status "started anew" 0 "$worker" --threads 1 examples/demo.yaml "${quiet[@]}" output_dir="$out" max_steps=3 learning_rate=0.1 \
  resume_from_checkpoint=false
if [ -e "$out/checkpoint-00000004" ]; then flunk "an old checkpoint is in the way"; else pass "old checkpoints are set aside"; fi
expect_status "and again" 0 "$worker" --threads 1 examples/demo.yaml "${quiet[@]}" output_dir="$out" max_steps=3 learning_rate=0.1
expect_line "goes on from its own" 'resumed: .*checkpoint-00000003'

# A finished run says its evaluation once, however often it is started.
evaluating=(dataset="$scratch/data.jsonl" eval_dataset="$scratch/eval.jsonl" eval_strategy=epoch max_length=256 max_steps=2 output_dir="$scratch/eval")
for time in first second third; do
  expect_status "evaluated, $time time" 0 "$worker" --threads 1 examples/demo.yaml "${evaluating[@]}"
done
lines=$(grep -c '"event": "eval"' "$scratch/eval/metrics.jsonl")
if [ "$lines" = 1 ]; then pass "one eval line"; else flunk "$lines eval lines instead of one"; fi

# An adapter is continued in its own shape.
expect_status "a small adapter" 0 "$worker" --threads 1 examples/demo.yaml "${quiet[@]}" output_dir="$scratch/small" max_steps=1 lora_r=4 \
  lora_alpha=4 'target_modules=[q_proj, v_proj]'
expect_status "continued" 0 "$worker" --threads 1 examples/demo.yaml "${quiet[@]}" output_dir="$scratch/more" max_steps=1 \
  adapter_name_or_path="$scratch/small"
expect_line "its shape is said" 'note: lora_r 4, lora_alpha 4 and target_modules are those of the adapter'
finish
