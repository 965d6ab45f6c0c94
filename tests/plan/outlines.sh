# shellcheck shell=bash disable=SC2034
# For tests of plans: `. outlines.sh BIN_FOLDER`. A folder with models of real shapes and no weights, in which plans run.
# shellcheck source=tests/support/shell.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/shell.sh" "$1"
bin=$(cd "$bin" && pwd)
qlora=$bin/qlora
worker=$bin/qlora-worker
cd "$scratch" || exit 1
mkdir models data
printf '{"text": "some"}\n' >data/train.jsonl

# outline SHAPE NAME
outline() {
  "$bin/model_outline" "$1" "models/$2" || exit 1
}

# config NAME KEY=VALUE...: a configuration with the model of that name
config() {
  printf 'model_name_or_path: models/%s\ndataset: data/train.jsonl\noutput_dir: out\n' "$1" >"$1.yaml"
}

# plan WORD...: `qlora plan --json`; the plan is in $scratch/out, what was said in $scratch/err, and $? is its status
plan() {
  "$qlora" plan --json "$@" >"$scratch/out" 2>"$scratch/err"
}

# value KEY: of the last plan, where the key stands first
value() {
  grep -o "\"$1\": [^,}]*" "$scratch/out" | head -n 1 | sed "s/^\"$1\": //"
}

# most KEY: what the last plan says of the largest value of a key; "null" if there is none
most() {
  sed -E "s/.*\"most\": \{.*\"$1\": (null|\{\"value\": ([0-9]+)).*/\1/; s/\{\"value\": //" "$scratch/out"
}

# is NAME WANTED GOT
is() {
  if [ "$2" = "$3" ]; then pass "$1"; else flunk "$1: '$3' instead of '$2'; it said: $(tail -n 2 "$scratch/err")"; fi
}
