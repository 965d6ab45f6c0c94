# shellcheck shell=bash disable=SC2034
# For the tests of the whole worker on emulated GPUs: `. common.sh BIN_FOLDER`.
# shellcheck source=tests/support/shell.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/shell.sh" "$1"
need_mpirun
# shellcheck source=tests/faults/record.sh
. "$(dirname "${BASH_SOURCE[0]}")/../faults/record.sh"
cpu_worker=$worker
worker=$bin/qlora-worker-emulated
cd "$top" || exit 1

# Small enough for threads of a GPU that are played one after the other.
head -n 60 examples/data/train.jsonl >"$scratch/data.jsonl"
common=(dataset="$scratch/data.jsonl" eval_dataset=null eval_strategy=no save_strategy=no max_length=48 excess_length_strategy=truncate audit=warn max_steps=2 global_batch_size=5
  lora_dropout=0.1 lora_r=4 learning_rate=5e-3 warmup_ratio=0 num_train_epochs=1 quantized_cache=false)

# train NAME RANKS KEY=VALUE...: with $program, on $device
program=$worker
device=cuda
train() {
  local name=$1 ranks=$2
  shift 2
  local start=()
  [ "$ranks" = 1 ] || start=(mpirun -np "$ranks")
  "${start[@]}" "$program" --device "$device" examples/demo.yaml "${common[@]}" output_dir="$scratch/$name" "$@" >"$scratch/out" 2>"$scratch/err"
}

digest() {
  sha256sum "$scratch/$1/adapter_model.safetensors" 2>/dev/null | cut -d' ' -f1
}

losses() {
  sed -n 's/.*"event": "step".*"loss": \([^,]*\),.*/\1/p' "$scratch/$1/metrics.jsonl"
}

# near NAME OTHER LIMIT: the losses of their steps, relative
near() {
  if paste <(losses "$1") <(losses "$2") | awk -v limit="$3" '{d = $1 - $2; if (d < 0) d = -d; if (!(d <= limit * $2)) bad = 1} END {exit bad || NR == 0}'; then
    pass "$1: losses within $3 of those of $2"
  else
    flunk "$1: losses $(losses "$1" | tr '\n' ' ') beside $(losses "$2" | tr '\n' ' ') of $2"
  fi
}

# same NAME REFERENCE RANKS KEY=VALUE...
same() {
  local name=$1 reference=$2
  shift 2
  train "$name" "$@" || {
    flunk "$name: did not end well: $(tail -n 2 "$scratch/err")"
    return
  }
  if [ -n "$(digest "$name")" ] && [ "$(digest "$name")" = "$(digest "$reference")" ]; then
    pass "$name: same bytes as $reference"
  else
    flunk "$name: other bytes than $reference"
  fi
  rm -rf "${scratch:?}/$name"
}
