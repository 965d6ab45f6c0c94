#!/usr/bin/env bash
# What a run writes down beside its checkpoints, on disks that are full or fail: metrics.jsonl, run.log, config.yaml, run/DONE and the
# adapter.   notes.sh BIN_FOLDER [all]
# shellcheck source=tests/faults/harness.sh
. "$(dirname "$0")/harness.sh" "$1" "${2:-}"
steps=12
common+=(max_steps="$steps" save_steps=5)

# on_disk NAME RANKS FILE FAULT: a run that meets a fault of the disk under that file or folder
on_disk() {
  QL_SHIM_UNDER=$scratch/$1${3:+/$3} suffer "$1" "$2" "$4"
}
count() { # NAME: how many step lines
  grep -c '^{"event": "step", .*}$' "$scratch/$1/metrics.jsonl"
}
whole() { # NAME: nothing but whole lines
  if grep -qv '^{"event": .*}$' "$scratch/$1/metrics.jsonl"; then flunk "$1: a torn line in metrics.jsonl"; else pass "$1: whole lines"; fi
}
same_bytes() {
  undisturbed
  if [ "$(digest "$1")" = "$wanted" ]; then pass "$1: the bytes of an undisturbed run"; else flunk "$1: other bytes, or none"; fi
}

on_disk passes 2 metrics.jsonl 0:4:once:exchange
exits passes 0
expect_line "passes: said once" '^qlora: warning: .*metrics.jsonl: cannot be written: Input/output error.*training goes on, its lines wait in memory'
expect_line "passes: and when it is over" '^qlora: warning: .*metrics.jsonl: can be written again$'
same_bytes passes
whole passes
if [ "$(count passes)" = $steps ]; then pass "passes: every line"; else flunk "passes: $(count passes) lines of $steps"; fi
record "18" "" metrics_error "a line of metrics.jsonl meets an IO error: said, and it comes with the next one; same bytes" "$(count passes) lines of $steps"

on_disk full 2 metrics.jsonl 0:7:enospc:exchange
exits full 74
expect_line "full: the reason comes last" '^qlora: error: .*the last lines of the run are missing: .*metrics.jsonl: cannot be written: No space left on device; free some'
if [ "$(grep -c 'wait in memory' "$scratch/err")" = 1 ]; then pass "full: said once"; else flunk "full: said $(grep -c 'wait in memory' "$scratch/err") times"; fi
same_bytes full
whole full
if [ "$(count full)" = 6 ]; then pass "full: the lines before it"; else flunk "full: $(count full) lines instead of 6"; fi
figure="exit status $status, adapter and checkpoint $steps there"
if [ -d "$scratch/full/checkpoint-$(printf %08d $steps)" ]; then pass "full: the last checkpoint"; else flunk "full: no last checkpoint"; fi
go_on full 2
record "17" "" metrics_full "no space for metrics.jsonl from step 7 on: the run trains to its end and writes the adapter, then 74" "$figure"

on_disk log 2 run.log '*:3:dead:step'
exits log 0
same_bytes log
record "17 18" "" log_fails "run.log cannot be written: nobody minds" "same bytes"

# The last line of each rank, also of those that speak only when something is wrong.
suffer lines 2 1:6:nan
exits lines 65
for rank in 0 1; do
  if grep -q "^qlora: error: rank $rank: " "$scratch/lines/run.log"; then pass "lines: of rank $rank"; else flunk "lines: none of rank $rank in run.log"; fi
done
if grep -qvE '^[[:print:]]+$' "$scratch/lines/run.log"; then flunk "lines: a torn line in run.log"; else pass "lines: whole"; fi
record "3 7" "T21" last_lines "the last line of each rank is in run.log, whole" "2 of 2 ranks"

# A rank that fails before there is a world: its status and its line.
as_job "$worker" 1 first-words
run_bounded mpirun -np 1 "${job[@]}" : -np 1 "$worker" --treads 1 "${job[@]:3}"
exits first_words 64
expect_line "first_words: its line" '^qlora: error: --treads: unknown option'
within "first_words: down" "$seconds" 2
record "7" "" first_words "a rank whose command line is wrong: its line, all down with its status" "exit status $status in $seconds s"

# Names that are taken by something else.
for what in fifo folder; do
  name=log-$what
  mkdir -p "$scratch/$name"
  case $what in
    fifo) mkfifo "$scratch/$name/run.log" ;;
    folder) mkdir "$scratch/$name/run.log" ;;
  esac
  suffer "$name" 1 ""
  exits "$name" 0
  expect_line "$name: said" '^qlora: warning: .*run.log: .*; the run goes on without it'
done
for file in run.log metrics.jsonl; do
  name=$file-link
  mkdir "$scratch/$name"
  ln -s "$scratch/elsewhere" "$scratch/$name/$file"
  suffer "$name" 2 ""
  exits "$name" 77
  expect_line "$name: the reason" "$file: is a symbolic link, and nothing is written through one"
  if [ -e "$scratch/elsewhere" ]; then flunk "$name: written through it"; else pass "$name: nothing is written through it"; fi
done
record "31" "" taken_names "run.log is a pipe or a folder: goes on without; it or metrics.jsonl is a link: refused" "0 and 77"

# Nobody reads what is said any more.
as_job "$worker" 1 unheard
run_bounded bash -c 'exec "$@" 2> >(head -n 1 >/dev/null)' bash "${job[@]}"
exits unheard 0
same_bytes unheard
record "" "" unheard "whoever read the messages has gone: the run goes on to the same bytes" "exit status $status"

# A limit of the size of files, which would end a program that does not expect it.
as_job "$worker" 1 limited
run_bounded sh -c 'ulimit -f 20; exec "$@"' sh "${job[@]}"
exits limited 74
expect_line "limited: what" '^qlora: error: .*cannot be written'
nothing_left limited
go_on limited 2
record "17" "" file_limit "files may not grow beyond a limit (ulimit -f): 74, and goes on without it" "exit status 74"

# The files at the beginning and at the end.
# unwritten NAME FILE FAULT: 74 with the cure, and the next start ends the run
unwritten() {
  on_disk "$1" 2 "$2" "$3"
  exits "$1" 74
  expect_line "$1: the cure" 'No space left on device; free some'
  nothing_left "$1"
  go_on "$1" 2
  if [ -e "$scratch/$1/run/DONE-$steps" ]; then pass "$1: done"; else flunk "$1: is not marked as done"; fi
}
unwritten config "" 0:0:enospc:load
unwritten adapter "" 0:$steps:enospc:end
unwritten marker run 0:$steps:enospc:end
record "17" "" first_and_last "no space for config.yaml, the adapter or run/DONE: 74 with the cure; the next start ends the run" "74 and 0 each"
finish
