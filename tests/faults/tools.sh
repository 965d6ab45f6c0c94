#!/usr/bin/env bash
# Programs that have nothing to save: what they leave when they are asked to stop, or killed; requests that come as early as can be.
#   tools.sh BIN_FOLDER [all]
# shellcheck source=tests/faults/harness.sh
. "$(dirname "$0")/harness.sh" "$1" "${2:-}"
common+=(max_steps=12)

# ended_by NAME SIGNAL WHEN COMMAND...: starts it, waits until WHEN (a shell condition) holds, sends SIGNAL; $status
ended_by() {
  local name=$1 signal=$2 when=$3 pid
  shift 3
  run_id=$scratch/$((runs += 1))
  QLORA_RUN_ID=$run_id "$@" >"$scratch/out" 2>"$scratch/err" </dev/null &
  pid=$!
  until eval "$when" || ! kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
  kill -s "$signal" "$pid"
  wait "$pid" 2>/dev/null
  status=$?
  wait_for_all
}

# ---- quantize: a folder that is complete or not there ----
quantize=(env LD_PRELOAD="$shim" QL_SHIM_DOES=slow QL_SHIM_SECONDS=0.02 "$worker" --do quantize --model examples/model --out "$scratch/small")
half='ls -d "$scratch"/small.tmp-*/model.safetensors.tmp-* >/dev/null 2>&1'
for signal in TERM INT USR1; do
  # Jobs in the background of a script ignore INT, which quantize does not.
  ended_by "quantize-$signal" "$signal" "$half" "${quantize[@]}"
  exits "quantize-$signal" $((128 + $(kill -l "$signal")))
  if compgen -G "$scratch/small*" >/dev/null; then flunk "quantize-$signal: left $(compgen -G "$scratch/small*")"; else pass "quantize-$signal: leaves nothing"; fi
done
ended_by quantize-KILL KILL "$half" "${quantize[@]}"
if [ -e "$scratch/small" ]; then flunk "quantize-KILL: half a folder"; else pass "quantize-KILL: no half folder"; fi
mkdir "$scratch/small.tmp-notes"
expect_status "quantize: once more" 0 "$worker" --do quantize --model examples/model --out "$scratch/small"
left=$(compgen -G "$scratch/small.tmp-*")
if [ "$left" = "$scratch/small.tmp-notes" ]; then pass "quantize: what the killed one left is gone, and nothing else"; else flunk "quantize: beside it lies $left"; fi
record "" "T20" quantize "qlora quantize asked to stop: nothing is left; killed: the next start removes what is" "ended by the signal"

# ---- generate: what there is so far ----
generate=("$faulty" --threads 1 --do generate --model examples/model --max-new-tokens 40 Hello)
declare -A number=([INT]=2 [USR1]=10 [USR2]=12 [TERM]=15)
"${generate[@]}" >"$scratch/whole" 2>"$scratch/err"
for signal in TERM USR1 USR2 INT; do
  QLORA_FAULT=0:7:signal=${number[$signal]}:token run_bounded "${generate[@]}"
  wanted_status=85
  [ "$signal" = INT ] && wanted_status=130
  exits "generate-$signal" "$wanted_status"
  expect_line "generate-$signal: said" "generate: SIG$signal: stopped after 7 tokens"
  if [ -s "$scratch/out" ] && cmp -s -n $(($(stat -c %s "$scratch/out") - 1)) "$scratch/out" "$scratch/whole"; then
    pass "generate-$signal: prints what it has"
  else
    flunk "generate-$signal: prints '$(cat "$scratch/out")', the whole is '$(cat "$scratch/whole")'"
  fi
done
record "" "T20" generate "qlora generate asked to stop: ends after the token, prints what there is; 85, after INT as INT ends a program" "85 and 130"

# ---- as early as can be ----
# A request while the worker starts itself once more, before its main() runs again.
as_job "$worker" 1 early-start
LD_PRELOAD="$bin/../lib/libql_early_signal.so" run_bounded "${job[@]}"
exits early_start 85
expect_line "early_start: said" 'SIGTERM: stopped after step 0 of 12'
record "12" "T20" early_start "asked while the program starts itself once more: 85 with a checkpoint of step 0" "exit status $status"

# The launcher, when there is an mpirun and no worker yet.
as_job "$worker" 2 early-launcher
job=("$bin/qlora" run -n 2 --threads 1 examples/demo.yaml "${common[@]}" output_dir="$scratch/early-launcher")
ended_by early-launcher TERM 'pgrep -P "$pid" >/dev/null' "${job[@]}"
exits early_launcher 85
expect_line "early_launcher: said" 'SIGTERM: stops before the first step'
if [ -d "$scratch/early-launcher/checkpoint-00000000" ]; then pass "early_launcher: a checkpoint"; else flunk "early_launcher: no checkpoint"; fi
nothing_left early-launcher
go_on early-launcher 2
record "12" "T20" early_launcher "qlora run asked before its workers are there: passed on once they listen, 85, same bytes" "85 at step 0"
# What has nothing to save is just ended.
job=("$bin/qlora" run -n 2 --check --threads 1 examples/demo.yaml "${common[@]}" output_dir="$scratch/checked")
ended_by checked TERM 'pgrep -P "$pid" >/dev/null' "${job[@]}"
if [ "$status" = 0 ]; then flunk "checked: a success"; else pass "checked: exit status $status"; fi
if [ -n "$(survivors)" ]; then flunk "checked: processes are left"; else pass "checked: no process is left"; fi
if [ -e "$scratch/checked" ]; then flunk "checked: left a folder"; else pass "checked: left no folder"; fi
record "10" "T9" checked "qlora run --check asked to stop: ended, nothing is left" "exit status $status"

# An mpirun that has lost touch and does not listen any more.
mkdir "$scratch/path"
cat >"$scratch/path/mpirun" <<'END'
#!/bin/sh
trap '' TERM INT
: >"$QL_READY"
while :; do sleep 600; done
END
chmod +x "$scratch/path/mpirun"
QL_READY=$scratch/deaf PATH=$scratch/path:$PATH ended_by deaf TERM '[ -e "$scratch/deaf" ]' "${job[@]}"
exits deaf 75
if [ -z "$(survivors)" ]; then pass "deaf: no process is left"; else flunk "deaf: processes are left"; fi
record "10" "T10" deaf_mpirun "an mpirun that ignores TERM: killed after 5 s, nothing is left" "exit status $status"
finish
