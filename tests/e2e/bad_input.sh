#!/usr/bin/env bash
# Bad input through the whole program: one line that names file and place, the right exit status,
# nothing written, no crash.   bad_input.sh BIN_FOLDER
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/../support/shell.sh" "$1"
cd "$top" || exit 1

data=$scratch/data.jsonl
head -n 8 examples/data/train.jsonl >"$data"

# fresh: a copy of the example model that a case may break; its path in $model
fresh() {
  model=$scratch/model-$checks
  rm -rf "$model"
  cp -r examples/model "$model"
}

# refused NAME STATUS PATTERN KEY=VALUE...: training ends so, with that line, and leaves no adapter
refused() {
  local name=$1 status=$2 pattern=$3
  shift 3
  rm -rf "$scratch/out-dir"
  expect_status "$name: exit status" "$status" timeout 60 "$worker" --threads 1 examples/demo.yaml output_dir="$scratch/out-dir" \
    dataset="$data" eval_dataset=null eval_strategy=no max_steps=1 "$@"
  expect_line "$name: message" "^qlora: error: .*$pattern"
  local lines
  lines=$(grep -c '^qlora: error: ' "$scratch/err")
  if [ "$lines" -ne 1 ]; then flunk "$name: $lines error lines instead of one"; fi
  if [ -e "$scratch/out-dir/adapter_model.safetensors" ]; then flunk "$name: left an adapter behind"; fi
}

json_set() { # FILE KEY VALUE: replaces or adds a top-level key of a JSON object that is printed one key a line
  sed -i -E "s|^( *)\"$2\":.*[^,](,?)\$|\\1\"$2\": $3\\2|" "$1"
  grep -q "\"$2\": $3" "$1" || sed -i "0,/{/s||{ \"$2\": $3,|" "$1"
}

# ---- the model folder ----
refused "no model folder" 65 'no/such/folder.*no such folder' model_name_or_path=no/such/folder
fresh; rm "$model/config.json"
refused "no config.json" 65 'config.json' model_name_or_path="$model"
fresh; echo '{"architectures": ["GPT2LMHeadModel"]}' >"$model/config.json"
refused "unknown architecture" 65 'GPT2LMHeadModel is not supported; supported are .*LlamaForCausalLM' model_name_or_path="$model"
fresh; json_set "$model/config.json" hidden_size -5
refused "negative size" 65 'config.json: hidden_size' model_name_or_path="$model"
fresh; json_set "$model/config.json" num_hidden_layers 999999999
refused "absurd number of layers" 65 'num_hidden_layers: 999999999 is outside' model_name_or_path="$model"
fresh; json_set "$model/config.json" hidden_size '"many"'
refused "text for a number" 65 'hidden_size: must be an integer, not a string' model_name_or_path="$model"
fresh; sed -i '/"hidden_size"/d' "$model/config.json"
refused "missing key" 65 'hidden_size: is missing' model_name_or_path="$model"
fresh; json_set "$model/config.json" intermediate_size 64
refused "shapes that do not fit" 65 'tensor model.layers.0.mlp.(gate|up|down)_proj.weight has not the shape' model_name_or_path="$model"
fresh; printf '{"a": ' >"$model/config.json"
refused "torn JSON" 65 'config.json:1: is not valid JSON' model_name_or_path="$model"
fresh; rm "$model/model.safetensors"
refused "no weights" 65 "$model" model_name_or_path="$model"
fresh; truncate -s -1000 "$model/model.safetensors"
refused "truncated weights" 65 'model.safetensors' model_name_or_path="$model"
fresh; truncate -s 5 "$model/model.safetensors"
refused "weights of 5 bytes" 65 'model.safetensors' model_name_or_path="$model"
fresh; printf '\377\377\377\377\377\377\377\177' | dd of="$model/model.safetensors" conv=notrunc 2>/dev/null
refused "lying header length" 65 'model.safetensors' model_name_or_path="$model"
fresh; sed -i 's/"BF16"/"XF16"/' "$model/model.safetensors"
refused "unknown dtype" 65 'model.safetensors: tensor .*dtype' model_name_or_path="$model"
fresh; size=$(stat -c %s "$model/model.safetensors"); printf '\377\177' | dd of="$model/model.safetensors" bs=1 seek=$((size - 200000)) conv=notrunc 2>/dev/null
refused "NaN weights" 65 'tensor .* holds NaN or infinity' model_name_or_path="$model"
fresh; echo '{"metadata": {}, "weight_map": {"model.norm.weight": "../../etc/passwd"}}' >"$model/model.safetensors.index.json"; rm "$model/model.safetensors"
refused "index that leads outside" 77 'index.json' model_name_or_path="$model"

# ---- the tokenizer ----
fresh; rm "$model/tokenizer.json"
refused "no tokenizer" 65 'tokenizer.json' model_name_or_path="$model"
fresh; echo '{"model": {"type": "Unigram", "vocab": []}}' >"$model/tokenizer.json"
refused "unsupported tokenizer" 65 'tokenizer.json.*Unigram' model_name_or_path="$model"
fresh; echo '{}' >"$model/tokenizer.json"
refused "empty tokenizer" 65 'tokenizer.json' model_name_or_path="$model"

# ---- data ----
refused "no data file" 65 'no-such.jsonl' dataset="$scratch/no-such.jsonl"
: >"$scratch/empty.jsonl"
refused "empty data file" 65 'empty.jsonl' dataset="$scratch/empty.jsonl"
printf '{"question": "a", "answer": "b"}\n{"question": "a"\n' >"$scratch/torn.jsonl"
refused "torn record" 65 'torn.jsonl:2' dataset="$scratch/torn.jsonl"
printf '{"question": "a", "answer": "b"}\n{"question": 5, "answer": "b"}\n' >"$scratch/type.jsonl"
refused "wrong type in a record" 65 'type.jsonl:2' dataset="$scratch/type.jsonl"
printf '{"question": "a", "answer": "b\377"}\n' >"$scratch/utf8.jsonl"
refused "broken UTF-8" 65 'utf8.jsonl:1' dataset="$scratch/utf8.jsonl"
printf '{"foo": "a"}\n' >"$scratch/fields.jsonl"
refused "unknown fields" 65 'fields.jsonl:1' dataset="$scratch/fields.jsonl"
printf '{"prompt": "abc def ghi jkl mno pqr", "completion": ""}\n' >"$scratch/long.jsonl"
refused "nothing is left to train on" 65 '' dataset="$scratch/long.jsonl" max_length=2
refused "too long is an error" 65 'data.jsonl:1' excess_length_strategy=error max_length=8
gzip -c "$data" | head -c -4 >"$scratch/cut.jsonl.gz"
refused "compressed data cut off" 65 'cut.jsonl.gz:9: the gzip data end too soon' dataset="$scratch/cut.jsonl.gz"
head -c 100000000 /dev/zero | tr '\0' '\n' | gzip -9 >"$scratch/bomb.gz"
refused "a bomb" 65 'bomb.gz:.* more than 500 to 1' dataset="$scratch/bomb.gz"
printf 'question,answer\na,b\nc,d,e\n' >"$scratch/ragged.csv"
refused "a ragged row" 65 'ragged.csv:3: the row has 3 fields, the header 2' dataset="$scratch/ragged.csv"
printf 'question,answer\na,"b\nc,d\n' >"$scratch/quote.csv"
refused "a quote left open" 65 'quote.csv:2: the quote that begins a field here is not closed' dataset="$scratch/quote.csv"
cp "$data" "$scratch/data.txt"
refused "JSON Lines as text" 65 'data.txt:1: holds records of JSON' dataset="$scratch/data.txt"
refused "a pattern without a match" 65 'no file matches this pattern' dataset="$scratch/*.parquet"
mkdir "$scratch/set" && cp "$data" "$scratch/set/a.jsonl" && ln -s ../set "$scratch/set/again"
refused "a folder without end" 65 'set/again: is a symbolic link to a folder above it' dataset="$scratch/set"
rm "$scratch/set/again" && mkfifo "$scratch/set/b.jsonl"
refused "a pipe in a folder" 65 'set/b.jsonl: ' dataset="$scratch/set"
printf '{"conversations": [{"from": "alien", "value": "x"}]}\n' >"$scratch/who.jsonl"
refused "an unknown role" 65 'who.jsonl:1: .*message 1 is from "alien"' dataset="$scratch/who.jsonl"

# ---- configuration and output ----
refused "unknown key" 64 'learning_rat.*learning_rate' learning_rat=1
refused "out of range" 64 'lora_dropout' lora_dropout=1.5
refused "too little memory" 64 'memory: at least .* is needed' max_memory=1MiB
refused "no layer selected" 64 'target_modules' 'target_modules=[nothing_proj]'
refused "no such device" 64 'cuda' device=cuda
refused "no such adapter" 65 'no-adapter' adapter_name_or_path="$scratch/no-adapter"
touch "$scratch/a-file"
refused "output folder under a file" 74 'a-file' output_dir="$scratch/a-file/out"
expect_status "configuration that is not there" 64 "$worker" no/such.yaml
expect_status "no configuration" 64 "$worker"
expect_status "unknown option" 64 "$worker" --frobnicate examples/demo.yaml
expect_status "full standard output" 74 bash -c "'$worker' --help-config >/dev/full"

# All mistakes of a file at once, each with its line.
printf 'model_name_or_path: x\nlerning_rate: 1\noutput_dir: y\nlora_r: many\ndataset: z\n' >"$scratch/bad.yaml"
expect_status "several mistakes" 64 "$worker" "$scratch/bad.yaml"
expect_line "first mistake" 'bad.yaml:2: .*learning_rate'
expect_line "second mistake" 'bad.yaml:4: .*lora_r'
finish
