#!/usr/bin/env bash
# Conversations through the whole program: which template is used and said, what is trained on, what is refused with which status,
# that a cache never gives back what other settings made, and that a date is that of the data.
# usage: chat.sh BIN_FOLDER
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/../support/shell.sh" "$1"
cd "$top" || exit 1

run=("$worker" --threads 1 examples/chat.yaml output_dir="$scratch/run")
look() { "${worker%-worker}" inspect examples/chat.yaml output_dir="$scratch/run" packing=false --rows 0:1 "$@" 2>"$scratch/err" </dev/null; }
has() { # NAME PATTERN TEXT
  if grep -qE -- "$2" <<<"$3"; then pass "$1"; else flunk "$1: no line like '$2' in: $3"; fi
}

expect_status "the example trains" 0 "${run[@]}" max_steps=1
expect_line "its template is said" '^template the built-in chat template alpaca$'
expect_line "and what is trained on" '^targets  all turns of the assistant, each with the token that ends it$'
expect_status "a base model has no template" 65 "${run[@]}" chat_template=auto --check
expect_line "what there is" "^qlora: error: examples/data/chat.jsonl:1: the record is a conversation, but the model has no chat template .*: chatml, llama-2, .* or alpaca$"
expect_status "a name that is not there" 64 "${run[@]}" chat_template=alpacca --check
expect_line "the names there are" 'chat_template is "alpacca"; expected auto, a file .*, the name of a template in examples/model, or chatml, '
expect_status "a file that is not there" 65 "${run[@]}" chat_template="$scratch/none.jinja" --check
expect_status "keys that do not agree" 64 "${run[@]}" train_on=all completion_only_loss=true --check
echo '{"text": "x"}' >"$scratch/texts.jsonl"
expect_status "texts have no answers" 64 "${run[@]}" dataset="$scratch/texts.jsonl" train_on=last --check

printf '%s\n' "{{ strftime_now('%d %B %Y') }}|{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}" >"$scratch/dated.jinja"
cp examples/data/chat.jsonl "$scratch/data.jsonl"
touch -d '2021-03-04 12:00' "$scratch/data.jsonl"
dated=(dataset="$scratch/data.jsonl" dataset_cache="$scratch/kept" chat_template="$scratch/dated.jinja" audit=warn)
has "the date is that of the data" '^04 March 2021\|' "$(look "${dated[@]}")"
touch -d '2022-05-06 12:00' "$scratch/data.jsonl"
has "also behind a cache" '^06 May 2022\|' "$(look "${dated[@]}")"
has "all turns" 'assistant: \[\[.*\]\].*assistant: \[\[' "$(look "${dated[@]}" | tr '\n' ' ')"
last=$(look "${dated[@]}" train_on=last | tr '\n' ' ')
if grep -q 'assistant: \[\[.*assistant: \[\[' <<<"$last"; then flunk "the last turn only: $last"; else pass "the last turn only"; fi
has "all of it" '\[\[.*March|\[\[.*May' "$(look "${dated[@]}" train_on=all | tr '\n' ' ')"
finish
