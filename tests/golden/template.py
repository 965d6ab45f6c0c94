"""Golden files of chat templates: what Jinja2, set up by transformers, makes of them.

Reads the templates in data/template/*.jinja (written for these tests) and the list of expressions below, and writes
data/template/expected.json: versions, the time that strftime_now sees, conversations, and for each template and
conversation the text and generation spans (in bytes) or the error; the same for each expression.

    venv/bin/pip install jinja2==3.1.6 transformers==5.24.0 numpy
    TZ=UTC venv/bin/python tests/golden/template.py
"""
import datetime
import glob
import json
import os

import jinja2
import transformers
from transformers.utils import chat_template_utils as hf

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "template")
NOW = 1709651045  # 2024-03-05 15:04:05 UTC, a Tuesday


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(NOW, datetime.timezone.utc)


hf.datetime = FixedTime

TOOL = {"type": "function", "function": {
    "name": "weather", "description": "Wetter für \"heute\" <b>&</b>",
    "parameters": {"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string", "description": "a city"},
        "days": {"type": "integer", "enum": [1, 2, 3]},
        "exact": {"type": ["boolean", "null"], "default": False}}}}}
CALL = {"role": "assistant", "content": None, "tool_calls": [
    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Köln", "days": 2, "f": 1.5, "n": None}}}]}
CONVERSATIONS = {
    "one": {"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": True},
    "turns": {"messages": [{"role": "system", "content": "  Be brief.\n"}, {"role": "user", "content": "1 + 1?\n"},
                           {"role": "assistant", "content": " 2 "}, {"role": "user", "content": "She said: \"ä 😀\"\tok"},
                           {"role": "assistant", "content": "<think>\nhm\n</think>\n\nYes."}], "add_generation_prompt": False},
    "tools": {"messages": [{"role": "user", "content": "Weather?"}, CALL, {"role": "tool", "name": "weather", "content": "{\"t\": 20}"},
                           {"role": "assistant", "content": "20 degrees"}], "tools": [TOOL, TOOL], "add_generation_prompt": False},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Look: "}, {"type": "image"}, {"type": "text", "text": "what?"}]},
                           {"role": "assistant", "content": [{"type": "text", "text": "A cat."}], "reasoning": "paws"}],
              "add_generation_prompt": True, "enable_thinking": False},
    "wrong": {"messages": [{"role": "assistant", "content": "first"}, {"role": "assistant", "content": "again"}], "add_generation_prompt": False},
    "empty": {"messages": [], "add_generation_prompt": True},
}
COMMON = {"bos_token": "<s>", "eos_token": "</s>", "tools": None, "documents": None}

VARIABLES = {
    "i": 7, "neg": -7, "big": 9007199254740993, "f": 2.5, "small": 1e-7, "large": 1e22, "t": True, "no": False, "nil": None, "s": "Hello World",
    "u": "Äpfel und Öl ß 😀", "blank": " \t x y \n", "esc": "a'b\"c\\d\ne<&>", "empty": "", "l": [3, 1, 2], "ls": ["b", "A", "c", "a"], "none_list": [],
    "d": {"b": 1, "a": {"x": [1, 2.0, None, True]}, "C": "z", "items": 5}, "mixed": [1, "a", None, 2.5, True, {"k": ["v"]}],
    "people": [{"name": "Eva", "age": 30, "addr": {"city": "Rom"}}, {"name": "adam", "age": 25}, {"name": "Zoe", "age": 30, "ok": True}],
    "text": "one\ntwo\r\n\nthree  four", "csv": "a,b,,c", "tok": "<|im_start|>"}
EXPRESSIONS = """
1 + 2 * 3 | 7 // 2 | neg // 2 | neg % 3 | i % neg | 7 / 2 | 6 / 3 | 2 ** 10 | 2 ** -1 | 2 ** 3 ** 2 | -2 ** 2 | 1.5 // 0.4 | -7.5 % 2 | 7.5 % -2 | 0.1 + 0.2
1e16 | 1e15 | 123456789012345680.0 | 1e22 | large | small | 0.0001 | 0.00001 | 100.0 | -0.0 | 1.0 | f | 1e100 | 3.14159 | 1_000 + 0x1F + 0b11 + 0o17 | 1_0.5
t + 1 | t * 3 | true == 1 | 1 == 1.0 | 'a' == 1 | none == false | [1, 2] == [1, 2.0] | (1, 2) == [1, 2] | {'a': 1} == {'a': true} | 2 > 1 > 0 | 1 < 3 < 2 | 'a' < 'b'
[1, 2] < [1, 3] | 'ä' > 'z' | not 1 | not '' and 1 | 0 or 'x' | '' and 1 | [] or {} or none | 1 in l | 9 not in l | 'ell' in s | 'a' in d | 'x' in nope | 3 in (1, 3)
nope | nope is defined | nope | default('x') | nope or 'y' | d.nope is undefined | nope == nada | nope ~ 'z' | nope | length | nope | list | nope is iterable | nope is sequence | nope | last is defined | [nil, nil] | sort | people | sort(attribute='none') | length | [] in d | d.get([]) | d[[]] is defined | 3 | indent
nope.x | nope + 1 | nope() | nope['a'] | 1 + 'a' | 'a' + 1 | nil + 1 | l + (1,) | [1] < ['a'] | 1 / 0 | 1 // 0 | 1 % 0 | 1.0 / 0 | d.a.x.y.z | nil.x | nil.x.y | -s
s ~ 1 ~ none ~ true ~ 1.0 ~ [1, 'a'] | 'a' 'b' "c" | 'ab' * 3 | 3 * 'ab' | [1] * 2 | 'x' * -1 | 'a\\tb\\n\\x41\\u00e4\\'\\q' | "a\\"b" | '\\101'
mixed | d | esc | [esc] | [u] | ['\\x00\\x7f\\u200b\\u00a0'] | (1,) | () | (1, 2) | [none, true, 1.0] | {1: 'a', none: 2, 1.5: 3} | d.items() | d.keys() | d.values() | d['items']
d.get('b') | d.get('q') | d.get('q', 3) | d['q'] is defined | d['a']['x'][1] | d.a.x | d.a['x'][-1] | d.a.x.0 | d.b.c is defined | d['b'] | d.C | d | length | d | list | d.a == d['a']
s[0] | s[-1] | s[1:3] | s[::-1] | s[::2] | s[8:2:-2] | s[-3:] | s[:-3] | s[99:] | s[99] is defined | u[0] | u[-1] | u[1:4] | u[::-1] | u | length | l[0] | l[-1] | l[1:] | l[:-1] | l[::-1]
l[5] is defined | l['a'] is defined | (1, 2, 3)[1:] | s[0:0] | l[::0] | s['a':] | 5[0] is defined | nil[0] is defined | nil[1:] | range(5)[1:3] | list | range(5) | list | range(2, 10, 3) | list | range(5, 0, -2) | list | range(3) | length | range(0) | list
s.upper() | s.lower() | u.upper() | u.lower() | 'hELLO wORLD'.title() | "it's a dog's".title() | 'hELLO'.capitalize() | s | upper | s | lower | 'foo bar-baz (qux'| title | 'hELLO wORLD' | capitalize | u | capitalize
blank.strip() | blank | trim | [blank.lstrip()] | [blank.rstrip()] | 'xxaxx'.strip('x') | 'abcba' | trim('ab') | 'xyaxy'.lstrip('yx') | 'axyx'.rstrip('xy') | ['\\u00a0\\u2003a\\x1c\\u200b'.strip()] | '--a--' | trim('-')
csv.split(',') | csv.split(',', 1) | ' a  b c '.split() | ' a  b c '.split(none, 1) | ' a  b c  '.split(maxsplit=2) | 'abc'.split('') | ''.split() | ''.split(',') | csv.rsplit(',', 1) | csv.rsplit(',') | text.splitlines() | text.splitlines(true) | 'a<t>b<t>'.split('<t>')[-1]
s.startswith('Hell') | s.startswith(('x', 'He')) | s.endswith('d') | s.endswith('x') | s.startswith('lo', 3) | s.startswith('', 99) | s.endswith('lo', 0, 5) | s.find('o') | s.find('o', 5) | s.find('zz') | u.find('ß') | s.rfind('o') | s.count('l') | 'aaa'.count('aa') | ''.count('') | 'abc'.count('')
s.replace('l', 'L') | s.replace('l', 'L', 1) | s | replace('o', '0') | 'aaa' | replace('a', 'b', 2) | 'abc'.replace('', '-') | 'abc'.replace('', '-', 2) | 5 | replace('5', 6) | ', '.join(ls) | ','.join([1]) | ls | join | ls | join('-') | mixed | join(', ') | people | join(', ', attribute='name') | 'abc' | join('.')
s.removeprefix('Hello ') | s.removesuffix('World') | 'abc'.isalpha() | '12'.isdigit() | ' '.isspace() | 'a1'.isalnum() | 'AB'.isupper() | 'ab'.islower() | 'a1' is lower | 'AB' is upper | s.index('W') | s.index('zz') | l.index(1) | l.count(3) | l.index(9)
l | sort | ls | sort | ls | sort(case_sensitive=true) | l | sort(reverse=true) | ls | sort(true) | people | sort(attribute='age') | map(attribute='name') | list | [2, 'a'] | sort | d | dictsort | d | dictsort(true) | {'a': 2, 'b': 1} | dictsort(by='value') | d | dictsort(reverse=true) | {'a': 2, 'b': 1} | dictsort(false, 'value', true)
ls | map('upper') | list | people | map(attribute='addr.city') | list | people | map(attribute='addr.city', default='-') | list | ls | map('replace', 'a', 'x') | list | l | map('string') | join('+') | l | select('odd') | list | l | reject('odd') | list | l | select | list | [0, 1, ''] | reject | list | l | select('gt', 1) | list
people | selectattr('ok') | list | people | selectattr('age', 'equalto', 30) | map(attribute='name') | list | people | rejectattr('age', 'eq', 30) | list | people | selectattr('ok', 'defined') | list | length | people | rejectattr('addr') | list | length | people | selectattr('age', '>', 26) | list | length
[1, 2, 1, 'a', 'A'] | unique | list | ['a', 'A'] | unique(true) | list | people | unique(attribute='age') | list | length | s | reverse | l | reverse | list | l | first | l | last | none_list | first is defined | none_list | last | s | first | s | last | l | select('odd') | first | l | select | last | l | sum | people | sum(attribute='age') | [1.5, 2] | sum | [] | sum | l | min | l | max | ls | max | people | max(attribute='age') | [] | min is defined
l | list | s | list | {'a': 1} | list | 'é😀' | list | l | count | nil | length | 5 | length | l | select | length | l | select is sequence | l | select is iterable | l | map('string') is string
'42' | int | ' 42 ' | int | '4.9' | int | 'x' | int | 'x' | int(5) | '1_0' | int | '0x1F' | int | '0x1F' | int(base=16) | '1F' | int(0, 16) | 4.9 | int | -4.9 | int | true | int | none | int(3) | '1e3' | int | '' | int | '3.5' | float | 'x' | float | 'x' | float(1.5) | 2 | float | 'inf' | float | 'nan' | float | '-1_0.5' | float | [] | float
5 | string | none | string | 1.0 | string | [1] | string | -5 | abs | -2.5 | abs | 2.5 | round | 3.5 | round | 2.675 | round(2) | 2.4 | round(0, 'ceil') | 2.6 | round(method='floor') | 1234.5 | round(-2) | 5 | round | 0.05 | round(1) | 1e20 | round | 'x' | abs
'a\\nb\\n\\nc' | indent | 'a\\nb' | indent(2) | 'a\\nb' | indent(2, true) | 'a\\n\\nb' | indent(2, blank=true) | 'a\\nb' | indent('> ', true) | '' | indent(2, true) | 'a\\n' | indent
d | tojson | mixed | tojson | esc | tojson | u | tojson | u | tojson(ensure_ascii=true) | d | tojson(indent=2) | [] | tojson(indent=2) | {} | tojson(indent=4) | {'a': []} | tojson(indent=2) | d | tojson(sort_keys=true) | l | tojson(separators=(',', ':')) | d | tojson(separators=(',', ':')) | [1.0, 1e100, 0.1, 1e-7] | tojson | '\\x00\\x1f\\x7f\\u2028' | tojson | {1: 2, true: 3, none: 4, 1.5: 5} | tojson | (1, 2) | tojson | nope | tojson | d.items() | tojson | d.items() | list | tojson | l | tojson(indent='--') | 'a<b>' | tojson
esc | e | esc | escape | '<b>' | safe | ('<b>' | safe) ~ '<' | ('<b>' | safe) + '<' | '<' + ('<b>' | safe) | ('<b>' | safe) + 'x' * 2 | [('<b>' | safe)] | ('a<b' | safe).split('<') | ('<b>' | safe).replace('b', '<') | ('<' | e) ~ '<' | ('<' | e) + '<' | ('<b>' | safe) is string | ('<b>' | safe) | upper + '<' | ('<' | safe) | length | ('<b>' | safe) | trim + '&'
nil is none | 1 is none | i is number | t is number | f is number | i is integer | t is integer | f is float | t is boolean | 1 is boolean | t is true | no is false | 1 is true | s is string | l is string | d is mapping | l is mapping | l is sequence | d is sequence | s is sequence | 5 is iterable | d is iterable | (1, 2) is sequence | range(2) is sequence | d.items() is sequence | 3 is odd | 4 is even | 9 is divisibleby 3 | 9 is divisibleby(4) | 1 is eq 1 | 1 is equalto(2) | 1 is ne 2 | 1 is lt 2 | 1 is gt 2 | 1 is in [1] | 'a' is in 'cab' | 2 is ge 2 | 2 is le(1) | s is not string | not s is string | 1 is sameas 1 | true is sameas 1 | s is callable | range is callable | nope is none | 'upper' is filter | 'odd' is test | s is frobnicated | s | frobnicate
1 if t else 2 | 1 if no | 'a' if no else 'b' if no else 'c' | (1 if no) is defined | 'x' if nope else 'y' | (1, 2)[0] if t else 3 | [1 if t else 2, 3] | {'a': 1 if t else 2}.a | -1 | abs | - i | + i | --i | 2 - -2 | i - 1 - 1 | 2 * i + 1 | (2 + 3) * 4 | 'a' ~ 1 + 2 | 1 + 2 ~ 3 | not i == 7 | 1, 2 | (1) | [1, 2,] | {'a': 1,}.a | dict(a=1, b=2) | dict([('a', 1)]) | dict({'x': 1}, y=2) | namespace(a=1).a | namespace(a=1).b is defined | namespace({'q': 1}).q | namespace(_x=1) | namespace(a=1)
d.update({'z': 1}) | l.append(1) | l.pop() | d.pop('a') | d.clear() | s.__class__ | s.__class__.__mro__ | d._x is defined | range(100001) | range(1, 2, 0) | raise_exception('stop: ' ~ s) | raise_exception(5) | strftime_now('%Y-%m-%d %H:%M:%S') | strftime_now('%d %B %Y, %A %b %a %j %I %p %y %%') | strftime_now('%-d/%-m %e') | s.nope() | s.nope is defined | 5.5.x is defined | 'é' < 'f' | 'a' 'b' | 'A'.lower() == 'a' | '%s' is string
9007199254740993 == 9007199254740992.0 | big + 0 | big | 9223372036854775807 | 1e3 | 1E3 | 0 | 00 | 0_0 | 1.5e-3 | 5 // 1.5 | 2 ** 0.5 | -8 ** 2 | 0 ** 0 | 7 % 2.5 | -1 // 3 | -1 % 3 | 10 % 3 | 1.0 * 3 | 3 * 1.1 | 5 is divisibleby 0 | 'a' * 2.0
"""


def parts_of(line):
    """Cut at " | " outside of brackets and quotes."""
    depth, quote, start, at = 0, "", 0, 0
    while at < len(line):
        c = line[at]
        if quote:
            at += c == "\\"
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif line.startswith(" | ", at) and depth == 0:
            yield line[start:at]
            start = at + 3
        depth += not quote and (c in "([{") - (c in ")]}")
        at += 1
    yield line[start:]


def split_expressions(text):
    """Expressions stand with " | " between them, which filters need, too: a part that begins with a filter's name belongs to the one before."""
    filters = (set(jinja2.filters.FILTERS) | {"tojson", "frobnicate"}) - {"d"}
    for line in text.strip().split("\n"):
        made = []
        for part in parts_of(line):
            if made and part.split("(")[0].split(" ")[0] in filters:
                made[-1] += " | " + part
            else:
                made.append(part)
        yield from made


def usual(messages):
    return hf._alias_reasoning_fields(hf._normalize_chat_messages(messages))


def rendered(template, variables):
    try:
        text, spans = hf._render_with_assistant_indices(hf._compile_jinja_template(template), usual(variables["messages"]), variables["tools"],
            variables["documents"], variables["add_generation_prompt"], **{k: v for k, v in variables.items() if k not in
            ("messages", "tools", "documents", "add_generation_prompt")})
    except Exception as e:
        return {"error": type(e).__name__, "message": str(e)}
    in_bytes = lambda i: len(text[:i].encode())
    return {"text": text, "spans": [[in_bytes(a), in_bytes(b)] for a, b in spans]}


def main():
    templates = {os.path.basename(f): open(f, newline="").read() for f in sorted(glob.glob(os.path.join(HERE, "*.jinja")))}
    variables = {**COMMON, **VARIABLES, "messages": [], "add_generation_prompt": False}
    expressions = list(split_expressions(EXPRESSIONS))
    document = {
        "versions": {"jinja2": jinja2.__version__, "transformers": transformers.__version__}, "now": NOW, "variables": variables,
        "conversations": {name: {**COMMON, **c} for name, c in CONVERSATIONS.items()},
        "expressions": [{"expression": e, **rendered("{{ " + e + " }}", variables)} for e in expressions],
        "templates": {name: {c: rendered(t, {**COMMON, **v}) for c, v in CONVERSATIONS.items()} for name, t in templates.items()}}
    with open(os.path.join(HERE, "expected.json"), "w") as f:
        json.dump(document, f, ensure_ascii=False, indent=0)
        f.write("\n")
    print(len(expressions), "expressions,", len(templates), "templates")


main()
