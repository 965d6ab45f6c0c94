#!/usr/bin/env bash
# qlora run of several configurations, with real workers: one after the other, side by side, on GPUs that are shared out, stopped, with one that fails.
#   sweep.sh BIN_FOLDER
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/../support/shell.sh" "$(cd "$1" && pwd)"
cd "$top" || exit 1

# recipe NAME KEY=VALUE...: $scratch/NAME.yaml, which writes into $scratch/out-NAME
recipe() {
  local name=$1 word
  shift
  grep -v '^output_dir:' examples/demo.yaml >"$scratch/$name.yaml"
  echo "output_dir: $scratch/out-$name" >>"$scratch/$name.yaml"
  for word in "$@"; do
    sed -i "/^${word%%=*}:/d" "$scratch/$name.yaml"
    echo "${word%%=*}: ${word#*=}" >>"$scratch/$name.yaml"
  done
}
small=(max_length=128 audit=warn eval_strategy=no eval_dataset=null)
recipe one lora_r=4
recipe two lora_r=8
recipe bad dataset=/nowhere.jsonl
all=("$scratch/one.yaml" "$scratch/bad.yaml" "$scratch/two.yaml")

# outcomes: of the last run, by its JSON
outcomes() {
  sed -nE 's/.*"outcome": "([^"]*)".*/\1/p' "$scratch/out" | tr '\n' ' '
}

# expect_outcomes NAME "..."
expect_outcomes() {
  if [ "$(outcomes)" = "$2 " ]; then pass "$1: $2"; else flunk "$1: $(outcomes)instead of $2"; fi
}

for name in one two; do
  expect_status "$name alone" 0 "$bin/qlora" run --threads 1 "$scratch/$name.yaml" "${small[@]}" max_steps=4
  mv "$scratch/out-$name/adapter_model.safetensors" "$scratch/wanted-$name"
  rm -rf "$scratch/out-$name"
done

# same NAME: the adapters are those of runs alone
same() {
  local name
  for name in one two; do
    if cmp -s "$scratch/wanted-$name" "$scratch/out-$name/adapter_model.safetensors"; then pass "$1: $name has the same bytes"; else flunk "$1: $name has other bytes"; fi
  done
}

expect_status "one after the other" 65 "$bin/qlora" run --json --threads 1 "${all[@]}" "${small[@]}" max_steps=4
expect_outcomes "one after the other" "done failed done"
expect_line "one after the other: says so" 'qlora: error: 1 of 3 runs failed, first .*bad.yaml with status 65'
same "one after the other"
if grep -Eq '"step": 4, "loss": [0-9.]+, "eval_loss": null, "seconds": [0-9.]+, "tokens_per_second": [0-9.]+, "peak_memory_bytes": [1-9]' "$scratch/out"; then
  pass "its results"
else
  flunk "its results: $(cat "$scratch/out")"
fi
expect_status "once more: only the table" 65 "$bin/qlora" run --threads 1 "${all[@]}" "${small[@]}" max_steps=4
if [ "$(grep -c '^/.*\.yaml *\(done\|failed (65)\) ' "$scratch/out")" = 3 ]; then pass "a table for people"; else flunk "the table: $(cat "$scratch/out")"; fi
rm -rf "$scratch"/out-*

expect_status "side by side" 65 "$bin/qlora" run --json --jobs 3 --threads 1 "${all[@]}" "${small[@]}" max_steps=4
expect_outcomes "side by side" "done failed done"
same "side by side"
if grep -q "^$scratch/two.yaml: step 4 of 4" "$scratch/err" && [ "$(grep -n 'run 3 of 3' "$scratch/err" | cut -d: -f1)" -lt "$(grep -n 'done: 4 steps' "$scratch/err" | head -n 1 | cut -d: -f1)" ]; then
  pass "side by side: all at once, each with its name"
else
  flunk "side by side: $(head -n 20 "$scratch/err")"
fi
rm -rf "$scratch"/out-*

# ---- stopped: those that run save, those that wait do not start ----
"$bin/qlora" run --json --threads 1 "$scratch/one.yaml" "$scratch/two.yaml" "${small[@]}" max_steps=400 >"$scratch/out" 2>"$scratch/err" &
pid=$!
until grep -q '"event": "step"' "$scratch/out-one/metrics.jsonl" 2>/dev/null || ! kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
kill -TERM "$pid"
wait "$pid"
status=$?
if [ "$status" = 85 ]; then pass "stopped: exit status 85"; else flunk "stopped: exit status $status"; fi
expect_outcomes stopped "stopped not started"
if ls "$scratch"/out-one/checkpoint-* >/dev/null 2>&1; then pass "stopped: saved"; else flunk "stopped: nothing was saved"; fi
rm -rf "$scratch"/out-*

# ---- GPUs are shared out: a worker that only says what it sees ----
mkdir "$scratch/bin"
cp "$bin/qlora" "$scratch/bin/qlora"
device='{"kind": "cuda", "index": %s, "name": "a"%s}'
cat >"$scratch/bin/qlora-worker" <<'END'
#!/usr/bin/env bash
case $1 in
  --probe)
    case ${CUDA_VISIBLE_DEVICES:-,} in *,*) exec cat "$QL_PROBE" ;; esac
    echo '{"devices": [{"kind": "cuda", "index": 0, "name": "a"}]}'
    exit 0
    ;;
  --do) exit 0 ;;
esac
echo "sees $CUDA_VISIBLE_DEVICES" >&2
sleep 1
exit 65
END
chmod +x "$scratch/bin/qlora-worker"
export QL_PROBE=$scratch/probe
# shellcheck disable=SC2059 # a format of our own
printf "{\"devices\": [$device, $device, $device, $device]}\n" 0 '' 1 ', "problem": "lost"' 2 '' 3 '' >"$QL_PROBE"
seen() {
  sed -nE 's/.*sees //p' "$scratch/err" | sort | tr '\n' ' '
}
expect_status "on GPUs" 65 env -u CUDA_VISIBLE_DEVICES "$scratch/bin/qlora" run -n 1 "${all[@]}"
if [ "$(seen)" = "0 2 3 " ]; then pass "on GPUs: one each, none that is broken"; else flunk "on GPUs: $(seen)"; fi
expect_status "of a list" 65 env CUDA_VISIBLE_DEVICES=GPU-a,GPU-b,GPU-c,GPU-d "$scratch/bin/qlora" run -n 1 "${all[@]}"
if [ "$(seen)" = "GPU-a GPU-c GPU-d " ]; then pass "of a list: its names"; else flunk "of a list: $(seen)"; fi
expect_status "too many jobs" 64 "$scratch/bin/qlora" run -n 1 --jobs 4 "${all[@]}"
expect_line "too many jobs: says so" 'qlora run: 4 jobs of 1 GPUs each, and 3 work; use fewer --jobs'
finish
