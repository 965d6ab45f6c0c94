"""Golden files of the tokenizers: what Hugging Face tokenizers makes of odd strings.

Writes data/tokenizer/: small vocabularies trained here in the shape of each family, one folder each with the
ids of strings.json (expected.json); regex.json, matches of its regular expressions (Oniguruma); parts.json,
single normalizers, pre-tokenizers and decoders; folders.json, what transformers reads from the files beside
tokenizer.json.

    venv/bin/pip install tokenizers==0.23.3 transformers==5.23.0
    venv/bin/python tests/golden/tokenizer.py
"""
import json
import os
import random
import shutil
import tempfile
import unicodedata

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import tokenizers
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "tokenizer")
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?"
          r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
          r"|\s+(?!\S)|\s")
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
DEEPSEEK = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPACES = [0x9, 0xA, 0xB, 0xC, 0xD, 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]

TRAINING = [
    "The quick brown fox jumps over the lazy dog, and the dog doesn't mind: it's asleep.", "Was ist das? Ein Fuchs über dem Zaun.",
    "How many apples are left?\nThere are 3 + 4 = 7 apples left.\n#### 7", "She had 1234567 reasons; he'd 89.5%.",
    "def add(a, b):\n    return a + b\n\n\nprint(add(1, 2))\t# three", "L'élève a mangé une pêche à l'été.", "她说：你好，世界。",
    "Привет, мир! Как дела?", "한국어 문장입니다.", "نص عربي قصير", "emoji 😀👍🏽 and e\u0301 accents", "<b>bold</b> &amp; {json: [1, 2]}",
] * 3


def random_string(r, added):
    def piece():
        k = r.random()
        if k < 0.2:
            return chr(r.choice(SPACES)) * r.choice([1, 1, 1, 2, 5])
        if k < 0.45:
            return r.choice(["the", " dog", "'s", "'S", "'\u017F", "It's", " 12345", "über", "x_y", "foo.bar", "ABC", "Abc", "你好", "\r\n"])
        if k < 0.6:
            return r.choice(added)
        if k < 0.8:
            return chr(r.randint(0, 0x3FF))
        c = chr(r.choice([r.randint(0x400, 0x2FFF), r.randint(0x3000, 0xD7FF), r.randint(0xE000, 0xFFFF), r.randint(0x10000, 0x10FFFF)]))
        # Characters younger than this Python's tables (Unicode 14) depend on the age of libraries.
        return c if unicodedata.category(c) != "Cn" else " "
    return "".join(piece() for _ in range(r.randint(1, 12)))


ADDED = ["<s>", "</s>", "<unk>", "<|eot|>", "<think>", "<pad>", " <mask>", "<L>", "<R>", "<LR>", "wörd", "  ", "    ", "<s", "</think>"]


def make_strings():
    r = random.Random(1)
    fixed = ["", " ", "a", "Hello, world!", "  two  spaces  ", "\n\n\nx", "▁", "▁▁ a▁b ▁", " ▁", "\u0000\u0001", "it's IT'S it'\u017F",
             "1" * 50, "a" * 60, " " * 70 + "x", "\t" * 10, "e\u0301 \u00e9 e\u0323\u0307 \u1E69", "\u1100\u1161\u11a8 각", "ﬁ ① ² Å Ⅷ",
             "👨‍👩‍👧‍👦 🏳️‍🌈", "".join(map(chr, SPACES)), "x".join(map(chr, SPACES)), "\u180e \u200b \ufeff", "a <s> b", "<s><s>", "a  </s>\t\n b",
             "x <L> y <R> z <LR> w", "<R>  <L>", "<L> <L>  <R>", "wörd swörd wörds wörd. _wörd \u200dwörd wörd\u0301 wörd1", "<think>  x </think>",
             " <mask> x", "  <mask>", "a" + " " * 9 + "b", "don't won't I'll", "ŉ ŉs", "\u0149's", "İSTANBUL ẞ Σς", "\U00010348 \U0010FFFF"]
    return fixed + [random_string(r, ADDED) for _ in range(110)]


def byte_level(regex=None, normalizer=None, vocab=600, ignore_merges=False, legacy=False, prefix_space=False):
    t = Tokenizer(models.BPE())
    t.normalizer = normalizer
    last = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space, use_regex=regex is None)
    t.pre_tokenizer = last if regex is None else pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated"), last])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(TRAINING, trainers.BpeTrainer(vocab_size=vocab, show_progress=False,
                                                        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return t


def sentencepiece(byte_fallback=True, unk="<unk>", vocab=600):
    alphabet = [f"<0x{i:02X}>" for i in range(256)] if byte_fallback else []
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=byte_fallback))
    t.normalizer = normalizers.Replace(" ", "▁")
    t.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    t.train_from_iterator(TRAINING, trainers.BpeTrainer(vocab_size=vocab, show_progress=False, initial_alphabet=["▁"],
                                                        special_tokens=["<unk>", "<s>", "</s>"] + alphabet))
    model = json.loads(t.to_str())["model"]
    # Runs of the marker merge last, as in sentencepiece's user-defined pieces.
    for n in (2, 4):
        model["vocab"]["▁" * n] = len(model["vocab"])
        model["merges"].append(["▁" * (n // 2)] * 2)
    t = Tokenizer(models.BPE(model["vocab"], [tuple(m) for m in model["merges"]], unk_token=unk, fuse_unk=True, byte_fallback=byte_fallback))
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B:1", special_tokens=[("<s>", 1)])
    t.add_special_tokens([AddedToken(x, normalized=False) for x in ("<unk>", "<s>", "</s>")])
    return t


def special(t, *texts, **flags):
    t.add_special_tokens([AddedToken(x, normalized=False, special=True, **flags) for x in texts])


def bos_template(t, bos):
    return processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos} $B:1", special_tokens=[(bos, t.token_to_id(bos))])


def gpt2():
    t = byte_level()
    special(t, "<|eot|>")
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    return t, {"eos_token": "<|eot|>", "add_prefix_space": False}


def opt():
    t = byte_level(prefix_space=True)
    special(t, "<s>", "</s>", "<pad>")
    special(t, " <mask>", lstrip=True)
    t.post_processor = processors.RobertaProcessing(("</s>", t.token_to_id("</s>")), ("<s>", t.token_to_id("<s>")), trim_offsets=False)
    return t, {"bos_token": "<s>", "eos_token": {"content": "</s>", "__type": "AddedToken", "normalized": False}}


def llama3():
    t = byte_level(LLAMA3, vocab=700)
    model = json.loads(t.to_str())["model"]
    t.model = models.BPE(model["vocab"], [tuple(m) for m in model["merges"]], ignore_merges=True)
    special(t, "<s>", "<|eot|>")
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), bos_template(t, "<s>")])
    return t, {"bos_token": "<s>", "eos_token": "<|eot|>"}


def qwen2():
    t = byte_level(QWEN2, normalizers.NFC())
    special(t, "<|eot|>", "<pad>")
    t.add_tokens([AddedToken("<think>", normalized=False, special=False), AddedToken("</think>", normalized=True, special=False)])
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    return t, {"eos_token": "<|eot|>", "pad_token": "<pad>", "bos_token": None}


def neox():
    t = byte_level(normalizer=normalizers.NFC())
    special(t, "<|eot|>")
    special(t, "<L>", lstrip=True)
    special(t, "<R>", rstrip=True)
    special(t, "<LR>", lstrip=True, rstrip=True)
    t.add_tokens([AddedToken("  ", normalized=True), AddedToken("    ", normalized=True), AddedToken("wörd", single_word=True, normalized=True),
                  AddedToken("<s", normalized=False)])
    return t, {"eos_token": "<|eot|>"}


def tekken():
    t = byte_level(TEKKEN, vocab=700)
    model = json.loads(t.to_str())["model"]
    t.model = models.BPE(model["vocab"], [tuple(m) for m in model["merges"]], ignore_merges=True)
    special(t, "<s>", "</s>", "<unk>")
    t.post_processor = bos_template(t, "<s>")
    return t, {"bos_token": "<s>", "eos_token": "</s>"}


def llama2():
    t = sentencepiece()
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.add_tokens([AddedToken("<pad>", normalized=True), AddedToken("<R>", rstrip=True, normalized=True)])
    return t, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def mistral():
    t = sentencepiece(unk=None)
    t.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    return t, {"bos_token": "<s>", "eos_token": "</s>"}


def gemma():
    t = sentencepiece(byte_fallback=False)
    t.normalizer = normalizers.Replace(" ", "▁")
    t.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return t, {"bos_token": "<s>", "eos_token": "</s>"}


def word_parts():
    """Prefix, suffix, gaps in the ids, and a merge that joins across a marker."""
    vocab = {"<unk>": 0, "a": 3, "b": 4, "##a": 5, "##b": 6, "##b</w>": 7, "a</w>": 8, "ab</w>": 9, "##ab": 12, "aab": 13, "##a</w>": 14,
             "▁": 15, "##▁": 16, "a▁": 17, "aba": 18}
    merges = [("a", "##b</w>"), ("##a", "##b"), ("a", "##ab"), ("a", "##▁")]
    t = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", continuing_subword_prefix="##", end_of_word_suffix="</w>"))
    t.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    t.decoder = decoders.BPEDecoder("</w>")
    t.add_tokens(["<think>", "zz"])
    return t, {"eos_token": "<think>"}


FAMILIES = [gpt2, opt, llama3, qwen2, neox, tekken, llama2, mistral, gemma, word_parts]


def legacy_merges(path):
    """Merges as older files have them: "a b"."""
    with open(path, encoding="utf-8") as f:
        document = json.load(f)
    document["model"]["merges"] = [" ".join(m) for m in document["model"]["merges"]]
    del document["model"]["ignore_merges"]
    dump(document, path)


def dump(value, path):
    with open(path, "w", encoding="utf-8", newline="\n") as f:
        json.dump(value, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")


def clusters(s):
    """Characters with the marks and the later parts of Korean syllables behind them: what composes."""
    start = 0
    for i in range(1, len(s) + 1):
        if i < len(s) and (unicodedata.category(s[i])[0] == "M" or 0x1160 <= ord(s[i]) <= 0x11FF):
            continue
        yield start, i
        start = i


def byte_ranges(s, offsets, normal_form):
    """Offsets in bytes. A composed character has all that it was composed of; Hugging Face names only the first of that."""
    at = [0]
    for c in s:
        at.append(at[-1] + len(c.encode()))
    whole = {}
    for a, b in clusters(s) if normal_form else ():
        normal = unicodedata.normalize(normal_form, s[a:b])
        while a < b and normal and normal[0] == s[a]:
            normal, a = normal[1:], a + 1
        if a < b:
            whole.update({i: (a, b) for i in range(a, b)})
    wide = [(min(a, whole.get(a, (a, b))[0]), max(b, whole.get(b - 1, (a, b))[1])) if a < b else (a, b) for a, b in offsets]
    return [at[i] for pair in wide for i in pair]


def write_family(make, strings):
    tokenizer, config = make()
    folder = os.path.join(HERE, make.__name__.replace("_", "-"))
    os.makedirs(folder)
    path = os.path.join(folder, "tokenizer.json")
    tokenizer.save(path, pretty=False)
    if make in (gpt2, llama2):
        legacy_merges(path)
    dump(config, os.path.join(folder, "tokenizer_config.json"))
    t = Tokenizer.from_file(path)
    own = [c for c in strings if make is not word_parts] + (["ab aab b a▁ aa zz abzz bbb xx abab"] if make is word_parts else [])
    ids = [t.encode(s, add_special_tokens=False).ids for s in own]
    some = own[::4] if make is not word_parts else []
    form = "NFC" if "NFC" in json.dumps(json.loads(t.to_str())["normalizer"]) else None
    ranges = [byte_ranges(s, t.encode(s, add_special_tokens=False).offsets, form) for s in some]
    r = random.Random(2)
    loose = [[r.randrange(t.get_vocab_size()) for _ in range(r.randint(0, 12))] for _ in range(40)]
    dump({"tokenizers": tokenizers.__version__, "strings": None if make is not word_parts else own, "ids": ids, "ranges": ranges,
          "with_special": [t.encode(s).ids for s in own[:8]], "text": [t.decode(i, skip_special_tokens=False) for i in ids],
          "loose_ids": loose, "loose_text": [t.decode(i, skip_special_tokens=False) for i in loose],
          "loose_skipped": [t.decode(i) for i in loose]}, os.path.join(folder, "expected.json"))


REGEXES = [GPT2, LLAMA3, QWEN2, TEKKEN, CL100K, BLOOM, DEEPSEEK, r"\s+", r"\S+", r"\w+", r"[\w]+", r"\W+", r"[^\W\d]+", r"\d{2,}", r"\h+", r"\H+",
           r"[\h\s]+", r"[^\S\n]+", r"[[:alpha:]]+", r"[[:^space:][:digit:]]+", r"[[:punct:]]", r"[a-z&&[^aeiou]]+", r"[^a-z&&[^0-9]]+",
           r"[\p{L}&&\p{ASCII}]+", r"[a[bc]d]+", r"[^a[^b-z]]+", r"a{2}+", r"a{1,2}+b", r"a{,2}", r"a{2}?", r"a{1,3}?", r"a**", r"(?:ab)+?c", r"a++b",
           r"x(?i)ab|c", r"(x(?i)ab|c)d", r"(?i:st|k)", r"(?m:a.b)", r"a.b", r"^\w", r"\w$", r"\A\w|\w\z", r"\bthe\b", r"\B\w", r"(?=\p{Lu})", r"x*",
           r"\u0041|\x{42}|\x43", r"\v", r"[\t-\r]", r"\p{^L}+", r"\P{L}+", r"\p{Han}+", r"[\p{Hiragana}\p{Greek}\p{Latin}]+", r"\p{^Latin}+", r"\p{Letter}+|\p{uppercase letter}|\p{Punctuation}|\p{Alpha}", r"\R", r"[]a]+", r"[\]\[]+", r"[a\-z]+", r"[\s-]+", r"[+--]+",
           r"(?<x>a)\k<x>", r"(?<=a)b", r"(?<!a)b", r"\{|\}", r"{", r"a|", r"[\u4e00-\u9fa5]+", r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))", r"(?#note)a", r"\O"]
REGEX_TEXTS = ["The quick brown fox's 12345 jumps\n\n over\tit  'S \u00b2\u00bd\u0300x", "aaabacab aab aba ab c xABd xabcd cd xcd ABC", "a\nb sT K\u212a k ſ Straße",
               "你好 world、hi。 (a|b), c! [x] {y} a-b - +,", "", "a" * 7 + "b" * 3, "ABC abc\u00a0\u180e\u200b\u2028end deadbeef 0xFF", "1234567 ٣٤ the\nThe the", "\r\n\x0b\x0c\x85x", "ひらがな、カタカナー ΑΒγ Latin\u0301 ʼ"]


def offsets(regex, text):
    split = pre_tokenizers.Split(Regex(regex), "removed", invert=True)
    return [list(o) for _, o in split.pre_tokenize_str(text)]


PARTS = [
    {"normalizer": {"type": "NFC"}}, {"normalizer": {"type": "NFD"}}, {"normalizer": {"type": "NFKC"}}, {"normalizer": {"type": "NFKD"}},
    {"normalizer": {"type": "Lowercase"}}, {"normalizer": {"type": "StripAccents"}}, {"normalizer": {"type": "ByteLevel"}},
    {"normalizer": {"type": "Strip", "strip_left": True, "strip_right": False}}, {"normalizer": {"type": "Strip", "strip_left": True, "strip_right": True}},
    {"normalizer": {"type": "Prepend", "prepend": "▁"}}, {"normalizer": {"type": "Replace", "pattern": {"String": "  "}, "content": "__"}},
    {"normalizer": {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}}, {"normalizer": {"type": "Replace", "pattern": {"Regex": r"x*"}, "content": "-"}},
    {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}, {"type": "Sequence", "normalizers": [{"type": "Lowercase"}]}]}},
    *[{"pre_tokenizer": {"type": "Split", "pattern": p, "behavior": b, "invert": i}} for p in ({"String": " "}, {"Regex": r"\w+|[^\w\s]+"}, {"Regex": "(?=[A-Z])"})
      for b in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous") for i in (False, True)],
    *[{"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": s, "split": c}} for s in ("first", "always", "never") for c in (False, True)],
    {"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}},
    {"pre_tokenizer": {"type": "Digits", "individual_digits": True}}, {"pre_tokenizer": {"type": "Digits", "individual_digits": False}},
    {"pre_tokenizer": {"type": "Punctuation", "behavior": "Isolated"}}, {"pre_tokenizer": {"type": "Punctuation", "behavior": "Contiguous"}}, {"pre_tokenizer": {"type": "Punctuation"}},
    {"pre_tokenizer": {"type": "Whitespace"}}, {"pre_tokenizer": {"type": "WhitespaceSplit"}}, {"pre_tokenizer": {"type": "BertPreTokenizer"}},
    {"pre_tokenizer": {"type": "CharDelimiterSplit", "delimiter": "a"}}, {"pre_tokenizer": {"type": "FixedLength", "length": 3}},
    *[{"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": a, "trim_offsets": True, "use_regex": r}} for a in (False, True) for r in (False, True)],
    {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": r"\p{N}{1,3}"}, "behavior": "Isolated", "invert": False},
                                                             {"type": "Split", "pattern": {"Regex": "[一-龥぀-ゟ゠-ヿ]+"}, "behavior": "Isolated", "invert": False},
                                                             {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}},
    {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}]}},
]
PART_TEXTS = ["", " Hello  World ", "x The 1st--2nd (third) ÀÉ ﬁ² İ Σ!", "a\u0301\u0328 \u1e9b\u0323 각 각", "▁ ▁▁a ▁", "\t\n x\u3000\u00a0", "1234567 ٣½ Ⅷ",
              "你好、world…「quote」 a_b ¿$+<", "The-final--countdown", "HTTPServerError x", "\u0000é"]


def part_results(part):
    base = {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None,
            "model": {"type": "BPE", "vocab": {}, "merges": []}}
    t = Tokenizer.from_str(json.dumps({**base, **part}))
    if "normalizer" in part:
        return [t.normalizer.normalize_str(s) for s in PART_TEXTS]
    return [[p for p, _ in t.pre_tokenizer.pre_tokenize_str(s)] for s in PART_TEXTS]


# What lies beside llama2's tokenizer.json, file by file.
TOKEN = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
FOLDERS = [
    {}, {"tokenizer_config.json": {"bos_token": "<s>", "eos_token": "</s>"}},
    {"tokenizer_config.json": {"bos_token": "<s>", "eos_token": {**TOKEN, "__type": "AddedToken", "content": "</s>"}, "pad_token": "<mask>"}},
    {"tokenizer_config.json": {"eos_token": "</s>"}, "special_tokens_map.json": {"eos_token": "<s>", "pad_token": {**TOKEN, "content": "<mask>", "rstrip": True}}},
    {"tokenizer_config.json": {"eos_token": "</s>", "added_tokens_decoder": {
        "2": {**TOKEN, "content": "</s>", "lstrip": True, "special": True}, "700": {**TOKEN, "content": "<mask>", "special": False},
        "699": {**TOKEN, "content": "<mask2>", "special": True, "single_word": True}}}, "special_tokens_map.json": {"eos_token": "<s>"}},
    {"tokenizer_config.json": {"eos_token": "</s>", "additional_special_tokens": ["<a>", "<b>"], "image_token": "<image>", "model_max_length": 5}},
    {"tokenizer_config.json": {"eos_token": "</s>", "extra_special_tokens": {"image_token": "<image>"}, "unk_token": "fox"}},
]
FOLDER_TEXTS = ["x <mask> y <mask2>", "a </s> b<s>c", "<a><b> <image>z", "the fox <pad> <R>  x"]


def folder_results(files):
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(os.path.join(HERE, "llama2", "tokenizer.json"), folder)
        for name, content in files.items():
            content = {**content, "tokenizer_class": "PreTrainedTokenizerFast"} if name == "tokenizer_config.json" else content
            dump(content, os.path.join(folder, name))
        t = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
        return {"files": files, "ids": [t(s)["input_ids"] for s in FOLDER_TEXTS], "eos": t.eos_token, "eos_id": t.eos_token_id, "bos_id": t.bos_token_id}


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    os.makedirs(HERE)
    strings = make_strings()
    dump(strings, os.path.join(HERE, "strings.json"))
    for make in FAMILIES:
        write_family(make, strings)
    dump({"tokenizers": tokenizers.__version__, "texts": REGEX_TEXTS, "cases": [{"regex": x, "matches": [offsets(x, s) for s in REGEX_TEXTS]} for x in REGEXES]},
         os.path.join(HERE, "regex.json"))
    dump({"tokenizers": tokenizers.__version__, "texts": PART_TEXTS, "cases": [{"part": p, "results": part_results(p)} for p in PARTS]}, os.path.join(HERE, "parts.json"))
    dump({"transformers": transformers.__version__, "texts": FOLDER_TEXTS, "cases": [folder_results(f) for f in FOLDERS]}, os.path.join(HERE, "folders.json"))


if __name__ == "__main__":
    main()
