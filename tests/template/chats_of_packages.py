"""usage: chats_of_packages.py PROGRAM [NAME ...]
Conversations to tokens and targets, with the chat templates of the installed package trl and tokenizers made here, by
transformers and TRL's rules on the one hand and by PROGRAM (tokens_of_chat) on the other:

 - templates with generation blocks: ids and return_assistant_tokens_mask;
 - prompt and completion as lists: TRL's common prefix;
 - templates without: turns found by prefixes must be those of the template's "_training" twin, where both write the same text.
   What asks for an answer (the head of a message, an opened thinking block) is no target of ours, whether it stands in a block or
   not. White space where a turn begins and behind the token that ends it may differ, in one of a hundred.

Prints every difference. Ends with 77 when the packages are not there."""
import datetime
import glob
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile

NOW = 1709651045
try:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast
    from transformers.utils import chat_template_utils as hf
    folder = os.path.join(importlib.util.find_spec("trl").submodule_search_locations[0], "chat_templates")
except Exception as e:
    print("skipped: the packages transformers, tokenizers and trl are not there:", e)
    sys.exit(77)


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(NOW)


hf.datetime = FixedTime
NAMES = sys.argv[2:] or sorted(os.path.basename(f)[:-6] for f in glob.glob(os.path.join(folder, "*.jinja")))
TEXTS = ["The quick brown fox jumps over the lazy dog.", "Was ist das? Ein Fuchs über dem Zaun.", "How many apples? 3 + 4 = 7", "user assistant system model",
         "她说：你好，世界。", "emoji 😀 and e\u0301 accents", "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Rom\"}}", "\n\n  \n"]
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
PLAIN = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


def text(content):
    return [{"type": "text", "text": content}]


CALL = {"id": "call00001", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Köln", "days": [1, 2]}}}
CALL_TEXT = {"id": "call00002", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\": \"Rom\"}"}}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "The weather of a city", "parameters": {
    "type": "object", "required": ["city"], "properties": {"city": {"type": "string", "description": "Where"}}}}}]
U, A, S, T = (lambda r: lambda c, **m: turn(r, c, **m))("user"), lambda c, **m: turn("assistant", c, **m), lambda c: turn("system", c), \
    lambda c, **m: turn("tool", c, name="get_weather", **m)
CHATS = {
    "pair": [U("Hi there"), A("Hello!")], "blanks": [U(" Hi\n"), A("\n Hello <b>&amp;</b> \n")], "unicode": [U("她说 😀"), A("你好，世界 😀e\u0301")],
    "system": [S("Be brief."), U("1+1?"), A("2"), U("Sure?"), A("Yes. 😀")], "three": [U("a"), A("b"), U("c"), A("d\n\n"), U("e"), A("f")],
    "user last": [U("a"), A("b"), U("c")], "same": [U("x"), A("x"), U("x"), A("x"), U("x"), A("x")],
    "thinking": [U("Q"), A("<think>\nhmm\n</think>\n\nA"), U("Q2"), A("<think>\nok</think>B")],
    "reasoning": [U("Q"), A("A", reasoning_content="because"), U("Q2"), A("B", reasoning_content="so")],
    "call": [U("Weather?"), A(None, tool_calls=[CALL]), T("20", tool_call_id="call00001"), A("20 degrees")],
    "call, said": [S("s"), U("Weather?"), A("Let me see", tool_calls=[CALL]), T("1", tool_call_id="call00001"), A("done"), U("thanks"), A("bye")],
    "calls": [U("Weather?"), A("", tool_calls=[CALL, CALL_TEXT]), T("1", tool_call_id="call00001"), T("2", tool_call_id="call00002"), A("done")],
    "twice": [U("a"), A("b"), A("c")], "first": [A("Welcome."), U("b"), A("c")], "parts": [U(text("What?")), A(text("A cat")), U(text("Why?")), A(text("So."))],
    "specials": [U("a <|im_end|> b </s>"), A("<|im_end|>x</s> y"), U("c"), A("d")], "tags": [U("a"), A("<b>bold</b>"), U("c"), A("<")],
    "long": [m for i in range(12) for m in (U(f"question {i}\n"), A(f"answer {i}"))],
}


# Where a twin's blocks hold something else than an answer, or not all of it, or writes more than an answer needs.
KNOWN = {
    "deepseek_r1_distill": "call: the end of the tools' outputs stands in the block, though the prompt has written it",
    "deepseekv3": "call, said: as above",
    "diffusion_gemma": "call: the block lacks the token that begins the tool's response, at which generation stops",
    "glm4moe": "user last: the block holds the next message's first token; so does our turn where the model stops at it",
    "gptoss": "twice: the end of an answer that another one follows is not comparable by the prompts",
}


def specials(source):
    found = set(re.findall(r"<\|[^|<>'\" ]+\|>|<\|[a-z_]+>|<[a-z_]+\|>|<｜[^｜<>']+｜>|\[/?[A-Z_]+\]|<(?:start|end)_of_[a-z]+>|</?s>|<image>", source))
    return sorted(found | {"<s>", "</s>"})


def byte_level(source):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(GPT2), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(TEXTS * 3, trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tok.add_special_tokens([AddedToken(s, special=True) for s in specials(source)])
    tok.add_tokens([AddedToken(p, special=False) for p in PLAIN])
    return PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<s>", eos_token="</s>", pad_token="</s>")


def pieces(source):
    tok = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tok.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=["<unk>"] + [f"<0x{b:02X}>" for b in range(256)], limit_alphabet=60, show_progress=False)
    tok.train_from_iterator([t for x in TEXTS for t in x.split("\n")] * 3, trainer)
    state = json.loads(tok.to_str())
    state["added_tokens"] = [t for t in state["added_tokens"] if t["content"] == "<unk>"]
    tok = Tokenizer.from_str(json.dumps(state))
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tok.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in specials(source)])
    tok.add_tokens([AddedToken(p, special=False, normalized=False) for p in PLAIN])
    return PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>")


def whole(tokenizer, messages, extra, **how):
    """(ids, mask) or the error."""
    try:
        got = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, **extra, **how)
        return got["input_ids"], got.get("assistant_masks")
    except Exception as e:
        return str(e) or type(e).__name__, None


def trim(tokenizer, ids, mask, special):
    """Without white space where a turn begins and behind the token that ends it, and without the first token."""
    blank = [not tokenizer.decode([i]).strip() and i not in special for i in ids]
    mask = [0] + list(mask[1:])
    for i in range(1, len(ids)):
        before = i - 1
        while blank[before] and before > 0:
            before -= 1
        if mask[i] and blank[i] and (not any(mask[before:i]) or ids[before] in special):
            mask[i] = 0
    return mask


def common(a, b):
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


def without_request(tokenizer, messages, extra, ids, mask):
    """Without what the template had already written when it asked for the answer."""
    mask = list(mask)
    for i, m in enumerate(messages):
        if m["role"] != "assistant" or i == 0:
            continue
        before, asked = whole(tokenizer, messages[:i], extra)[0], whole(tokenizer, messages[:i], extra, add_generation_prompt=True)[0]
        if isinstance(before, list) and isinstance(asked, list):
            for k in range(common(before, ids), common(asked, ids)):
                mask[k] = 0
    return mask


class Comparison:
    def __init__(self, scratch):
        self.scratch, self.jobs, self.lines = scratch, [], []
        self.counts = {"same": 0, "both refuse": 0, "we refuse": 0, "differences": 0, "white space": 0, "known": 0, "joined": 0}

    def add(self, what, want, **job):
        self.jobs.append((what, want))
        self.lines.append(json.dumps({"now": NOW, **job}))

    def save(self, tokenizer, name, source):
        path = os.path.join(self.scratch, name)
        tokenizer.chat_template = source
        tokenizer.save_pretrained(path)
        return path


def show(tokenizer, ids, mask, at):
    first = max(0, at - 12)
    return "...".join(["", "|".join(tokenizer.decode([i]) if not m else "[[" + tokenizer.decode([i]) + "]]" for i, m in list(zip(ids, mask))[first:at + 12]), ""])


def cases(c, name, kind, make):
    source = open(os.path.join(folder, name + ".jinja"), newline="").read()
    blocks = "generation %}" in source or "generation -%}" in source
    twin = os.path.join(folder, name + "_training.jinja")
    tokenizer = make(source)
    path = c.save(tokenizer, f"{name}-{kind}", source)
    special = set(tokenizer.all_special_ids) | {i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    other = None
    if not blocks and os.path.exists(twin):
        other = make(source)
        other.chat_template = open(twin, newline="").read()
    for chat, messages in CHATS.items():
        for tools in (None, TOOLS):
            extra = {"tools": tools} if tools else {}
            record = {"messages": messages, **extra}
            what = (name, kind, chat, bool(tools), tokenizer, special)
            if blocks:
                ids, mask = whole(tokenizer, messages, extra, return_assistant_tokens_mask=True)
                c.add(what, (ids, mask, False), folder=path, train_on="assistant", record=record)
            elif other and chat != "first":  # what has asked for it is not told by a prompt
                ids, _ = whole(tokenizer, messages, extra)
                theirs, mask = whole(other, messages, extra, return_assistant_tokens_mask=True)
                if theirs == ids and isinstance(ids, list) and mask:
                    mask = without_request(tokenizer, messages, extra, ids, mask)
                c.add(what, (ids, mask if theirs == ids else None, True), folder=path, train_on="assistant", record=record)
            if messages[-1]["role"] == "assistant" and len(messages) > 1:
                ids, _ = whole(tokenizer, messages, extra)
                prompt, _ = whole(tokenizer, messages[:-1], extra, add_generation_prompt=True)
                mask = None
                if isinstance(ids, list) and isinstance(prompt, list):
                    border = common(prompt, ids)
                    mask = [0] * border + [1] * (len(ids) - border)
                both = ids if mask or isinstance(ids, str) else prompt
                c.add((name, kind, chat + ", prompt", bool(tools), tokenizer, special), (both, mask, False), folder=path,
                      record={"prompt": messages[:-1], "completion": messages[-1:], **extra})


def compare(c, what, want, got):
    name, kind, chat, tools, tokenizer, special = what
    ids, mask, trimmed = want
    title = f"{name} ({kind}), {chat}{', tools' if tools else ''}"
    if got.get("parts_joined"):
        c.counts["joined"] += 1
        return
    if isinstance(ids, str) and "error" in got:
        c.counts["both refuse"] += 1
        return
    if "error" in got:
        c.counts["we refuse"] += 1
        print(f"refused {title}: {got['error']}")
        return
    mask, ours = mask and [0] + list(mask[1:]), got["targets"]
    if got["ids"] == ids and (mask is None or ours == mask):
        c.counts["same"] += 1
        return
    if got["ids"] == ids and trimmed and trim(tokenizer, ids, ours, special) == trim(tokenizer, ids, mask, special):
        c.counts["white space"] += 1
        return
    known = KNOWN.get(name, "").split(":")[0]
    c.counts["known" if known and chat.startswith(known) else "differences"] += 1
    print(f"different {title}:")
    if isinstance(ids, str):
        print(f"  theirs {ids!r}\n  ours   {tokenizer.decode(got['ids'])!r}")
        return
    theirs = (ids, mask or [0] * len(ids))
    at = next((i for i, (a, b) in enumerate(zip(zip(*theirs), zip(got["ids"], ours))) if a != b), 0)
    print(f"  theirs {show(tokenizer, *theirs, at)!r}\n  ours   {show(tokenizer, got['ids'], ours, at)!r}")


def main():
    with tempfile.TemporaryDirectory() as scratch:
        c = Comparison(scratch)
        for name in NAMES:
            for kind, make in (("bytes", byte_level), ("pieces", pieces)):
                cases(c, name, kind, make)
        out = subprocess.run([sys.argv[1]], input="\n".join(c.lines) + "\n", stdout=subprocess.PIPE, text=True, check=True).stdout.split("\n")[:-1]
        for (what, want), line in zip(c.jobs, out):
            compare(c, what, want, json.loads(line))
    print(f"{len(NAMES)} templates, {len(c.jobs)} conversations:", ", ".join(f"{n} {k}" for k, n in c.counts.items()))
    return 1 if c.counts["differences"] or max(c.counts["we refuse"], c.counts["white space"]) * 100 > len(c.jobs) or len(out) != len(c.jobs) else 0


sys.exit(main())
