#!/usr/bin/env bash
# The audit through the whole program: it stops a run and --check, on all ranks alike, says how to go on, goes on, and leaves what it found.
# usage: audit.sh BIN_FOLDER
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/../support/shell.sh" "$1"
cd "$top" || exit 1
export QLORA_SAVE_PATIENCE=600

# 20 records of which 5 are long, and one of these is in the evaluation, too.
for i in $(seq 1 20); do
  if [ $((i % 4)) = 0 ]; then answer='one two three four five six seven eight nine ten eleven twelve'; else answer="$i"; fi
  echo "{\"question\": \"What is $i?\", \"answer\": \"$answer\"}"
done >"$scratch/data.jsonl"
{ echo '{"question": "What else?", "answer": "7"}'; sed -n 3p "$scratch/data.jsonl"; } >"$scratch/eval.jsonl"
run=("$worker" --threads 1 examples/demo.yaml dataset="$scratch/data.jsonl" eval_dataset="$scratch/eval.jsonl" eval_strategy=no
  max_length=16 max_steps=1 output_dir="$scratch/run")
kept=$scratch/run/run/audit.json

is() { # NAME WANTED GOT
  if [ "$2" = "$3" ]; then pass "$1"; else flunk "$1: '$3', not '$2'"; fi
}

expect_status "--check stops" 65 "${run[@]}" --check
expect_line "the table's head" '^audit    1 error, 1 warning in 22 records$'
expect_line "the last line" "^qlora: error: $scratch/data.jsonl:4: 5 of 20 records \(25 %\) are longer .*, this one first; raise max_length to [0-9]+, .*; audit: warn goes on all the same$"
enough=$(sed -n 's/^qlora: error: .*raise max_length to \([0-9]*\),.*/\1/p' "$scratch/err")
is "--check writes nothing" no "$([ -e "$scratch/run" ] && echo yes || echo no)"
expect_status "that length is enough" 0 "${run[@]}" --check max_length="$enough"
expect_line "what is left is a warning" "^         warning  in-train         eval: 1 of 2 records \(50 %\) are trained on, too"
expect_line "and where" "^ +$scratch/eval.jsonl:2: "
expect_status "one less is not" 65 "${run[@]}" --check max_length=$((enough - 1)) excess_length_strategy=error
expect_status "as JSON" 65 "${run[@]}" --check --json
is "on standard output" 1 "$(grep -c '^{"errors": 1, "warnings": 1, "notes": 0, "findings": \[$' "$scratch/out")"
cached() { "${run[@]}" --check dataset_cache="$scratch/prepared" 2>&1 | sed -n '/^audit/,$p' >"$scratch/$1"; }
cached cold
cached warm
is "prepared data say the same" "" "$(diff "$scratch/cold" "$scratch/warm")"
is "and have been prepared" yes "$([ -n "$(ls "$scratch/prepared")" ] && echo yes)"
expect_status "a limit of one's own" 0 "${run[@]}" --check audit_max_lost=0.25

expect_status "a run is stopped" 65 "${run[@]}"
is "the findings are kept" 1 "$(grep -c '"severity": "error", "check": "lost", "set": "train", "count": 5, "records": 20,' "$kept")"
is "and for people" "audit    1 error, 1 warning in 22 records" "$(head -n 1 "$scratch/run/run/audit.txt")"
is "nothing was trained" no "$([ -e "$scratch/run/adapter_model.safetensors" ] && echo yes || echo no)"
expect_status "audit: warn goes on" 0 "${run[@]}" audit=warn
is "and trains" yes "$([ -e "$scratch/run/adapter_model.safetensors" ] && echo yes || echo no)"
expect_status "scoring is not stopped" 0 "${run[@]}" --eval

if command -v mpirun >/dev/null; then
  expect_status "two ranks stop alike" 65 mpirun -np 2 "${run[@]}" --check
  is "in one voice" 1 "$(grep -c '^audit ' "$scratch/err")"
fi
# The page has a row for each check.
missing=
while IFS= read -r name; do
  grep -q "^| .*\`$name\`.* | .* | .* | .* |$" docs/audit.md || missing+=" $name"
done < <(sed -n 's/^    \[QL_AUDIT_[A-Z_]*\] = {"\([a-z-]*\)".*/\1/p' worker/data/audit/audit.c)
is "docs/audit.md knows all checks" "" "$missing"
finish
