#!/usr/bin/env bash
# qlora run watches and starts again: after what, how often, from where, and when it gives up.
#   restarts.sh BIN_FOLDER [all]
# shellcheck source=tests/faults/harness.sh
. "$(dirname "$0")/harness.sh" "$1" "${2:-}"

# The worker beside the launcher is this one: start K of a run suffers line K of $QL_FAULTS, and what it says of devices is in $QL_PROBE.
rm "$scratch/bin/qlora-worker"
cat >"$scratch/bin/qlora-worker" <<'END'
#!/usr/bin/env bash
for word in "$@"; do
  case $word in
    output_dir=*) out=${word#output_dir=} ;;
    --do) exec "$QL_FAULTY" "$@" ;;
    --probe)
      if [ -n "${QL_PROBE:-}" ]; then
        head -n 1 "$QL_PROBE"
        [ "$(wc -l <"$QL_PROBE")" = 1 ] || sed -i 1d "$QL_PROBE" # the next time the next line
        exit 0
      fi
      ;;
  esac
done
starts=$(head -n 1 "$out/run/generation" 2>/dev/null || echo 0)
QLORA_FAULT=$(sed -n "$((starts + 1))p" "$QL_FAULTS") exec "$QL_FAULTY" "$@"
END
chmod +x "$scratch/bin/qlora-worker"
export QL_FAULTY=$faulty QL_FAULTS=$scratch/faults QLORA_STEP_TIMEOUT=20

# launch NAME RANKS FAULTS [OPTION|KEY=VALUE...]: FAULTS: one a line for each start
launch() {
  local name=$1 ranks=$2
  printf '%s\n' "$3" >"$QL_FAULTS"
  shift 3
  run_bounded "$scratch/bin/qlora" run ${ranks:+-n "$ranks"} --threads 1 examples/demo.yaml "${common[@]}" output_dir="$scratch/$name" "$@"
  starts=$(grep -c 'starting them again' "$scratch/err")
}

# comes_through NAME RESTARTS: done, with the bytes of an undisturbed run
comes_through() {
  exits "$1" 0
  if [ "$starts" = "$2" ]; then pass "$1: $2 restarts"; else flunk "$1: $starts restarts instead of $2: $(grep 'qlora: ' "$scratch/err" | tail -n 5)"; fi
  if [ "$(digest "$1")" = "$wanted" ]; then pass "$1: same bytes"; else flunk "$1: other bytes"; fi
  nothing_left "$1"
}

# gives_up NAME STATUS RESTARTS PATTERN: and says so on the last line
gives_up() {
  exits "$1" "$2"
  if [ "$starts" = "$3" ]; then pass "$1: $3 restarts"; else flunk "$1: $starts restarts instead of $3: $(grep 'qlora: ' "$scratch/err" | tail -n 5)"; fi
  if tail -n 1 "$scratch/err" | grep -Eq "$4"; then pass "$1: says why"; else flunk "$1: the last line is: $(tail -n 1 "$scratch/err")"; fi
  nothing_left "$1"
}

undisturbed

# ---- one fault, and on ----
launch killed 2 1:17:saved=10,1:17:kill:step
comes_through killed 1
expect_line "killed: from where" 'qlora: warning: starting them again from step 10, in 1 s \(restart 1 of 3'
record "1" "T2" restart_killed "rank 1 killed in step 17 under qlora run: started again from step 10, same bytes" "exit status $status, $starts restart"
launch killed 2 $'\n\n1:17:saved=10,1:17:kill:step' resume_from_checkpoint=false # the folder's third start
comes_through killed 1
expect_line "killed, anew: only the first start is" 'qlora: warning: starting them again from step 10'
if [ "$(grep -c 'resumed: .*step 10' "$scratch/err")" = 1 ]; then pass "killed, anew: resumed"; else flunk "killed, anew: not resumed"; fi
launch killed-alone "" 0:17:saved=10,0:17:segv:step
comes_through killed-alone 1
record "2" "T2" restart_alone "a worker that is alone crashes: the same" "exit status $status, $starts restart"
QLORA_STEP_TIMEOUT=3 launch stopped 2 1:17:saved=10,1:17:stop:step
comes_through stopped 1
expect_line "stopped: the culprit" 'qlora: warning: the workers ended: rank 1 did not enter exchange .* exit status 75'
record "5" "T3" restart_stopped "rank 1 stands still: the watchdogs end the run, the launcher names the culprit and starts it again, same bytes" "exit status $status, $starts restart"

# ---- again and again ----
launch with-progress 2 $'0:12:saved=10,0:12:kill:step\n0:22:saved=20,0:22:exit3:step\n0:32:saved=30,0:32:abort:step\n1:39:kill' save_total_limit=9
comes_through with-progress 4
if [ "$(grep -c 'in 1 s (restart 1 of 3' "$scratch/err")" = 3 ]; then pass "with-progress: counted anew"; else flunk "with-progress: $(grep 'starting' "$scratch/err")"; fi
record "1" "T13" with_progress "faults with a newer checkpoint before each, and one more: the count of restarts begins anew, same bytes" "$starts restarts"
launch no-progress 2 $'1:5:kill\n1:6:kill\n1:7:kill' max_restarts=2
gives_up no-progress 75 2 'qlora: error: no newer checkpoint after 2 restarts, last time: .*killed by signal 9|qlora: error: no newer checkpoint after 2 restarts, last time: .*exited on signal 9'
expect_line "no-progress: waits longer" 'in 5 s \(restart 2 of 2'
printf '' >"$QL_FAULTS"
go_on no-progress 2
record "27" "T13" no_progress "a fault in every start, without a newer checkpoint: given up after max_restarts, on by hand, same bytes" "75 after $starts restarts"
launch same 2 $'1:15:sleep=2:step,1:15:exit=3\n1:15:sleep=2:step,1:15:exit=3'
gives_up same 75 1 'qlora: error: the run failed twice in the same way: .*exit status 3, after step 14'
expect_line "same: who stood where" 'rank 1 of 2, process .* step 15'
record "27" "T14" same_failure "the same failure in the same step twice: no third try, a diagnosis of each rank" "75 after $starts restart"

# ---- what is never tried again ----
launch mistake 2 "" lora_r=none
gives_up mistake 64 0 'lora_r'
launch bad-data 2 "" dataset="$scratch/absent.jsonl"
gives_up bad-data 65 0 'absent.jsonl'
record "27" "T15" no_restart "a mistake in the configuration, a data set that is not there: no restart" "64 and 65, 0 restarts"
mkdir "$scratch/denied"
ln -s "$scratch/denied" "$scratch/link"
launch denied 2 "" output_dir="$scratch/link"
gives_up denied 77 0 'link'

# ---- mpirun that lies, or listens to nobody ----
mkdir "$scratch/liar" "$scratch/deaf"
real=$(command -v mpirun)
printf '#!/usr/bin/env bash\ncase $1 in --version) exec "%s" --version ;; esac\n"%s" "$@"\nexit 0\n' "$real" "$real" >"$scratch/liar/mpirun"
printf '#!/usr/bin/env bash\ncase $1 in --version) exec "%s" --version ;; esac\ntrap "" TERM\necho here >&2\nwhile :; do sleep 1; done\n' "$real" >"$scratch/deaf/mpirun"
chmod +x "$scratch/liar/mpirun" "$scratch/deaf/mpirun"
PATH=$scratch/liar:$PATH launch lied 2 1:17:saved=10,1:17:kill:step
comes_through lied 1
expect_line "lied: is not believed" 'qlora: warning: the workers ended: .*exit status 0'
record "4" "T22" lying_mpirun "an mpirun that returns 0 of a run that was killed: not believed, started again, same bytes" "exit status $status, $starts restart"
run_id=$scratch/deaf.id
QLORA_RUN_ID=$run_id PATH=$scratch/deaf:$PATH "$scratch/bin/qlora" run -n 2 --check examples/demo.yaml output_dir="$scratch/deaf-out" 2>"$scratch/err" </dev/null &
pid=$!
until grep -q here "$scratch/err" || ! kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
start=$(now)
kill -TERM "$pid"
wait "$pid"
status=$?
wait_for_all
seconds=$(calc "$ended - $start")
exits deaf 75
within "deaf: down" "$seconds" 7
if [ -z "$(survivors)" ]; then pass "deaf: no process is left"; else flunk "deaf: $(survivors)"; fi
record "11" "T10" deaf_mpirun "an mpirun that does not end when it is asked: killed after 5 s, nothing is left" "down in $seconds s"

if [ "$all" = all ]; then
  # One that stays when its ranks have gone, as with a machine that it cannot reach.
  mkdir "$scratch/stays"
  printf '#!/usr/bin/env bash\ncase $1 in --version) exec "%s" --version ;; esac\ntrap "" TERM\n"%s" "$@"\nwhile :; do sleep 1; done\n' "$real" "$real" >"$scratch/stays/mpirun"
  chmod +x "$scratch/stays/mpirun"
  PATH=$scratch/stays:$PATH launch stays 2 $'1:17:saved=10,1:17:kill:step\n1:27:kill' max_restarts=1
  exits stays 0
  if [ "$(digest stays)" = "$wanted" ]; then pass "stays: same bytes"; else flunk "stays: other bytes"; fi
  record "14" "T10" staying_mpirun "an mpirun that stays though its workers are gone: ended after 20 s, started again, same bytes" "exit status $status, $starts restarts in $seconds s"
fi

# ---- fewer devices ----
device() { printf '{"kind": "cuda", "index": %s, "name": "a", "bytes_total": 1, "bytes_free": 1%s}' "$1" "${2:+, \"problem\": \"$2\"}"; }
export QL_PROBE=$scratch/probe
printf '{"devices": [%s, %s], "absent": {}, "libraries": []}\n' "$(device 0)" "$(device 1 "fell off the bus")" >"$QL_PROBE"
launch fewer 2 1:17:saved=10,1:17:kill:step min_ranks=1
comes_through fewer 1
expect_line "fewer: says so" 'qlora: warning: cuda 1: fell off the bus; going on with 1 workers'
if grep '"event": "start"' "$scratch/fewer/metrics.jsonl" | tail -n 1 | grep -q '"world_size": 1'; then pass "fewer: one rank"; else flunk "fewer: not one rank"; fi
record "28" "T16" fewer_devices "a device that fails: on with fewer workers where min_ranks allows it, same bytes" "exit status $status"
launch too-few 2 1:17:saved=10,1:17:kill:step
gives_up too-few 75 1 'qlora: error: cuda 1: fell off the bus: 1 devices work, and 2 workers are the fewest allowed'
printf '{"devices": [%s, %s]}\n{"devices": []}\n' "$(device 0)" "$(device 1)" >"$QL_PROBE"
launch gone 2 1:17:saved=10,1:17:kill:step min_ranks=1
gives_up gone 75 1 'qlora: error: a device is gone: 0 devices work, and 1 workers are the fewest allowed'
unset QL_PROBE

# ---- asked while nothing runs ----
printf '%s\n' 1:17:saved=10,1:17:kill:step >"$QL_FAULTS"
for signal in INT USR1; do
  run_id=$scratch/between.$signal
  rm -rf "$scratch/between" "$scratch/err" # of the run before, which said it, too
  QLORA_RUN_ID=$run_id "$scratch/bin/qlora" run -n 2 --threads 1 examples/demo.yaml "${common[@]}" output_dir="$scratch/between" 2>"$scratch/err" </dev/null &
  pid=$!
  until grep -qs 'starting them again' "$scratch/err" || ! kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
  kill -s "$signal" "$pid"
  wait "$pid"
  status=$?
  wait_for_all
  exits "between, $signal" 85
  expect_line "between, $signal: says so" '^stopped on request between two starts, with a verified checkpoint of step 10'
  nothing_left between
done
printf '' >"$QL_FAULTS"
go_on between 2
launch stopped-alone 2 0:17:signal=15
gives_up stopped-alone 85 0 '^SIGTERM: stopped after step 17 of 40 with a verified checkpoint'
record "12" "T20" between_starts "a request while the launcher waits to start again: 85, on by hand, same bytes" "85, on from $resumed_at"
finish
