#!/usr/bin/env bash
# Files made to harm, through the whole program: 64, 65 or 77 in one line, within 5 s and 512 MB, nothing else read, run or written.
#   hostile_files.sh BIN_FOLDER [all]     all: every way to spoil a checkpoint, not a choice
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/../support/shell.sh" "$1"
# shellcheck source=tests/faults/record.sh
. "$(dirname "$0")/../faults/record.sh"
which=${2:-some}
cd "$top" || exit 1

out=$scratch/out-dir
model=$scratch/model
head -n 8 examples/data/train.jsonl >"$scratch/data.jsonl"
tried=0
most_seconds=0
most_mib=0

train() { # CONFIG KEY=VALUE...
  "$bin/measure" "$scratch/use" timeout 60 "$worker" --threads 1 "$@"
}

keys=(output_dir="$out" dataset="$scratch/data.jsonl" eval_dataset=null eval_strategy=no max_steps=4 save_steps=2)

# Processor time, so that a busy machine fails nobody. Sanitizers multiply memory.
check_use() { # NAME
  local seconds mib
  read -r seconds mib <"$scratch/use"
  if awk "BEGIN { exit !($seconds > 5) }"; then flunk "$1: took $seconds s"; fi
  if [ "$mib" -gt 512 ] && ! grep -q __asan_init "$worker"; then flunk "$1: took $mib MiB"; fi
  most_seconds=$(awk "BEGIN { print ($seconds > $most_seconds) ? $seconds : $most_seconds }")
  if [ "$mib" -gt "$most_mib" ]; then most_mib=$mib; fi
  tried=$((tried + 1))
}

# refused NAME STATUS PATTERN CONFIG KEY=VALUE...
refused() {
  local name=$1 status=$2 pattern=$3
  shift 3
  expect_status "$name: exit status" "$status" train "$@"
  expect_line "$name: message" "^qlora: error: .*$pattern"
  if [ "$(grep -c '^qlora: error: ' "$scratch/err")" -ne 1 ]; then flunk "$name: not one error line"; fi
  if grep -q 'root:' "$scratch/err" "$scratch/out"; then flunk "$name: shows what is in /etc/passwd"; fi
  check_use "$name"
}

# With a model of its own, which a case has spoilt.
refused_model() { # NAME STATUS PATTERN
  refused "$1" "$2" "$3" examples/demo.yaml "${keys[@]}" model_name_or_path="$model"
}

fresh() {
  rm -rf "$model" "$out"
  cp -r examples/model "$model"
}

many() { # TEXT COUNT: so many of them in a row
  yes "$1" | head -n "$2" | tr -d '\n'
}

# header SIZE: the length of a safetensors header, as the file begins with it
header() {
  local n=$1 i text=
  for ((i = 0; i < 8; i++)); do
    text+=$(printf '\\x%02x' $((n >> 8 * i & 255)))
  done
  printf '%b' "$text"
}

models() {
  fresh
  { printf '{"x": ['; many '{},' 5000000; printf '{}]}'; } >"$model/config.json"
  refused_model "config.json of 5 million objects" 65 'config.json:1: holds more than 2621440 values'
  fresh
  { printf '{"x": ['; many '{},' 1300000; printf '{}]}'; } >"$model/config.json"
  refused_model "config.json of as many as are read" 65 'config.json: architectures: is missing'
  fresh
  many '[' 40000000 >"$model/tokenizer.json"
  refused_model "tokenizer.json of 40 MB of brackets" 65 'tokenizer.json:1: holds more than'
  fresh
  { printf '{"x": ['; many '{},' 1300000; printf '{}], "y": 99999999999999999999999, "z": "'; many ' ' 37500000; printf '"}'; } >"$model/tokenizer.json"
  refused_model "tokenizer.json as large as is read" 65 'tokenizer.json: model is absent'
  fresh
  truncate -s 100G "$model/tokenizer.json"
  refused_model "tokenizer.json of 100 GB of nothing" 65 'tokenizer.json: has 107374182400 bytes'
  fresh
  { printf '{"added_tokens_decoder": {"0": '; many '[' 2500; many ']' 2500; printf '}}'; } >"$model/tokenizer_config.json"
  refused_model "tokenizer_config.json 2500 levels deep" 65 'tokenizer_config.json:1: is not valid JSON'
}

weights() {
  fresh
  local size=60000000
  { header $size; printf '{"__metadata__":{"a":['; many '[],' $(((size - 30) / 3)); many ' ' 100; } >"$model/model.safetensors"
  refused_model "notes of 20 million lists in the weights" 65 'model.safetensors: .*(header|__metadata__)'
  fresh
  { header 99999999; printf '{"__metadata__":{"a":"'; many x 99999974; printf '"}}'; } >"$model/model.safetensors"
  refused_model "a note of 100 MB" 65 'tensor .*(absent|missing|not in)'
  fresh
  { header 60000000; printf '{'; many '"a":{},' 8571428; printf '   '; } >"$model/model.safetensors"
  refused_model "8 million tensors without a shape" 65 'model.safetensors: tensor a: has no dtype'
  fresh
  rm "$model/model.safetensors"
  { printf '{"weight_map": {"a": ['; many '[],' 8000000; printf '[]]}}'; } >"$model/model.safetensors.index.json"
  refused_model "an index of 8 million lists" 65 'index.json:1: holds more than'
  for name in ../../../../../etc/passwd /etc/passwd '..' 'model\u0000.safetensors' 'a\nb' "$(many a 300)"; do
    printf '{"weight_map": {"model.norm.weight": "%s"}}' "$name" >"$model/model.safetensors.index.json"
    refused_model "the shard ${name:0:20}" 77 'names a shard that is no plain name in its folder'
  done
  printf '{"weight_map": {"model.norm.weight": "model.safetensors.1"}}' >"$model/model.safetensors.index.json"
  ln -s /etc/passwd "$model/model.safetensors.1"
  refused_model "a shard that is a link" 77 'model.safetensors.1: is a symbolic link'
}

data() {
  fresh
  { printf '{"question": "a", "answer": "'; many x 70000000; printf '"}\n'; } >"$scratch/large.jsonl"
  refused "a record of 70 MB" 65 'large.jsonl:1: the record has more than 67108864 bytes' examples/demo.yaml "${keys[@]}" dataset="$scratch/large.jsonl"
  { printf '{"question": "a", "answer": "b", "x": ['; many '{},' 600000; printf '{}]}\n'; } >"$scratch/values.jsonl"
  refused "a record of a million values" 65 'values.jsonl:1: the record holds more than 1048576 values' examples/demo.yaml "${keys[@]}" \
    dataset="$scratch/values.jsonl"
  { printf '{"question": "a", "answer": "b"}\n{"question": '; many '[' 100000; printf '\n'; } >"$scratch/deep.jsonl"
  refused "a record 100000 levels deep" 65 'deep.jsonl:2: is not valid JSON' examples/demo.yaml "${keys[@]}" dataset="$scratch/deep.jsonl"
  printf '{"question": "a", "answer": "b"}\n{"question": "a\0b", "answer": "b"}\n' >"$scratch/nul.jsonl"
  refused "a record with a NUL byte" 65 'nul.jsonl:2: holds a NUL byte' examples/demo.yaml "${keys[@]}" dataset="$scratch/nul.jsonl"
  printf '{"question": "a", "answer": "\355\240\200"}\n' >"$scratch/half.jsonl"
  refused "half a character" 65 'half.jsonl:1: is not valid UTF-8' examples/demo.yaml "${keys[@]}" dataset="$scratch/half.jsonl"
  truncate -s 100G "$scratch/sparse.jsonl"
  refused "a data set of 100 GB of nothing" 65 'sparse.jsonl:1: the record has more than' examples/demo.yaml "${keys[@]}" \
    dataset="$scratch/sparse.jsonl"
}

configs() {
  local yaml=$scratch/bomb.yaml
  printf 'a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n' >"$yaml"
  refused "a bomb of aliases" 64 'bomb.yaml:1: anchors and aliases' "$yaml"
  { cat examples/demo.yaml; many '# comment\n' 1000000; } >"$yaml"
  refused "a configuration of 10 MB" 64 'bomb.yaml: has [0-9]+ bytes, more than the 1048576 allowed' "$yaml"
  { printf 'dataset: '; many '[' 500000; } >"$yaml"
  refused "half a million levels" 64 'bomb.yaml:1: more than 8 levels' "$yaml"
  { printf 'dataset: ['; many '{},' 300000; } >"$yaml"
  refused "300000 mappings" 64 'bomb.yaml:1: more than 65536 values' "$yaml"
  { printf '{'; many '? ' 400000; } >"$yaml"
  refused "400000 keys without a value" 64 'bomb.yaml:1: ' "$yaml"
  printf 'output_dir: !!python/object/apply:os.system ["true"]\n' >"$yaml"
  refused "a tag" 64 'bomb.yaml:1: tags' "$yaml"
}

# ---- adapters and checkpoints ----

good_run() {
  rm -rf "$out"
  expect_status "a good run" 0 train examples/demo.yaml "${keys[@]}"
  cp -r "$out" "$scratch/good"
}

adapters() {
  local adapter=$scratch/adapter
  rm -rf "$adapter"
  mkdir "$adapter"
  cp "$scratch/good"/adapter_* "$adapter"
  { printf '{"x": ['; many '{},' 340000; printf '{}]}'; } >"$adapter/adapter_config.json"
  refused "adapter_config.json of a million bytes of objects" 65 'adapter_config.json' examples/demo.yaml "${keys[@]}" output_dir="$scratch/new" \
    adapter_name_or_path="$adapter"
  cp "$scratch/good/adapter_config.json" "$adapter"
  { header 60000000; printf '{"__metadata__":{"a":['; many '{},' 19999990; } >"$adapter/adapter_model.safetensors"
  refused "notes of 20 million objects in an adapter" 65 'adapter_model.safetensors: ' examples/demo.yaml "${keys[@]}" output_dir="$scratch/new" \
    adapter_name_or_path="$adapter"
}

# spoilt NAME STATUS PATTERN: the run goes on from the only checkpoint, which a case has spoilt
spoilt() {
  refused "$1" "$2" "$3" examples/demo.yaml "${keys[@]}"
  if [ -e "$out/run/DONE-4" ]; then flunk "$1: the run went on"; fi
}

one_checkpoint() {
  rm -rf "$out"
  cp -r "$scratch/good" "$out"
  rm -rf "$out/checkpoint-00000002" "$out"/run/DONE*
}

checkpoints() {
  local way ways=0
  while IFS= read -r way; do
    case $which/$way in
      all/*) ;;
      */"external storage" | */"a virtual dataset" | */"an external link" | */"2^33 elements" | */NaN | */"a thousand groups" | */"an unknown filter") ;;
      *) continue ;;
    esac
    one_checkpoint
    "$bin/hostile_state" "$out/checkpoint-00000004" 4 "$way" || continue
    HDF5_PLUGIN_PATH=$scratch spoilt "a checkpoint with $way" 65 'checkpoint-00000004/state.h5: '
    ways=$((ways + 1))
  done < <("$bin/hostile_state" list)
  if [ "$ways" -lt 7 ]; then flunk "only $ways ways to spoil a checkpoint were tried"; fi
  one_checkpoint
  truncate -s 1P "$out/checkpoint-00000004/state.h5" 2>/dev/null || truncate -s 15T "$out/checkpoint-00000004/state.h5"
  sed -i "s|\"name\": \"state.h5\", \"size\": [0-9]*|\"name\": \"state.h5\", \"size\": $(stat -c %s "$out/checkpoint-00000004/state.h5")|" \
    "$out/checkpoint-00000004/MANIFEST.json"
  spoilt "a state larger than any memory" 65 'holds checkpoints, but no good one'
  grep -q "more than this machine's memory" "$scratch/err" || flunk "a state larger than any memory: not said"
  one_checkpoint
  sed -i 's|"name": "state.h5"|"name": "../../../../etc/passwd"|' "$out/checkpoint-00000004/MANIFEST.json"
  spoilt "a manifest that names another file" 77 'holds checkpoints, but no good one'
  one_checkpoint
  mv "$out/checkpoint-00000004/state.h5" "$scratch/state.h5"
  ln -s "$scratch/state.h5" "$out/checkpoint-00000004/state.h5"
  spoilt "a state that is a link" 77 'holds checkpoints, but no good one'
}

models
weights
data
record "" "" model_and_data "65 or 77 within 5 s and 512 MB" "$tried files, at most $most_seconds s and $most_mib MiB"
configs
record "" "T45" configurations "64, nothing written" "aliases, 10 MB, depth, numbers of values, tags: 64"
good_run
adapters
checkpoints
record "31" "" hostile_files "65 or 77 within 5 s and 512 MB, nothing else is read or run" "$tried files, at most $most_seconds s and $most_mib MiB"
finish
