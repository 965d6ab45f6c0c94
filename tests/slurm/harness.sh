# shellcheck shell=bash disable=SC2034
# For the tests of Slurm: `. harness.sh BIN_FOLDER`. The templates are used as they stand: jobs run in a folder with a config.yaml, and sbatch's options
# say the rest.
# shellcheck source=tests/support/slurm.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/slurm.sh" "$@"
# shellcheck source=tests/faults/record.sh
. "$top/tests/faults/record.sh"
# The worker with a hook (tests/faults/README.md): QLORA_FAULT makes ranks linger at a step until they are asked to stop, so that no test depends on
# how fast this machine is.
mkdir "$scratch/bin"
cp "$bin/qlora" "$scratch/bin/qlora"
ln -s "$bin/qlora-worker-faulty" "$scratch/bin/qlora-worker"
[ -x "$bin/qlora-worker-faulty" ] || cluster_failed "qlora-worker-faulty is not built"
export PATH=$scratch/bin:$PATH
at_20='*:20:asked=55:step'
export QLORA_SAVE_PATIENCE=600 OMPI_MCA_mpi_yield_when_idle=1
bound=300 # seconds until something counts as never happening

# write_config FOLDER STEPS [LINE]...: steps of about 20 ms on one rank
head -n 60 "$top/examples/data/train.jsonl" >"$scratch/data.jsonl"
write_config() {
  local folder=$1 steps=$2
  shift 2
  mkdir -p "$folder"
  cat >"$folder/config.yaml" <<END
model_name_or_path: $top/examples/model
dataset: $scratch/data.jsonl
max_length: 64
excess_length_strategy: truncate
audit: warn
num_train_epochs: 100
max_steps: $steps
lora_r: 4
lora_dropout: 0.1
learning_rate: 5.0e-3
global_batch_size: 3
save_steps: 20
save_minutes: 0
quantized_cache: false
output_dir: out
END
  [ $# = 0 ] || printf '%s\n' "$@" >>"$folder/config.yaml"
}

digest() {
  sha256sum "$1/adapter_model.safetensors" 2>/dev/null | cut -d' ' -f1
}

# undisturbed FOLDER [KEY=VALUE...]: the bytes of a run without Slurm, in $wanted
undisturbed() {
  local folder=$1
  shift
  (cd "$folder" && QLORA_FAULT='' "$bin/qlora-worker" --threads 1 config.yaml output_dir=alone "$@" >alone.log 2>&1) || flunk "the run without Slurm: $(tail -n 3 "$folder/alone.log")"
  wanted=$(digest "$folder/alone")
  [ -n "$wanted" ] || flunk "the run without Slurm made no adapter"
  rm -rf "$folder/alone"
}

# submit FOLDER TEMPLATE [OPTION OF sbatch]...: $job, with its log in $log
submit() {
  local folder=$1 template=$2
  shift 2
  rm -rf "$folder/out"
  log=$folder/job.log
  rm -f "$log"
  job=$(cd "$folder" && sbatch --parsable --output="$log" "$@" "$top/slurm/qlora-$template.sbatch") || flunk "sbatch refuses $template"
}

steps_done() { # FOLDER OF THE RUN
  cat "$1/metrics.jsonl" 2>/dev/null | grep -c '"event": "step"'
}

has_done() { # FOLDER OF THE RUN, STEPS
  [ "$(steps_done "$1")" -ge "$2" ]
}

# until_step FOLDER OF THE RUN, STEP
until_step() {
  wait_until "$bound" has_done "$1" "$2" || flunk "step $2 is not reached: $(tail -n 3 "$log")"
}

restarts_of() {
  fact_of "$1" Restarts
}

is_requeued() { # JOB, HOW OFTEN
  [ "$(restarts_of "$1")" = "$2" ] && [ "$(state_of "$1")" = PENDING ]
}

# What Slurm runs jobs with is gone a moment after the job.
machines_are_quiet() {
  ! pgrep -x slurmstepd >/dev/null
}

# until_requeued NAME JOB HOW-OFTEN: and lets it start at once instead of after two minutes
until_requeued() {
  if wait_until "$bound" is_requeued "$2" "$3"; then
    pass "$1: is back in the queue"
  else
    flunk "$1: is not put back into the queue ($(state_of "$2"), $(restarts_of "$2") restarts): $(tail -n 3 "$log")"
  fi
  # A step's PMIx server is in the way of its successor, and slurmd takes no job in the second in which it has ended its predecessor.
  wait_until "$bound" machines_are_quiet
  sleep 1.5
  scontrol update "jobid=$2" StartTime=now
}

# until_over NAME JOB STATE
until_over() {
  wait_until "$bound" is_over "$2" || flunk "$1: does not end"
  local state
  state=$(state_of "$2")
  if [ "$state" = "$3" ]; then pass "$1: $state"; else flunk "$1: $state instead of $3: $(tail -n 3 "$log")"; fi
}

# same_bytes NAME FOLDER OF THE RUN
same_bytes() {
  local lines
  if [ "$(digest "$2")" = "$wanted" ]; then pass "$1: the bytes of a run without Slurm"; else flunk "$1: other bytes than a run without Slurm"; fi
  lines=$(steps_done "$2")
  if [ "$lines" = "$(grep '"event": "step"' "$2/metrics.jsonl" | cut -d, -f2 | sort -u | wc -l)" ]; then
    pass "$1: $lines step lines, none twice"
  else
    flunk "$1: steps are in metrics.jsonl twice"
  fi
}

# The steps at which the starts of a job stopped, and went on.
stopped_at() {
  grep -o 'stopped after step [0-9]*' "$log" | grep -o '[0-9]*' | tr '\n' ' ' | sed 's/ $//'
}
resumed_at() {
  grep -o 'resumed: .*, step [0-9]* of' "$log" | grep -o 'step [0-9]*' | grep -o '[0-9]*' | tr '\n' ' ' | sed 's/ $//'
}

# exact NAME: every start went on where the one before had stopped
exact() {
  if [ -n "$(stopped_at)" ] && [ "$(stopped_at)" = "$(resumed_at)" ]; then
    pass "$1: stopped at $(stopped_at), went on from there"
  else
    flunk "$1: stopped at '$(stopped_at)', went on from '$(resumed_at)'"
  fi
}

logged() { # NAME PATTERN
  if grep -Eq -- "$2" "$log"; then pass "$1"; else flunk "$1: no line like '$2' in: $(tail -n 4 "$log")"; fi
}

# nothing_left NAME: on the machines, of jobs that are over
nothing_left() {
  local left i
  wait_until 30 machines_are_quiet
  left=$(
    ps -e -o comm= | grep -xE 'qlora-worker|mpirun|orted|srun|slurmstepd' | sed 's/^/process /'
    for i in "${!slurmd_of[@]}"; do nsenter -t "${slurmd_of[i]}" -m find /dev/shm -mindepth 1; done
  )
  if [ -z "$left" ]; then pass "$1: nothing is left"; else flunk "$1: left behind: $(tr '\n' ' ' <<<"$left")"; fi
}
