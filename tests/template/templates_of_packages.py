"""usage: templates_of_packages.py RENDERER [FILE.jinja ...]
Renders the chat templates of the installed package trl (or the files named) with many conversations, by transformers' Jinja2
and by RENDERER, and prints every difference. Errors must be errors in both; their words are compared only for
raise_exception. Ends with 77 when the packages are not there."""
import datetime
import glob
import importlib.util
import json
import os
import subprocess
import sys

NOW = 1709651045
try:
    from transformers.utils import chat_template_utils as hf
    folders = importlib.util.find_spec("trl").submodule_search_locations
except Exception as e:
    print("skipped: the packages transformers and trl are not there:", e)
    sys.exit(77)


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(NOW)


hf.datetime = FixedTime


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


def text(content):
    return [{"type": "text", "text": content}]


CALL = {"id": "call00001", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Köln", "days": [1, 2], "deep": {"a": None, "b": 1.5}}}}
CALL_TEXT = {"id": "call00002", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\": \"Rom\"}"}}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "The \"weather\" <b> of a city", "parameters": {
    "type": "object", "required": ["city"], "properties": {
        "city": {"type": "string", "description": "Where"}, "days": {"type": "array", "items": {"type": "integer"}, "nullable": True},
        "unit": {"type": "string", "enum": ["C", "F"], "default": "C"}, "deep": {"type": "object", "properties": {"a": {"type": ["string", "null"]}}}}},
    "return": {"type": "string", "description": "text"}}}]
MESSAGES = {
    "user": [turn("user", "Hi there")],
    "pair": [turn("user", " Hi\n"), turn("assistant", "\n Hello <b>&amp;</b> ")],
    "system": [turn("system", "Be brief. "), turn("user", "1+1?"), turn("assistant", "2"), turn("user", "Sure?"), turn("assistant", "Yes. 😀")],
    "developer": [turn("developer", "Rules"), turn("user", "x"), turn("assistant", "y")],
    "two systems": [turn("system", "a"), turn("system", "b"), turn("user", "c"), turn("assistant", "d")],
    "thinking": [turn("user", "Q"), turn("assistant", "<think>\nhmm\n</think>\n\nA"), turn("user", "Q2"), turn("assistant", "<think>\nok</think>B")],
    "reasoning": [turn("user", "Q"), turn("assistant", "A", reasoning_content="because"), turn("user", "Q2"),
                  turn("assistant", "B", reasoning="so")],
    "call": [turn("user", "Weather?"), turn("assistant", None, tool_calls=[CALL]), turn("tool", "{\"t\": 20}", name="get_weather", tool_call_id="call00001"),
             turn("assistant", "20 degrees")],
    "calls": [turn("system", "s"), turn("user", "Weather?"), turn("assistant", "Let me see", tool_calls=[CALL, CALL_TEXT], thinking="r", name=None),
              turn("tool", "1", name="get_weather", tool_call_id="call00001"), turn("tool", "2", name="get_weather", tool_call_id="call00002"),
              turn("assistant", "done"), turn("user", "thanks")],
    "no content": [turn("user", "Weather?"), {"role": "assistant", "tool_calls": [CALL]}, turn("tool", {"t": [1, 2.5, None]}, name="get_weather")],
    "parts": [turn("system", text("sys")), turn("user", [{"type": "image"}, *text("What?"), {"type": "image"}]), turn("assistant", text("A cat"))],
    "odd": [turn("assistant", "first"), turn("user", "second")],
    "twice": [turn("user", "a"), turn("user", "b"), turn("assistant", "c"), turn("assistant", "d")],
    "tool first": [turn("tool", "x")], "unknown": [turn("narrator", "x"), turn("user", "y")], "numbers": [turn("user", 5)], "none": [],
}
EXTRAS = [{"add_generation_prompt": False}, {"add_generation_prompt": True}, {"add_generation_prompt": True, "tools": TOOLS},
          {"add_generation_prompt": True, "enable_thinking": False}, {"add_generation_prompt": False, "enable_thinking": True, "tools": TOOLS},
          {"add_generation_prompt": True, "date_string": "1 Jan 2025", "reasoning_effort": "high", "builtin_tools": ["python"],
           "documents": [{"title": "T", "text": "body"}]}]
COMMON = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "tools": None, "documents": None}


def rendered(source, variables):
    call = dict(variables)
    call["messages"] = hf._alias_reasoning_fields(hf._normalize_chat_messages(call["messages"]))
    first = [call.pop(k) for k in ("messages", "tools", "documents", "add_generation_prompt")]
    try:
        made, spans = hf._render_with_assistant_indices(hf._compile_jinja_template(source), *first, **call)
    except Exception as e:
        return {"error": str(e), "raised": type(e).__name__ == "TemplateError"}
    return {"text": made, "spans": [[len(made[:a].encode()), len(made[:b].encode())] for a, b in spans]}


def same(want, got):
    if "error" in want or "error" in got:
        return "error" in want and "error" in got and (not want["raised"] or got["error"].endswith(want["error"]))
    return want == got


def main():
    files = sys.argv[2:] or sorted(glob.glob(os.path.join(folders[0], "**", "*.jinja"), recursive=True))
    jobs = [(f, m, open(f, newline="").read(), {**COMMON, "messages": messages, **extra})
            for f in files for m, messages in MESSAGES.items() for extra in EXTRAS]
    lines = "".join(json.dumps({"template": j[2], "variables": j[3], "now": NOW}) + "\n" for j in jobs)
    out = subprocess.run([sys.argv[1]], input=lines, stdout=subprocess.PIPE, text=True, check=True).stdout.split("\n")[:-1]
    differences = errors = 0
    for (name, conversation, source, variables), line in zip(jobs, out):
        want, got = rendered(source, variables), json.loads(line)
        errors += "error" in want
        if not same(want, got):
            differences += 1
            print(f"{os.path.basename(name)}, {conversation}:\n  Jinja2 {want}\n  ours   {got}")
    print(f"{len(files)} templates, {len(jobs)} renderings, {errors} of them refused by both, {differences} differences")
    return 1 if differences or len(out) != len(jobs) or not files else 0


sys.exit(main())
