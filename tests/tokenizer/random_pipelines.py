"""Tokenizers of parts put together at random, against Hugging Face tokenizers, id for id.

    random_pipelines.py ENCODE_LINES [PIPELINES [SEED]]

Left out is what Hugging Face itself makes no sense of: added tokens whose normalised text is empty, replacements of empty
matches, and Metaspace's "first" behind normalizers that make several characters of the first one. Where it panics, nothing is
compared. Prints how many strings differed; 1 if any did.
"""
import json
import os
import random
import sys
import tempfile

sys.dont_write_bytecode = True
import tokenizers_of_families as families  # noqa: E402
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers  # noqa: E402

golden = families.golden
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
REGEXES = [golden.GPT2, golden.LLAMA3, families.O200K, families.KIMI, golden.CL100K, r"\s+", r"\w+|[^\w\s]+", r"\p{N}{1,3}", "[a-z]+", r"\d", r" ?\p{L}+",
           "'s|'t", r"[\r\n]+", r"\S+\s*"]
EMPTY = ["(?=[A-Z])", r"\b", "x*"]  # match nothing


def pattern(r, regexes):
    if r.random() < 0.7:
        return {"Regex": r.choice(regexes)}
    return {"String": r.choice([" ", "▁", "the", "  ", "e", "\n", "<"])}


def normalizer(r):
    flip = r.random() < 0.5
    return r.choice([{"type": "NFC"}, {"type": "NFD"}, {"type": "NFKC"}, {"type": "NFKD"}, {"type": "Lowercase"}, {"type": "StripAccents"},
                     {"type": "Strip", "strip_left": flip, "strip_right": not flip}, {"type": "Prepend", "prepend": r.choice(["▁", " ", "ab"])},
                     {"type": "Replace", "pattern": pattern(r, REGEXES), "content": r.choice(["▁", " ", "", "xy", "é"])}, families.replace(" ", "▁")])


def pre_tokenizer(r, schemes):
    split = {"type": "Split", "pattern": pattern(r, REGEXES + EMPTY), "behavior": r.choice(BEHAVIORS), "invert": r.random() < 0.3}
    return r.choice([split, split, {"type": "Digits", "individual_digits": r.random() < 0.5}, {"type": "Punctuation", "behavior": r.choice(BEHAVIORS)},
                     families.metaspace(r.choice(schemes), r.random() < 0.5), {"type": "Whitespace"}, {"type": "WhitespaceSplit"}, {"type": "BertPreTokenizer"},
                     {"type": "CharDelimiterSplit", "delimiter": r.choice(" e,▁")}, {"type": "FixedLength", "length": r.randint(1, 9)}])


def options(r, bytes_last):
    chosen = {"fuse_unk": r.random() < 0.5, "unk_token": None if r.random() < 0.4 else "<unk>", "ignore_merges": r.random() < 0.3,
              "byte_fallback": not bytes_last and r.random() < 0.5}
    if r.random() < 0.1:
        chosen["continuing_subword_prefix"] = "##"
    if r.random() < 0.1:
        chosen["end_of_word_suffix"] = "</w>"
    return chosen


def added(r, normalizers):
    plain = not any(n["type"] in ("Strip", "Replace", "StripAccents") for n in normalizers)
    more = [AddedToken(x) for x in ("  ", "é", "the", "\n", "A")]
    for token in families.FLAGS + more:
        if r.random() < 0.7:
            yield AddedToken(token.content, single_word=r.random() < 0.2, lstrip=r.random() < 0.2, rstrip=r.random() < 0.2,
                             normalized=plain and r.random() < 0.5, special=r.random() < 0.3)


def make(r):
    bytes_last = r.random() < 0.6
    normalizers = [normalizer(r) for _ in range(r.choice([0, 0, 1, 1, 2, 3]))]
    schemes = ["always", "never"] + ([] if normalizers else ["first"])
    parts = [pre_tokenizer(r, schemes) for _ in range(r.choice([0, 0, 1, 1, 2, 3]))]
    if bytes_last:
        parts.append(families.byte_level(r.random() < 0.5, r.random() < 0.3))
    chosen = options(r, bytes_last)
    entry = (families.normal(*normalizers) if normalizers else None, families.steps(*parts) if parts else None, chosen)
    names = {k: chosen[k] for k in ("continuing_subword_prefix", "end_of_word_suffix") if k in chosen}
    t = Tokenizer(models.BPE(unk_token=chosen["unk_token"], **names))
    document = json.loads(t.to_str())
    document.update(normalizer=entry[0], pre_tokenizer=entry[1])
    t = Tokenizer.from_str(json.dumps(document))
    first = ["<unk>"] + ([f"<0x{i:02X}>" for i in range(256)] if chosen["byte_fallback"] else [])
    alphabet = pre_tokenizers.ByteLevel.alphabet() if bytes_last and r.random() < 0.8 else []
    texts = [x.replace("\0", " ") for x in golden.TRAINING + families.PIECES * 2]
    t.train_from_iterator(texts, trainers.BpeTrainer(show_progress=False, special_tokens=first, vocab_size=r.choice([300, 600, 1000]), initial_alphabet=alphabet, **names))
    document = json.loads(t.to_str())
    document["model"].update(chosen)
    document["added_tokens"] = document["added_tokens"][:1]
    t = Tokenizer.from_str(json.dumps(document))
    t.add_tokens(list(added(r, normalizers)))
    return t, entry


def attempt(action):
    """The panics of a library in Rust are no Exceptions."""
    try:
        return action()
    except KeyboardInterrupt:
        raise
    except BaseException:  # pylint: disable=broad-exception-caught
        return None


def compare(program, t, entry, texts):
    with tempfile.TemporaryDirectory() as folder:
        t.save(os.path.join(folder, "tokenizer.json"))
        ours = families.encode(program, folder, texts)
    wrong = 0
    for text, mine in zip(texts, ours):
        theirs = attempt(lambda s=text: t.encode(s, add_special_tokens=False).ids)
        if theirs is None or mine.get("ids") == theirs:
            continue
        wrong += 1
        if wrong == 1:
            print(f"{json.dumps(entry, ensure_ascii=False)}: {text!r}: {mine}, expected {theirs}", flush=True)
    return wrong


def main():
    program = sys.argv[1]
    count, seed = (int(sys.argv[i]) if len(sys.argv) > i else x for i, x in ((2, 150), (3, 1)))
    r = random.Random(seed)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # panics are many and long
    wrong = strings = pipelines = 0
    for i in range(count):
        made = attempt(lambda: make(r))
        if made is None:
            continue
        texts = list(families.strings(120, seed * 100000 + i))
        wrong += compare(program, *made, texts)
        strings += len(texts)
        pipelines += 1
    print(f"{pipelines} pipelines, {strings} strings, other ids in {wrong}")
    sys.exit(wrong > 0 or pipelines < count // 2)


if __name__ == "__main__":
    main()
