#!/usr/bin/env bash
# qlora submit without a cluster: what is refused, what the script says, what is made of sbatch's answers. sbatch and srun are programs that
# answer as they are told.
#   submit.sh BIN_FOLDER
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/../support/shell.sh" "$(cd "$1" && pwd)"
mkdir "$scratch/a b" "$scratch/tools"
cd "$scratch/a b" || exit 1
printf 'model_name_or_path: m\ndataset: d\noutput_dir: out here\n' >c.yaml
printf 'model_name_or_path: m\nlora_rr: 8\n' >bad.yaml
cat >"$scratch/tools/sbatch" <<'END'
#!/bin/sh
cat >"$SAYS/script"
printf '%s\n' "$@" >"$SAYS/arguments"
cat "$SAYS/out"
cat "$SAYS/errors" >&2
exit "$(cat "$SAYS/status")"
END
cat >"$scratch/tools/srun" <<'END'
#!/bin/sh
cat "$SAYS/mpi" >&2
END
chmod +x "$scratch/tools"/*
export SAYS=$scratch/says PATH=$scratch/tools:/usr/bin:/bin
mkdir "$SAYS"
qlora=$bin/qlora

# says OUT ERRORS STATUS MPI
says() {
  printf '%s' "$1" >"$SAYS/out"
  printf '%s' "$2" >"$SAYS/errors"
  printf '%s' "$3" >"$SAYS/status"
  printf '%s' "$4" >"$SAYS/mpi"
}
says 17 '' 0 'MPI plugin types are...
	pmix
'

one_line() { # NAME: standard error is one line
  if [ "$(grep -c . "$scratch/err")" = 1 ]; then pass "$1: one line"; else flunk "$1: $(grep -c . "$scratch/err") lines"; fi
}

# ---- what is refused, in every field ----
# shellcheck disable=SC2016 # nothing is to be expanded, here and in qlora
hostile=('$(touch executed)' '`touch executed`' 'a b' 'a;touch executed' "a'b" 'a"b' $'a\n#SBATCH --wrap=x' $'a\tb' '-x' '' 'ä')
for option in --partition --account --qos --job-name --time --mem --constraint --mail-user --nodes --gpus-per-node --cpus-per-task --chain; do
  for value in "${hostile[@]}"; do
    expect_status "$option '${value//$'\n'/?}'" 64 "$qlora" submit --dry-run "$option" "$value" c.yaml
    if grep -q -- "$option" "$scratch/err" && [ "$(wc -l <"$scratch/err")" = 1 ] && [ ! -s "$scratch/out" ]; then
      pass "$option: named, in one line"
    else
      flunk "$option: said $(cat "$scratch/err")"
    fi
  done
done
# shellcheck disable=SC2016
for value in '$(touch executed)' 'a;b' "it's" $'a\nb' '`b`' 'a"b'; do
  expect_status "a value of the configuration: '${value//$'\n'/?}'" 64 "$qlora" submit --dry-run c.yaml "dataset=$value"
  one_line "a value of the configuration"
done
printf 'model_name_or_path: m\ndataset: d\noutput_dir: o$(touch executed)\n' >hostile.yaml
expect_status "an output_dir" 64 "$qlora" submit --dry-run hostile.yaml
expect_line "an output_dir: named" 'output_dir is'
for time in 0:1:2:3 1-1-1 4h -5 1.5; do expect_status "--time $time" 64 "$qlora" submit --dry-run --time "$time" c.yaml; done
expect_status "--requeue and --chain" 64 "$qlora" submit --dry-run --requeue --chain 3 c.yaml
expect_status "a bad configuration" 64 "$qlora" submit bad.yaml
expect_line "a bad configuration: said" "bad.yaml:2: unknown key 'lora_rr'"
expect_status "no configuration" 64 "$qlora" submit none.yaml
if [ -e executed ]; then flunk "something was executed"; else pass "nothing was executed"; fi
if [ -e "$SAYS/script" ]; then flunk "something was submitted"; else pass "nothing was submitted"; fi

# ---- the script ----
for time in 30 30:00 1:30:00 2-12 2-12:30 2-12:30:15; do expect_status "--time $time" 0 "$qlora" submit --dry-run --time "$time" c.yaml; done
expect_status "everything" 0 "$qlora" submit --dry-run --nodes 2 --gpus-per-node 4 --partition gpu,big --account a/b --qos high --constraint 'a100&nv|[x*2]' \
  --mem 64G --cpus-per-task 8 --job-name j.1 --mail-user me@example.org --time 2:00:00 c.yaml lora_r=4 'target_modules=[q_proj, v_proj]'
if bash -n "$scratch/out"; then pass "the script is one"; else flunk "the script is none"; fi
if ! command -v shellcheck >/dev/null || shellcheck "$scratch/out"; then pass "shellcheck has no objections"; else flunk "shellcheck has objections"; fi
cat >"$scratch/wanted" <<END
#SBATCH --job-name=j.1
#SBATCH --chdir="$scratch/a b"
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --partition=gpu,big
#SBATCH --account=a/b
#SBATCH --qos=high
#SBATCH --constraint=a100&nv|[x*2]
#SBATCH --mem=64G
#SBATCH --cpus-per-task=8
#SBATCH --time=2:00:00
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --mail-type=END,FAIL,REQUEUE
#SBATCH --mail-user=me@example.org
#SBATCH --signal=USR1@180

worker='$bin/qlora-worker'
config='c.yaml'
output='out here'
END
if diff <(sed -n '3,24p' "$scratch/out") "$scratch/wanted"; then pass "the values"; else flunk "other values"; fi
if grep -qxF "settings=('lora_r=4' 'target_modules=[q_proj, v_proj]')" "$scratch/out"; then pass "the settings"; else flunk "other settings"; fi

# Below the values it is the template, to the byte.
body() {
  sed -n '/^# ---- nothing below/,$p' "$1"
}
common() {
  sed -n '/^# ---- the same in all/,$p' "$1"
}
for mpi in srun mpirun; do
  "$qlora" submit --dry-run --mpi $mpi c.yaml >"$scratch/script" 2>/dev/null
  if cmp <(body "$scratch/script") <(body "$top/slurm/qlora-$mpi.sbatch"); then pass "$mpi: the template"; else flunk "$mpi: not the template"; fi
done
for name in mpirun sweep; do
  if cmp <(common "$top/slurm/qlora-$name.sbatch") <(common "$top/slurm/qlora-srun.sbatch"); then pass "$name: as qlora-srun.sbatch"; else flunk "$name: differs from qlora-srun.sbatch"; fi
done
for name in srun mpirun sweep; do
  if bash -n "$top/slurm/qlora-$name.sbatch"; then pass "$name: bash -n"; else flunk "$name: bash -n"; fi
done

# has NAME LINE: the script on standard output has the line
has() {
  if grep -qxF -- "$2" "$scratch/out"; then pass "$1"; else flunk "$1: no line '$2'"; fi
}
expect_status "a chain" 0 "$qlora" submit --dry-run --chain 5 c.yaml
has "a chain: array" "#SBATCH --array=1-5%1"
has "a chain: no requeue" "#SBATCH --no-requeue"
expect_status "no GPU" 0 "$qlora" submit --dry-run --gpus-per-node 0 c.yaml
if grep -q 'gpus-per-node' "$scratch/out"; then flunk "no GPU: asks for some"; else pass "no GPU: asks for none"; fi
has "no GPU: a rank" "#SBATCH --ntasks-per-node=1"
says 17 '' 0 'MPI plugin types are...
	none
	pmi2
'
expect_status "an srun without PMIx" 0 "$qlora" submit --dry-run c.yaml
has "an srun without PMIx: mpirun" "#SBATCH --signal=B:USR1@180"
has "an srun without PMIx: its patience" "grace=10"

# ---- when to ask ----
mkdir "out here"
printf '{"event": "step", "step": 1, "step_seconds": 41.5}\n{"event": "save", "step": 1, "save_seconds": 3.25}\n{"event": "step", "step": 2, "step_seconds": 40}\n{"event": "st' >"out here/metrics.jsonl"
expect_status "after an earlier start" 0 "$qlora" submit --dry-run --mpi mpirun c.yaml
has "after an earlier start: lead" "#SBATCH --signal=B:USR1@150"
has "after an earlier start: patience" "grace=47"
expect_line "after an earlier start: said" 'asks the run to save 150 s before the time is up: .*41.5 s for a step \+ 3.25 s for a save'
expect_status "little time" 0 "$qlora" submit --dry-run --mpi srun --time 2 c.yaml
has "little time: half of it" "#SBATCH --signal=USR1@60"
expect_line "little time: said" 'that would be 150 s; half of --time'

# ---- sbatch's answers ----
says '1234;cluster' '' 0 pmix
expect_status "submitted" 0 "$qlora" submit c.yaml
if [ "$(cat "$scratch/out")" = 1234 ]; then pass "submitted: the number alone"; else flunk "submitted: printed $(cat "$scratch/out")"; fi
expect_line "submitted: how to follow" 'squeue -j 1234; tail -f qlora-1234.log'
if [ "$(cat "$SAYS/arguments")" = --parsable ]; then pass "submitted: by --parsable"; else flunk "submitted: with $(cat "$SAYS/arguments")"; fi
if cmp "$SAYS/script" <("$qlora" submit --dry-run c.yaml 2>/dev/null); then pass "submitted: what --dry-run shows"; else flunk "submitted: something else than --dry-run shows"; fi
says '12; rm -rf x' '' 0 pmix
expect_status "no number of a job" 75 "$qlora" submit c.yaml
says '' 'sbatch: error: invalid partition specified: nope
sbatch: error: Batch job submission failed: Invalid partition name specified
' 1 pmix
expect_status "refused" 64 "$qlora" submit --partition nope c.yaml
expect_line "refused: its sentence" 'error: sbatch: Batch job submission failed: Invalid partition name specified; nothing was submitted'
says '' 'sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)
' 1 pmix
expect_status "no controller" 75 "$qlora" submit c.yaml
expect_status "into a file" 0 "$qlora" submit --output-script job.sbatch c.yaml
if cmp job.sbatch <("$qlora" submit --dry-run c.yaml 2>/dev/null); then pass "into a file: the same"; else flunk "into a file: something else"; fi
expect_status "into a file that is there" 64 "$qlora" submit --output-script job.sbatch c.yaml
mkdir "$scratch/none"
expect_status "no sbatch" 64 env PATH="$scratch/none" "$qlora" submit c.yaml
expect_line "no sbatch: the cure" 'sbatch is not on this machine; .*--dry-run'
expect_status "no sbatch: --dry-run" 0 env PATH="$scratch/none" "$qlora" submit --dry-run c.yaml
finish
