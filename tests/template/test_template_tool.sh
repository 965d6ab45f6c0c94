#!/usr/bin/env bash
# usage: test_template_tool.sh BIN_FOLDER
# qlora template: where the template of a folder is found, what it gets, and what is refused.
# shellcheck source=tests/support/shell.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/shell.sh" "$1"
model=$scratch/model
mkdir -p "$model/additional_chat_templates"
cd "$scratch" || exit 1

# says NAME LINE: standard output of the last command is this line
says() {
  if [ "$(cat out)" = "$2" ]; then pass "$1"; else flunk "$1: it said $(cat out)"; fi
}
render() { "$bin/qlora" template --model "$model" "$@"; }
expect_render() {
  local name=$1 status=$2 line=$3
  shift 3
  printf '%s\n' "$line" >in
  expect_status "$name" "$status" render "$@" <in
}
talk='[{"role": "user", "content": "ä"}, {"role": "assistant", "content": null, "reasoning": "so"}]'

expect_render "no template" 65 "$talk"
expect_line "no template, said" 'model: has no chat template; put one into chat_template.jinja$'

cat >"$model/tokenizer_config.json" <<'END'
{"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": null, "chat_template":
 "{{ bos_token }}{{ eos_token }}{% for m in messages %}{{ m }}{% endfor %}{{ tools is none }}{{ add_generation_prompt }}"}
END
expect_render "a string" 0 "$talk"
says "special tokens and messages" "\"<s>{'role': 'user', 'content': 'ä'}{'thinking': 'so', 'role': 'assistant', 'reasoning': 'so', 'reasoning_content': 'so'}TrueFalse\""
expect_render "a name that is not there" 65 "$talk" --name rag
expect_line "a name, said" 'has no chat template called rag'

cat >"$model/tokenizer_config.json" <<'END'
{"bos_token": "<s>", "added_tokens_decoder": {}, "chat_template": [{"name": "default", "template": "default {{ bos_token }}"}, {"name": "rag", "template": "rag {{ x }}"}]}
END
echo '{"bos_token": "<other>"}' >"$model/special_tokens_map.json"
expect_render "named ones" 0 "$talk"
says "the default one" '"default <s>"'
expect_render "another" 0 '{"messages": [{"role": "user"}], "x": [1, null]}' --name rag
says "variables of one's own" '"rag [1, None]"'
expect_render "an unknown one" 65 "$talk" --name tool
expect_line "the known ones are said" 'no chat template is called "tool"; there are: default, rag$'

printf 'file {{ add_generation_prompt }}\n{{ messages[5].role }}' >"$model/chat_template.jinja"
expect_render "the file wins, and names its line" 65 "$talk" --generation-prompt
expect_line "line" '<stdin>:1: .*/chat_template.jinja:2: an item that is not there is used'
printf 'file {{ add_generation_prompt }}\n' >"$model/chat_template.jinja"
expect_render "the file wins" 0 "$talk" --generation-prompt
says "the file's text" '"file True"'
printf 'more {{ messages | length }}' >"$model/additional_chat_templates/more.jinja"
expect_render "a file with a name" 0 "$talk" --name more
says "its text" '"more 2"'

expect_render "a name that leaves the folder" 65 "$talk" --name ../../x
expect_render "no messages" 65 '[]'
expect_line "no messages, said" '<stdin>:1: there are no messages'
expect_render "no JSON" 65 '[{'
expect_render "no message" 65 '[5]'
expect_line "no message, said" 'message 1 is of type int, not an object'
expect_render "a word too many" 64 "$talk" word

echo "$checks checks, $failures failed"
[ "$failures" = 0 ]
