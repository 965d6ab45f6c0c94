# shellcheck shell=bash disable=SC2034
# For tests of exactness: `. runs.sh BIN_FOLDER`. Runs of twelve steps on the example model, small enough that starting them is most of their
# time; ways to run them that must not matter, chosen at random by a seed; ways to break them off; what they must leave behind.
# shellcheck source=tests/support/shell.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/shell.sh" "$(cd "$1" && pwd)"
need_mpirun
cd "$top" || exit 1
# A rank's death takes the others down at once, as under `qlora run`. Ranks that wait do not keep others from working.
export OMPI_MCA_odls_base_sigkill_timeout=0 OMPI_MCA_mpi_yield_when_idle=1
# A step that is to be saved is, however busy the disk is.
export QLORA_SAVE_PATIENCE=600
# Every step's checkpoint is compared, however busy the disk is.
export QLORA_SAVE_PATIENCE=600
usual_steps=12
device=cpu
program=${QL_FAULTY:-$bin/qlora-worker-faulty} # planted.sh brings its own

# Records of uneven length: packed, a row holds one to six of them; not packed, rows are uneven.
write_records() {
  awk -v n="$1" 'BEGIN {
    for (i = 1; i <= n; i++) {
      text = ""; sum = 0
      for (k = 0; k <= i * 7 % 5; k++) { x = (i * 31 + k * 17) % 90 + 1; text = text (k ? " + " : "") x; sum += x }
      printf "{\"question\": \"What is %s?\", \"answer\": \"It is %d.\"}\n", text, sum
    }
  }'
}
write_records 70 >"$scratch/data.jsonl"
head -n 9 "$scratch/data.jsonl" >"$scratch/eval.jsonl"

# flavour NAME: what is computed, in `keys`. An epoch's last step has fewer rows than the others in each of them. Those that begin with gpu are for
# emulated ones.
flavours=(packed uneven few-rows bfloat16 dense guarded)
flavour() {
  [ "$1" = guarded ] && steps=26 || steps=$usual_steps
  compared=20
  keys=(dataset="$scratch/data.jsonl" eval_dataset=null eval_strategy=no max_length=48 excess_length_strategy=truncate audit=warn lora_dropout=0.1 lora_r=4
    learning_rate=5e-3 max_steps="$steps" num_train_epochs=20 save_steps=1 save_minutes=0 save_total_limit=20 quantized_cache=false)
  case $1 in
    packed) keys+=(global_batch_size=5) ;;
    uneven) keys+=(global_batch_size=11 packing=false group_by_length=true) ;;
    few-rows) keys+=(global_batch_size=2 packing_strategy=wrapped) ;;
    bfloat16) keys+=(global_batch_size=5 bnb_4bit_compute_dtype=bfloat16) ;;
    dense) keys+=(global_batch_size=4 load_in_4bit=false) ;;
    # Evaluated, with the best kept, and losses that are called spikes (none is before 20 were seen) and left out.
    guarded)
      # One that was saved with its evaluation still to come says so.
      compared=1
      keys+=(global_batch_size=2 eval_dataset="$scratch/eval.jsonl" eval_strategy=steps eval_steps=3 load_best_model_at_end=true
        on_nonfinite=skip loss_spike_zscore=0.1 learning_rate=1e-2 lr_scheduler_type=constant save_total_limit=5)
      ;;
    gpu-*)
      keys+=(global_batch_size=3 max_length=32 bnb_4bit_compute_dtype="${1#gpu-}")
      # Gradients too large for the first loss scale.
      [ "$1" != gpu-float16 ] || keys+=(lora_alpha=512 learning_rate=1e-3)
      ;;
    *) echo "no such flavour: $1" >&2 && exit 64 ;;
  esac
}

# ---- chance ----

# seed_with NUMBER: the same numbers choose the same things. Choices are made in this shell, never in a subshell.
seed_with() {
  RANDOM=$(($1 & 32767))
  echo "seed $1"
}

# roll N: a number from 0 to N - 1, in `rolled`
roll() {
  rolled=$(((RANDOM << 15 | RANDOM) % $1))
}

# pick WORD...: one of them, in `picked`
pick() {
  roll $#
  picked=${*:rolled+1:1}
}

# ---- ways to run, which must not matter ----

# find_rungs: the sizes of the memory ladder of what `keys` says, for so many ranks and threads on that processor: max_memory of one of
# them takes that rung. A plan does not know how large the data will be: hence the 64 KiB.
find_rungs() {
  mapfile -t rungs < <(QLORA_CPU=$processor "$program" --device "$device" --threads "$threads" --plan -n "$ranks" --json examples/demo.yaml "${keys[@]}" \
    output_dir="$scratch/plan" 2>/dev/null |
    sed 's/.*"ladder"//' | grep -o '"total_bytes": [0-9]*' | awk '{print $2 + 65536}' | sort -nru)
}

# What there is of instruction sets here.
find_processors() {
  processors=()
  local name
  for name in portable avx2 avx512; do
    if QLORA_CPU=$name "$worker" --probe >/dev/null 2>&1; then processors+=("$name"); else echo "not here: $name"; fi
  done
}

rank_choices=(1 2 3 4)
thread_choices=(1 1 2 3)

# the_way RANKS THREADS PROCESSOR KEY=VALUE...: how runs are started from now on
the_way() {
  ranks=$1 threads=$2 processor=$3
  shift 3
  way_keys=("$@")
  way="$ranks ranks, $threads threads, $processor${*:+, $*}"
  environment=(QLORA_CPU="$processor")
}

# With rows and recomputing as asked, or as a limit of memory makes them.
any_way() {
  local memory=()
  pick "${rank_choices[@]}" && ranks=$picked
  pick "${thread_choices[@]}" && threads=$picked
  # Plain C takes fifty times as long as the others, so it is taken less often.
  pick "${processors[@]}" "${processors[@]:1}" "${processors[@]:1}" "${processors[@]:1}" && processor=$picked
  roll 3
  if [ "$rolled" = 0 ]; then
    find_rungs
    pick "${rungs[@]}" && memory=(max_memory="$picked")
  else
    pick 1 2 3 5 && memory=(per_device_train_batch_size="$picked")
    pick true false auto && memory+=(gradient_checkpointing="$picked")
  fi
  the_way "$ranks" "$threads" "$processor" "${memory[@]}"
  roll 2
  [ "$rolled" = 0 ] && [ "$ranks" -gt 1 ] && unequal_ranks
}

# As if ranks were unequally fast: they get unequal numbers of rows from the third step of a process on.
unequal_ranks() {
  local speeds=() i
  for ((i = 0; i < ranks; i++)); do pick 10 20 70 90 && speeds+=("$picked"); done
  environment+=(QLORA_SPEEDS="$(IFS=, && echo "${speeds[*]}")")
  way+=", speeds ${speeds[*]}"
}

# launch OUT [VARIABLE=VALUE...]: the run of `keys` that way, in the background; $pid, and $log for what it says
launch() {
  local out=$1 start=()
  shift
  log=$out.log
  [ "$ranks" = 1 ] || start=(mpirun -np "$ranks")
  env "${environment[@]}" "$@" "${start[@]}" "$program" --device "$device" --threads "$threads" examples/demo.yaml "${keys[@]}" output_dir="$out" \
    "${way_keys[@]}" >"$log" 2>&1 &
  pid=$!
}

# run OUT [VARIABLE=VALUE...]: to its end
run() {
  launch "$@"
  wait "$pid"
}

# ---- breaking off ----

# The workers below a process, by parentage, in `workers`. Any thread of a launcher may have started them.
find_workers() {
  local below=("$1") children child
  workers=()
  [ "$ranks" != 1 ] || workers=("$1") below=()
  while [ "${#below[@]}" -gt 0 ]; do
    read -rd '' -a children < <(cat "/proc/${below[0]}/task/"*/children 2>/dev/null)
    below=("${below[@]:1}")
    for child in "${children[@]}"; do
      case $(cat "/proc/$child/comm" 2>/dev/null) in
        qlora-worker* | planted_worker*) workers+=("$child") ;;
        *) below+=("$child") ;;
      esac
    done
  done
}

# await: the end of what was launched and struck, as `wait`. When a rank is killed while it connects to it, Open MPI's mpirun may sit there for
# ever (seen in 1 of 100 kills within the first second): once its workers are gone for ten seconds it is killed, too, and counted in `stuck`.
stuck=0
await() {
  local i
  workers_are_gone
  for ((i = 0; i < 1000; i++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.01
  done
  if kill -KILL "$pid" 2>/dev/null; then stuck=$((stuck + 1)); fi
  wait "$pid"
}

# All of `workers` are gone: one that outlives its mpirun would hold the output folder.
workers_are_gone() {
  local worker_pid i
  for worker_pid in "${workers[@]}"; do
    for ((i = 0; i < 6000; i++)); do
      case $(cut -d' ' -f3 "/proc/$worker_pid/stat" 2>/dev/null) in '' | Z) continue 2 ;; esac
      sleep 0.01
    done
    flunk "worker $worker_pid outlives its launcher by a minute ($way)"
  done
}

mark=$scratch/mark
endings_seen=0
endings=(USR1 USR2 TERM INT kill all launcher)

# break_off OUT ENDING STEP: starts the run and ends it in that step, by a signal to one rank, to all or to mpirun; `status`
break_off() {
  local out=$1 ending=$2 step=$3 victim
  rm -f "$mark"
  endings_seen=$((endings_seen + 1))
  roll "$ranks" && victim=$rolled
  if [ "$ending:$ranks" = launcher:1 ]; then ending="kill"; fi
  case $ending in
    kill) run "$out" QLORA_FAULT_MARK="$mark" QLORA_FAULT="$victim:$step:kill" ;;
    all) run "$out" QLORA_FAULT_MARK="$mark" QLORA_FAULT="*:$step:kill" ;;
    launcher) kill_launcher "$out" "$step" ;;
    *) run "$out" QLORA_FAULT_MARK="$mark" QLORA_FAULT="$victim:$step:signal=$(kill -l "$ending")" ;;
  esac 2>/dev/null
  status=$?
  [ -s "$mark" ] || flunk "$ending in step $step of $way: the step was not reached: $(grep -m 2 "error:" "$log" || tail -n 2 "$log")"
  # What was broken off by a signal that asks has saved; nothing else may end by itself.
  case $ending:$status in
    kill:0 | all:0 | launcher:0) flunk "$ending in step $step of $way: it went on" ;;
    kill:* | all:* | launcher:* | *:85) ;;
    *:0) [ "$step" = "$steps" ] || flunk "$ending in step $step of $way: it went on" ;;
    *) flunk "$ending in step $step of $way: exit status $status: $(grep -m 2 "error:" "$log" || tail -n 2 "$log")" ;;
  esac
  story+=" $ending in step $step of $way;"
}

# In the step rank 0 sleeps until mpirun is gone.
kill_launcher() {
  launch "$1" QLORA_FAULT_MARK="$mark" QLORA_FAULT="0:$2:sleep=600"
  while kill -0 "$pid" 2>/dev/null && ! [ -s "$mark" ]; do sleep 0.01; done
  find_workers "$pid"
  [ "${#workers[@]}" = "$ranks" ] || flunk "launcher in step $2 of $way: ${#workers[@]} workers"
  kill -KILL "$pid"
  await
}

# ---- what must be there afterwards ----

digest() {
  sha256sum "$1/adapter_model.safetensors" 2>/dev/null | cut -d' ' -f1
}

# All that a run has found out, and neither time nor memory decides: the lines of its steps and evaluations and of its end, what each of
# its newest checkpoints, $compared of them, is (digests of all of its files), the adapter.
facts() {
  { grep -E '"event": "(step|eval)"' "$1/metrics.jsonl" && grep '"event": "end"' "$1/metrics.jsonl" | tail -n 1; } | sed -E 's/, "([a-z_]*_seconds|tokens_per_second|peak_memory_bytes)": [^,}]*//g'
  find "$1" -path '*/checkpoint-????????/MANIFEST.json' | sort | tail -n "$compared" | xargs cat
  sha256sum <"$1/adapter_model.safetensors"
}

# checkpoints_are_there OUT NEWEST LIMIT: that one and those before it, as many as are kept, are there and verify, and so does whatever else
# is there. Of runs that save after every step.
checkpoints_are_there() {
  local step listed
  listed=$("$worker" --do checkpoints "$1")
  if grep -q bad <<<"$listed"; then return 1; fi
  for ((step = $2; step > 0 && step > $2 - $3; step--)); do
    grep -q "^$step good" <<<"$listed" || return 1
  done
}

# undisturbed NAME: the run of `keys` that all others are compared with
undisturbed() {
  the_way 1 1 "${processors[-1]}" per_device_train_batch_size=1
  run "$scratch/$1" || flunk "$1, undisturbed: $(grep -m 2 "error:" "$log" || tail -n 2 "$log")"
  facts "$scratch/$1" >"$scratch/$1.facts"
  [ "$(grep -c '"event": "step"' "$scratch/$1.facts")" = "$steps" ] || flunk "$1, undisturbed: not $steps steps"
  [ "$1" != guarded ] || grep -q '"best_step": 12, "skipped_steps": 1' "$scratch/$1.facts" || flunk "guarded: no longer a step that is left out, and an early best one"
}

# same_as NAME OUT WHAT: the run in folder OUT has come to what the undisturbed one came to
same_as() {
  local difference
  if difference=$(facts "$2" 2>&1 | diff "$scratch/$1.facts" - 2>&1); then
    pass "$3"
    rm -rf "$2" "$2.log"
  else
    flunk "$3: $(head -n 4 <<<"$difference" | cut -c 1-200)"
  fi
}
