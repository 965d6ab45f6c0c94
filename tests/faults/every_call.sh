#!/usr/bin/env bash
# Real workers, killed at a system call that changes files, before it or in the middle of it: whichever it is, no checkpoint that was there is lost, and
# the same command goes on to what an undisturbed run comes to.
#   every_call.sh BIN_FOLDER [SEED]      some calls, by chance
#   every_call.sh BIN_FOLDER SEED all    every call of the whole run
# shellcheck source=tests/determinism/runs.sh
. "$(dirname "$0")/../determinism/runs.sh" "$1"
# shellcheck source=tests/faults/record.sh
. "$(dirname "$0")/record.sh"
seed_with "${2:-1}"
all=${3:-}
find_processors
program=${QL_WORKER:-$worker}
shim=${bin%/*}/lib/libql_fault_shim.so
usual_steps=3
limit=2
flavour few-rows
keys+=(save_total_limit="$limit" "target_modules=[q_proj]") # few calls a save
compared=$limit # killed after the last one was published, nobody removes older ones any more
out=$scratch/run
log_of_calls=$scratch/calls

# shimmed RANKS THREADS VARIABLE=VALUE...: a run whose calls are counted
shimmed() {
  rm -rf "$out" "$log_of_calls"
  the_way "$1" "$2" "${processors[-1]}"
  shift 2
  run "$out" LD_PRELOAD="$shim" QL_SHIM_UNDER="$out" QL_SHIM_RANK=0 QL_SHIM_LOG="$log_of_calls" "$@"
}

# published: the newest checkpoint that got its name before the last of the calls, which was not made
published() {
  sed '$d' "$log_of_calls" | sed -nE 's|^[0-9]+ rename(at2?)? .*/checkpoint-0*([0-9]+)$|\2|p' | sort -n | tail -n 1
}

# kill_at CALL KIND RANKS THEN_RANKS
kill_at() {
  local what newest
  shimmed "$3" 1 QL_SHIM_DOES="$2" QL_SHIM_AT="$1" 2>/dev/null && flunk "$2 at call $1 on $3 ranks: the run ended well"
  what=$(tail -n 1 "$log_of_calls" | sed "s|$out/||")
  newest=$(published)
  if checkpoints_are_there "$out" "${newest:-0}" "$limit"; then
    pass "$2 at call $what on $3 ranks: ${newest:-no} checkpoints published, none lost"
  else
    lost=$((lost + 1))
    flunk "$2 at call $what on $3 ranks: checkpoint $newest was published; there are: $("$worker" --do checkpoints "$out" | tr '\n' ',')"
  fi
  the_way "$4" 1 "${processors[-1]}"
  run "$out" || flunk "$2 at call $what on $3 ranks, then $4: $(grep -m 2 "error:" "$log" || tail -n 2 "$log")"
  same_as few-rows "$out" "$2 at call $what on $3 ranks, then $4"
  kills=$((kills + 1))
}

# One of the calls that the log has, in `call`: every kind of call on every kind of file is as likely, however many there are of it.
pick_call() {
  local kinds kind numbers
  mapfile -t kinds < <(kinds_of_calls | cut -d' ' -f2- | sort -u)
  pick "${kinds[@]// /,}" && kind=${picked//,/ }
  mapfile -t numbers < <(kinds_of_calls | sed -n "s|^\([0-9]*\) $kind\$|\1|p")
  pick "${numbers[@]}" && call=$picked
}

kinds_of_calls() {
  sed -E "s|$out/?||; s|[0-9a-f]{8}-[0-9]+-[0-9]+||; s|tmp-[0-9]+||; s|-[0-9]{8}||; s|rank-[0-9]+|rank|" "$scratch/all-calls"
}

undisturbed few-rows
kills=0 lost=0
for ranks_first in 1 2; do
  shimmed "$ranks_first" 1 || flunk "with the shim: $(tail -n 2 "$log")"
  cp "$log_of_calls" "$scratch/all-calls"
  calls=$(wc -l <"$log_of_calls")
  same_as few-rows "$out" "$ranks_first ranks, nothing killed: $calls calls of $(kinds_of_calls | cut -d' ' -f2- | sort -u | wc -l) kinds"
  if [ "$calls" -lt 200 ]; then flunk "the shim sees $calls calls only"; fi
  if [ "$all" = all ]; then
    for ((call = 1; call <= calls; call++)); do
      kill_at "$call" "kill" "$ranks_first" $((call % 3 + 1))
      kill_at "$call" tear "$ranks_first" $((call % 2 + 1))
    done
  else
    # The last moment before the last one is published: all older ones must still be there.
    kill_at "$(sed -nE 's|^([0-9]+) rename(at2?)? .*/checkpoint-0*[0-9]+$|\1|p' "$scratch/all-calls" | tail -n 1)" "kill" "$ranks_first" 1
    for kind in "kill" tear "kill" tear "kill"; do
      pick_call
      pick 1 1 2 3
      kill_at "$call" "$kind" "$ranks_first" "$picked"
    done
  fi
done
record "19" "T29" every_call "killed at any call of a save, on real workers: no checkpoint lost, the same bytes" "$kills kills, $lost checkpoints lost"
finish
