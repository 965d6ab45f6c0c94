# shellcheck shell=bash disable=SC2034
# For the tests of faults (README.md beside this file): `. harness.sh BIN_FOLDER [all]`.
# shellcheck source=tests/support/shell.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/shell.sh" "$(cd "$1" && pwd)"
# shellcheck source=tests/faults/record.sh
. "$(dirname "${BASH_SOURCE[0]}")/record.sh"
need_mpirun
all=${2:-}
# planted.sh brings its own.
worker=${QL_WORKER:-$worker}
faulty=${QL_FAULTY:-$bin/qlora-worker-faulty}
shim=${bin%/*}/lib/libql_fault_shim.so
bound=${QL_BOUND:-900} # seconds that a run may take before it counts as hanging; a busy machine makes 120 of 2
cd "$top" || exit 1

# What a run leaves is looked for in places of its own; the names of sockets must stay short. Ranks that wait do not keep
# others from working, and mpirun ends them at once, as the launcher has it.
mkdir "$scratch/tmp"
shared=$(mktemp -d /dev/shm/qlora-test.XXXXXX)
trap 'rm -rf "$scratch" "$shared"' EXIT
export TMPDIR=$scratch/tmp OMPI_MCA_btl_vader_backing_directory=$shared OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_odls_base_sigkill_timeout=0
# A step that is to be saved is, however busy the disk is; tests of slow disks take this back.
export QLORA_SAVE_PATIENCE=600

# Steps of 20 to 50 ms.
steps=40
head -n 60 examples/data/train.jsonl >"$scratch/data.jsonl"
common=(dataset="$scratch/data.jsonl" eval_dataset=null eval_strategy=no max_length=64 excess_length_strategy=truncate audit=warn num_train_epochs=100
  max_steps="$steps" lora_dropout=0.1 lora_r=4 learning_rate=5e-3 global_batch_size=3 save_steps=10 save_minutes=0 save_total_limit=2)

# as_job PROGRAM RANKS NAME KEY=VALUE...: the command of a run in $scratch/NAME
as_job() {
  local program=$1 ranks=$2 name=$3
  shift 3
  job=()
  [ "$ranks" = 1 ] || job=(mpirun -np "$ranks")
  job+=("$program" --threads 1 examples/demo.yaml "${common[@]}" output_dir="$scratch/$name" "$@")
}

# The processes of the last run that still live. A marker in the environment: parents may be gone.
survivors() {
  grep -lszE -- "^QLORA_RUN_ID=$run_id(:.*)?\$" /proc/[0-9]*/environ | grep -o '[0-9]*'
}

now() {
  echo "$EPOCHREALTIME"
}

calc() {
  awk "BEGIN {printf \"%.2f\", $1}"
}

# Until no process of the last run is left, a few seconds at most; then it is $ended.
wait_for_all() {
  local patience
  for ((patience = 0; patience < 200; patience++)); do
    [ -n "$(survivors)" ] || break
    sleep 0.02
  done
  ended=$(now)
}

# run_bounded COMMAND...: its exit status in $status (124: it hung), $seconds until no process of it is left
run_bounded() {
  local start
  run_id=$scratch/$((runs += 1))
  start=$(now)
  QLORA_RUN_ID=$run_id timeout -k 5 "$bound" "$@" >"$scratch/out" 2>"$scratch/err" </dev/null
  status=$?
  wait_for_all
  seconds=$(calc "$ended - $start")
}
runs=0

# suffer NAME RANKS FAULT [KEY=VALUE...]
suffer() {
  local name=$1 ranks=$2 fault=$3
  shift 3
  as_job "$faulty" "$ranks" "$name" "$@"
  rm -f "$scratch/mark"
  QLORA_FAULT=$fault QLORA_FAULT_MARK=$scratch/mark QL_SHIM_UNDER=${QL_SHIM_UNDER:-$scratch/$name} run_bounded "${job[@]}"
  down=none
  if [ -s "$scratch/mark" ]; then
    down=$(calc "$ended - $(head -n 1 "$scratch/mark" | cut -d' ' -f1)")
  elif [ -n "$fault" ]; then
    flunk "$name: the fault $fault was not reached: $(tail -n 3 "$scratch/err")"
  fi
}

digest() {
  sha256sum "$scratch/$1/adapter_model.safetensors" 2>/dev/null | cut -d' ' -f1
}

# undisturbed [KEY=VALUE...]: the bytes that runs with these keys end with; each computed once
declare -A known=()
undisturbed() {
  local key="${common[*]} $*" name=undisturbed-${#known[@]}
  wanted=${known[$key]:-}
  [ -z "$wanted" ] || return 0
  as_job "$worker" 1 "$name" "$@"
  run_bounded "${job[@]}"
  wanted=$(digest "$name")
  [ "$status" = 0 ] && [ -n "$wanted" ] || flunk "the undisturbed run: exit status $status: $(tail -n 3 "$scratch/err")"
  known[$key]=$wanted
  rm -rf "${scratch:?}/$name"
}

# go_on NAME RANKS [KEY=VALUE...]
go_on() {
  local name=$1 ranks=$2
  shift 2
  undisturbed "$@"
  as_job "$worker" "$ranks" "$name" "$@"
  run_bounded "${job[@]}"
  if [ "$status" = 0 ]; then pass "$name: goes on on $ranks ranks"; else flunk "$name: goes on: exit status $status: $(tail -n 3 "$scratch/err")"; fi
  if [ "$(digest "$name")" = "$wanted" ]; then pass "$name: the bytes of an undisturbed run"; else flunk "$name: other bytes than an undisturbed run"; fi
  resumed_at=$(sed -n 's/.*resumed: .*, step \([0-9]*\) of .*/\1/p' "$scratch/err" | head -n 1)
  resumed_at=${resumed_at:-0}
  local lines
  lines=$(grep -c '"event": "step"' "$scratch/$name/metrics.jsonl")
  if [ "$lines" = "$(grep '"event": "step"' "$scratch/$name/metrics.jsonl" | cut -d, -f2 | sort -u | wc -l)" ]; then
    pass "$name: $lines step lines, none twice"
  else
    flunk "$name: steps are in metrics.jsonl twice"
  fi
}

# exits NAME STATUS [STATUS...]: the last run ended with one of them
exits() {
  local name=$1 wanted
  shift
  for wanted in "$@"; do
    if [ "$status" = "$wanted" ]; then
      pass "$name: exit status $status"
      return
    fi
  done
  flunk "$name: exit status $status instead of $*: $(tail -n 3 "$scratch/err")"
}

# nothing_left NAME: after a run that ended by itself. What dies may leave a checkpoint that was being written, under its temporary name: the next
# start removes it, and is looked at in its turn.
nothing_left() {
  local name=$1 left unfinished=()
  case $status in 0 | 85) ;; *) unfinished=(! -path '*/.tmp-checkpoint-*') ;; esac
  left=$(
    survivors | sed 's|^|process |'
    find "$shared" "$scratch/tmp" -mindepth 1 ! -type d
    find "$scratch/$name" "${unfinished[@]}" \( -name '.tmp-*' -o -name '*.tmp' -o -name '*.tmp.*' \) 2>/dev/null
  )
  if [ -z "$left" ]; then
    pass "$name: nothing is left"
  else
    flunk "$name: left behind: $(head -n 5 <<<"$left" | tr '\n' ' ')"
    # They are ours by the marker, and no next case shall meet them.
    survivors | xargs -r kill -KILL
  fi
}

# within NAME SECONDS LIMIT
within() {
  if awk "BEGIN {exit !($2 <= $3 * ${QL_SLACK:-10})}"; then pass "$1: $2 s"; else flunk "$1: $2 s, more than $3"; fi
}

# The launcher takes the worker that lies beside it.
mkdir "$scratch/bin"
cp "$bin/qlora" "$scratch/bin/qlora"
ln -s "$faulty" "$scratch/bin/qlora-worker"

# outside NAME mpirun|run SIGNAL PLACE STEP [TIMES]: a run of two ranks whose mpirun or launcher gets a signal while a rank ($lingers: 1)
# lingers at that place ($linger: how); $status, $down from the last signal until no process is left
outside() {
  local name=$1 target=$2 signal=$3 place=$4 step=$5 times=${6:-1} pid i
  as_job "$faulty" 2 "$name"
  [ "$target" = mpirun ] || job=("$scratch/bin/qlora" run -n 2 --threads 1 examples/demo.yaml "${common[@]}" output_dir="$scratch/$name")
  rm -f "$scratch/mark"
  run_id=$scratch/$((runs += 1))
  QLORA_RUN_ID=$run_id QLORA_FAULT=${lingers:-1}:$step:${linger:-asked}:$place QLORA_FAULT_MARK=$scratch/mark \
    timeout -k 5 "$bound" setsid -w sh -c 'echo $$ >"$0"; exec "$@"' "$scratch/pid" "${job[@]}" >"$scratch/out" 2>"$scratch/err" </dev/null &
  pid=$!
  until [ -s "$scratch/mark" ] || ! kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
  for ((i = 0; i < times; i++)); do
    [ "$i" = 0 ] || sleep 0.1
    kill -s "$signal" "$(cat "$scratch/pid")" 2>/dev/null
  done
  started=$(now)
  wait "$pid" 2>/dev/null
  status=$?
  wait_for_all
  down=$(calc "$ended - $started")
}
