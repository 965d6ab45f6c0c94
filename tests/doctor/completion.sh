#!/usr/bin/env bash
# Completion of words, asked as bash asks it: every command, every option of it and the values of these, as --help has them.
# usage: completion.sh BIN_FOLDER
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/../support/shell.sh" "$1"
# shellcheck source=completion/qlora.bash
. "$top/completion/qlora.bash"
# shellcheck disable=SC2154 # bin: of tests/support/shell.sh
bin=$(cd "$bin" && pwd)
qlora=$bin/qlora

# offers NAME WANTED WORD...: what is offered for the last word, with what stands before it, is exactly WANTED
offers() {
  local name=$1 wanted=$2 got function=_qlora
  shift 2
  [[ $1 == *qlora-worker ]] && function=_qlora_worker
  COMP_WORDS=("$@")
  COMP_CWORD=$(($# - 1))
  COMPREPLY=()
  $function "$1" 2>/dev/null
  got=$(printf '%s\n' "${COMPREPLY[@]}" | sort | paste -sd ' ')
  wanted=$(tr ' ' '\n' <<<"$wanted" | sort | paste -sd ' ')
  if [ "$got" = "$wanted" ]; then pass "$name"; else flunk "$name: offered '$got' instead of '$wanted'"; fi
}

cd "$scratch" || exit 1
mkdir -p models
: >a.yaml
commands=$("$qlora" --help | sed -n '/^commands:/,/^$/ s/^  \([^ ]*\) .*/\1/p')
[ "$(wc -w <<<"$commands")" -ge 10 ] || flunk "qlora --help names hardly a command"
# shellcheck disable=SC2086 # words
offers "all commands" "$(echo $commands) --help --version" "$qlora" ''
offers "a command begun" doctor "$qlora" doc
for command in $commands; do
  # By another way than the completion's: what the options' table says when it is asked for nonsense.
  options=$("$qlora" "$command" --help | sed -n '/^options:/,/^$/ s/^  \(-[^ ]*\).*/\1/p' | paste -sd ' ')
  offers "options of $command" "${options:+$options }--help" "$qlora" "$command" -
  for option in $options; do
    if "$qlora" "$command" "$option" </dev/null 2>&1 | grep -q 'unknown option'; then flunk "$command does not know $option"; fi
  done
done
offers "choices" 'auto cuda cpu' "$qlora" run --device ''
offers "a choice begun" 'cuda cpu' "$qlora" run --device c
offers "cards" 'H100 H200' "$qlora" plan --gpu H
offers "folders" models "$qlora" quantize --model ''
offers "files" 'a.yaml models' "$qlora" run ''
offers "a number is not offered" '' "$qlora" run -n ''
offers "keys" lora_r= "$qlora" run a.yaml lora_r
offers "truth values" 'true false' "$qlora" run a.yaml packing = ''
offers "values in one word" 'nf4 fp4' "$qlora" run a.yaml bnb_4bit_quant_type=
offers "a value begun" fp4 "$qlora" run a.yaml bnb_4bit_quant_type = f
offers "a path as value" 'a.yaml' "$qlora" run a.yaml dataset = a
all=$("$bin/qlora-worker" --help-config | sed -n 's/^  \([a-z][a-z_0-9]*\) (.*/\1=/p' | grep '^save' | paste -sd ' ')
offers "all keys that begin so" "$all" "$qlora" run a.yaml save
offers "the worker's options" '--plan --probe --per-record' "$bin/qlora-worker" --p
offers "the worker's keys" 'lora_alpha=' "$bin/qlora-worker" a.yaml lora_a
offers "an unknown command" '--help' "$qlora" nonsense -
finish
