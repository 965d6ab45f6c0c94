# shellcheck shell=bash
# For the tests of numbers: `. common.sh BIN_FOLDER [all]`. Runs of the loud model (loud_model.c) whose results are compared
# by bytes and by the lines of metrics.jsonl, whatever the ranks and interruptions.
# shellcheck source=tests/support/shell.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/shell.sh" "$1"
need_mpirun
# shellcheck disable=SC2034
all=${2:-}
faulty=$bin/qlora-worker-faulty
cd "$top" || exit 1

# 24 records of which those with an LOUD (4, 13 and 22, counted from 0) hold the loud token.
loud=$("$bin/qlora" tokenize --model examples/model --no-special <<<'"Z"' | grep -o '[0-9]*' | tail -n 1)
for i in $(seq 0 23); do
  if [ $((i % 9)) = 4 ]; then name='a Z in it'; else name='nothing in it'; fi
  echo "{\"text\": \"This is line $i of the data, with $name and some more\"}"
done >"$scratch/data.jsonl"
sed -n '1,4p;6,9p' "$scratch/data.jsonl" >"$scratch/eval.jsonl"

# loud_model VALUE: $scratch/model-VALUE
make_model() {
  "$bin/loud_model" "$scratch/model-$1" "$loud" "$2" && cp examples/model/tokenizer* "$scratch/model-$1"
}

common=(load_in_4bit=false dataset="$scratch/data.jsonl" eval_dataset=null eval_strategy=no max_length=64 packing=false num_train_epochs=10
  global_batch_size=3 lora_r=4 lora_dropout=0.1 "target_modules=[q_proj,k_proj,v_proj,gate_proj,up_proj]" save_minutes=0)

# job PROGRAM RANKS OUT KEY=VALUE...: output in $scratch/err, returns the exit status
job() {
  local program=$1 ranks=$2 out=$3 start=()
  shift 3
  [ "$ranks" = 1 ] || start=(mpirun -np "$ranks")
  "${start[@]}" "$program" --threads 1 examples/demo.yaml "${common[@]}" output_dir="$scratch/$out" "$@" >"$scratch/out" 2>"$scratch/err"
}

# run NAME STATUS RANKS OUT KEY=VALUE...
run() {
  local name=$1 wanted=$2 got
  shift 2
  job "$worker" "$@"
  got=$?
  if [ "$got" = "$wanted" ]; then
    pass "$name"
  else
    flunk "$name: exit status $got instead of $wanted; it said: $(grep -v '^--' "$scratch/err" | tail -n 3)"
  fi
}

digest() {
  sha256sum "$scratch/$1/adapter_model.safetensors" 2>/dev/null | cut -d' ' -f1
}

# Steps, evaluations and the end, without what time and memory decide.
lines() {
  grep -E '"event": "(step|eval|end)"' "$scratch/$1/metrics.jsonl" | grep -v '"reason": "stopped"' |
    sed -E 's/, "([a-z]+_seconds|tokens_per_second|peak_memory_bytes)": [^,}]*//g'
}

# The newest checkpoint's state: the same numbers are the same bytes.
state() {
  (cd "$scratch/$1" && find . -path './checkpoint-*/state.h5' | sort | tail -n 1 | xargs -r sha256sum)
}

# same NAME OUT REFERENCE
same() {
  if [ -z "$(digest "$2")" ] || [ "$(digest "$2")" != "$(digest "$3")" ]; then
    flunk "$1: other bytes than $3"
  elif ! diff <(lines "$2") <(lines "$3") >"$scratch/difference"; then
    flunk "$1: other lines in metrics.jsonl than $3: $(cut -c 1-200 "$scratch/difference" | head -n 6)"
  elif [ "$(state "$2")" != "$(state "$3")" ]; then
    flunk "$1: another state than $3: $(state "$2"), $(state "$3")"
  else
    pass "$1: same bytes, lines and state"
  fi
}

# disturb RANKS OUT FAULT KEY=VALUE...: a run with QLORA_FAULT=FAULT, says the exit status
disturb() {
  local ranks=$1 out=$2 fault=$3
  shift 3
  QLORA_FAULT=$fault job "$faulty" "$ranks" "$out" "$@"
  echo $?
}
