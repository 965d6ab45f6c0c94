#!/usr/bin/env bash
# Plans that nobody can make: the right status, one line, and nothing left behind.
#   bad_plans.sh BIN_FOLDER
# shellcheck source=tests/plan/outlines.sh
. "$(dirname "$0")/outlines.sh" "$1"
outline 135m 135m && config 135m
find . | sort >"$scratch.before"

# refused NAME STATUS PATTERN WORD...
refused() {
  local name=$1 status=$2 pattern=$3 lines
  shift 3
  expect_status "$name" "$status" "$qlora" plan --gpu T4 "$@"
  expect_line "$name: it is said" "$pattern"
  lines=$(grep -c '^qlora: error: ' "$scratch/err")
  is "$name: in one line" 1 "$lines"
}
refused "no such file" 64 'absent.yaml: cannot be opened' absent.yaml
refused "no such model" 65 'nowhere: no such folder; ' 135m.yaml model_name_or_path=nowhere
mkdir models/empty && cp models/135m/config.json models/empty && : >models/empty/model.safetensors
refused "an empty safetensors" 65 'models/empty/model.safetensors: has 0 bytes' 135m.yaml model_name_or_path=models/empty
mkdir models/cut && cp models/135m/config.json models/cut && head -c 1000 models/135m/model.safetensors >models/cut/model.safetensors
refused "a header that is cut off" 65 'models/cut/model.safetensors: ' 135m.yaml model_name_or_path=models/cut
refused "a name with quotes and lines" 65 'a\?"b. \$\(touch x\)' 135m.yaml $'model_name_or_path="a\\n\\"b\' $(touch x)"'
refused "a card that is none" 64 "'toaster' is not a known card; known are T4, " --gpu toaster 135m.yaml
refused "a card with quotes and lines" 64 "'a\?\"b;\\$\(touch x\)' is not a known card" --gpu $'a\n"b;$(touch x)' 135m.yaml
refused "no card" 64 '--gpu is .*; expected NAME' --gpu '' 135m.yaml
refused "no rank" 64 "-n is '0'; expected N" -n 0 135m.yaml
refused "too many ranks" 64 "-n is '5000'; expected N" -n 5000 135m.yaml
refused "ranks that are no number" 64 "-n is '2x'; expected N" -n 2x 135m.yaml
refused "a card and the CPU" 64 '--gpu: does not go with --device cpu' --device cpu 135m.yaml
refused "arithmetic that the card has not" 64 'bfloat16: NVIDIA T4, 16 GB has no arithmetic for it' 135m.yaml bnb_4bit_compute_dtype=bfloat16
refused "rows that nothing holds" 64 'memory: at least [0-9.]+ GiB is needed' 135m.yaml max_length=16777216
is "and what would fit is found" yes "$([ "$("$qlora" plan --gpu T4 135m.yaml max_length=16777216 2>/dev/null | grep -c 'max_length, 1 row at a time  *[1-9]')" = 1 ] && echo yes)"
refused "rows longer than any" 64 'expected a whole number from 2 to 16777216' 135m.yaml max_length=16777217
expect_status "4096 ranks and a million rows" 0 "$qlora" plan --json --gpu T4 -n 4096 135m.yaml per_device_train_batch_size=1048576 global_batch_size=9000000000000
expect_status "a run is for what is there" 64 "$worker" --gpu T4 135m.yaml
expect_line "and says so" '--gpu: only with --plan'
expect_status "a value is missing" 64 "$worker" --plan --gpu
expect_line "and which" '--gpu: needs a value'
rm -r models/empty models/cut out err
find . | sort >"$scratch.after"
if cmp -s "$scratch.before" "$scratch.after"; then pass "nothing is left behind"; else flunk "left: $(diff "$scratch.before" "$scratch.after")"; fi
rm -f "$scratch.before" "$scratch.after"
finish
