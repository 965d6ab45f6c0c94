"""Golden files of conversations: what transformers' apply_chat_template makes of them, with return_assistant_tokens_mask, and what
TRL's rule for prompt and completion trains on.

Writes data/chat/: templates of our own that use what real ones do, and expected.json with conversations and, for each template and
tokenizer (of data/data/), ids and masks. The first token's mask is 0 here: nothing stands before it to predict it from.

    venv/bin/pip install transformers==5.23.0 tokenizers==0.23.3 jinja2==3.1.6
    venv/bin/python tests/golden/chat.py
"""
import json
import os
import shutil

import jinja2
import tokenizers
import transformers
from transformers import PreTrainedTokenizerFast

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
HERE = os.path.join(DATA, "chat")

TEMPLATES = {
    # Roles as they are; the end of a turn is eos, and a line break follows.
    "roles": """{%- for message in messages %}
    {{- '[' + message.role + ']\\n' }}
    {%- if message.role == 'assistant' %}
        {%- generation %}
            {{- message.content + eos_token }}
        {%- endgeneration %}
    {%- else %}
        {{- message.content + eos_token }}
    {%- endif %}
    {{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '[assistant]\\n' }}{%- endif %}
""",
    # bos, trimmed contents, a system text inside the first question, no head before answers.
    "inside": """{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}[ask] {% if loop.index0 == 1 and messages[0]['role'] == 'system' %}
<{{ messages[0]['content'] | trim }}>
{% endif %}{{ message['content'] | trim }} [/ask]{% elif message['role'] == 'assistant' %}{% generation %} {{ message['content'] | trim }}{{ eos_token }}{% endgeneration %}{% endif %}{% endfor %}
""",
    # Tools, calls, thinking in the last turn only, several blocks in a turn, a variable of one's own.
    "tools": """{%- if tools %}{{- 'tools: ' + (tools | map(attribute='function') | map(attribute='name') | join(', ')) + '\\n' + (tools | tojson) + '\\n' }}{%- endif %}
{%- for m in messages %}
    {{- '# ' + m.role + '\\n' }}
    {%- if m.role != 'assistant' %}
        {{- (m.content if m.content is string else m.content | map(attribute='text') | join('')) + eos_token }}
    {%- else %}
        {%- if m.reasoning_content and loop.last %}
            {%- generation %}{{- '(' + m.reasoning_content + ')\\n' }}{%- endgeneration %}
        {%- endif %}
        {%- generation %}
            {{- m.content or '' }}
            {%- for call in m.tool_calls or [] %}
                {{- '\\ncall ' + call.function.name + ' ' + (call.function.arguments if call.function.arguments is string else call.function.arguments | tojson) }}
            {%- endfor %}
            {{- eos_token }}
        {%- endgeneration %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '# assistant\\n' + ('' if thinks is not defined or thinks else '()\\n') }}{%- endif %}
""",
}


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Köln", "days": [1, 2.5, None]}}}
CALL_TEXT = {"type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Rom\"}"}}
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "The \"weather\" of a city", "parameters": {"type": "object", "properties": {}}}}]
PLAIN = [
    [turn("user", "How many apples?"), turn("assistant", "7")],
    [turn("system", "Be brief."), turn("user", "The quick "), turn("assistant", "brown fox"), turn("user", "jumps\n"), turn("assistant", "\n over the lazy dog.")],
    [turn("user", "她说"), turn("assistant", "：你好😀，世界。e\u0301"), turn("user", "emoji 😀"), turn("assistant", "über\r\n  ")],
    [turn("user", "a </s> in it"), turn("assistant", "x</s>y"), turn("user", "b")],
    [turn("user", "same"), turn("assistant", "same"), turn("user", "same"), turn("assistant", "same")],
    [turn("user", "one"), turn("assistant", "two"), turn("assistant", "three")],
    [m for i in range(6) for m in (turn("user", f"question {i}"), turn("assistant", f" answer {i} "))],
]
WITH_TOOLS = [
    {"messages": [turn("user", "Weather?"), turn("assistant", None, tool_calls=[CALL, CALL_TEXT]), turn("tool", "20"), turn("assistant", "20 degrees")], "tools": TOOLS},
    {"messages": [turn("user", "Q"), turn("assistant", "A", reasoning_content="because"), turn("user", "Q2"), turn("assistant", "B", thinking="so")]},
    {"messages": [turn("user", [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]), turn("assistant", "said", tool_calls=[CALL_TEXT])],
     "chat_template_kwargs": {"thinks": False}},
]


def apply(tokenizer, record, messages, **how):
    return tokenizer.apply_chat_template(messages, tools=record.get("tools"), tokenize=True, return_dict=True, **record.get("chat_template_kwargs", {}), **how)


def assistant(tokenizer, record):
    got = apply(tokenizer, record, record["messages"], return_assistant_tokens_mask=True)
    return {"record": record, "train_on": "assistant", "ids": got["input_ids"], "targets": [0] + got["assistant_masks"][1:]}


def completion(tokenizer, record):
    """The last message is the completion."""
    ids = apply(tokenizer, record, record["messages"])["input_ids"]
    prompt = apply(tokenizer, record, record["messages"][:-1], add_generation_prompt=True)["input_ids"]
    border = next((i for i, (a, b) in enumerate(zip(prompt, ids)) if a != b), min(len(prompt), len(ids)))
    parted = {key: value for key, value in record.items() if key != "messages"} | {"prompt": record["messages"][:-1], "completion": record["messages"][-1:]}
    return {"record": parted, "train_on": "auto", "ids": ids, "targets": [int(0 < i and border <= i) for i in range(len(ids))]}


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    os.makedirs(HERE)
    sets = []
    for name, source in TEMPLATES.items():
        with open(os.path.join(HERE, name + ".jinja"), "w", encoding="utf-8") as f:
            f.write(source)
        for folder in ("byte-level", "sentencepiece"):
            tokenizer = PreTrainedTokenizerFast.from_pretrained(os.path.join(DATA, "data", folder))
            tokenizer.chat_template = source
            records = [{"messages": messages} for messages in PLAIN] + (WITH_TOOLS if name == "tools" else [])
            cases = [assistant(tokenizer, r) for r in records]
            cases += [completion(tokenizer, r) for r in records if r["messages"][-1]["role"] == "assistant"]
            sets.append({"template": name, "tokenizer": folder, "cases": cases})
    versions = {m.__name__: m.__version__ for m in (transformers, tokenizers, jinja2)}
    with open(os.path.join(HERE, "expected.json"), "w", encoding="utf-8") as f:
        json.dump({"versions": versions, "sets": sets}, f, ensure_ascii=False, separators=(",", ":"))


if __name__ == "__main__":
    main()
