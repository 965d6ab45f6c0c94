#!/usr/bin/env bash
# Every file of configs/ says by which command it is planned: that is run, word for word, and must fit. A recipe with a key that does
# not exist is refused.
#   recipes.sh BIN_FOLDER
# shellcheck source=tests/plan/outlines.sh
. "$(dirname "$0")/outlines.sh" "$1"
outline 7b Llama-2-7b-hf
outline 7b base
outline 8b Llama-3.1-8B
outline 70b Llama-3.1-70B
outline 135m SmolLM-135M
cp -r "$top/configs" .

# plan_as_said FILE LINE
plan_as_said() {
  local words word command=()
  read -ra words <<<"$2"
  for word in "${words[@]:2}"; do
    command+=("$word")
    [ "$word" != "$1" ] || break
  done
  expect_status "${words[*]}" 0 "$qlora" plan "${command[@]}"
  if grep -Eq '^fits( with rung [0-9]+: .*)?$' "$scratch/out"; then pass "$1: fits"; else flunk "$1: $(grep fit "$scratch/out")"; fi
}

for file in configs/*.yaml; do
  mapfile -t lines < <(sed -n 's/^# *\(qlora plan .*\)/\1/p' "$file")
  is "$file says how it is planned" yes "$([ "${#lines[@]}" -gt 0 ] && echo yes)"
  for line in "${lines[@]}"; do plan_as_said "$file" "$line"; done
  echo 'lora_rank_of_all: 8' >>"$file"
  expect_status "$file with a wrong key" 64 "$qlora" plan --gpu H200 "$file"
  expect_line "and the key is named" "$file:[0-9]+: unknown key 'lora_rank_of_all'"
done

# What the recipes say of themselves.
cp "$top"/configs/*.yaml configs
plan --gpu T4 configs/7b-16gb.yaml
is "7B on a T4 computes in float16" '"float16"' "$(value products)"
plan --gpu A100-40 -n 8 configs/8-gpus.yaml
is "70B is too large for 40 GB" 64 "$?"
plan -n 8 --gpu A100-40 configs/2-nodes.yaml
is "8 rows a card and step" 8 "$(value rows_at_most)"
finish
