"""Golden files of sentencepiece models: what the package sentencepiece makes of odd strings.

Writes data/sentencepiece/NAME/: a small tokenizer.model of type BPE trained here, and expected.json: ids and, without the
model's additional space, bytes that pieces came from (where sentencepiece places them soundly).

    venv/bin/pip install sentencepiece==0.2.3 protobuf tokenizers==0.23.3 transformers==5.23.0
    venv/bin/python tests/golden/pieces.py
"""
import io
import json
import os
import random
import shutil
import tempfile

import sentencepiece as spm
import tokenizer as other
from sentencepiece import sentencepiece_model_pb2

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "sentencepiece")
RULES = [("\ufb01", "fi"), ("\u2460", "1"), ("\u00a0", " "), ("\u3000", " "), ("A", "a"), ("AB", "x"), ("e\u0301", "\u00e9"), ("\u00ad", "")]
ADDED = ["<think>", "  ", "w\u00f6rd", "foo bar", "ab", "bc", "abc", " ", "\u2581", "\u2581\u2581", "\ufb01", "\u2460", "AB", "A", "e\u0301", "\u00ad", "\u3000"]
FAMILIES = {
    "plain": {},
    "rules": {"byte_fallback": False, "remove_extra_whitespaces": True, "control_symbols": ["<|im|>"]},
    "user": {"user_defined_symbols": ["<think>", "  ", "    ", "\n", "w\u00f6rd", "ab", "bc"], "add_dummy_prefix": False,
             "allow_whitespace_only_pieces": True, "split_digits": True},
    "crossing": {"split_by_whitespace": False, "treat_whitespace_as_suffix": True, "byte_fallback": False},
}


def train(name, options):
    texts = [t.replace("\n", " ") for t in other.TRAINING]
    model = io.BytesIO()
    arguments = {"model_type": "bpe", "vocab_size": 460, "byte_fallback": True, "character_coverage": 1.0, "normalization_rule_name": "identity",
                 "remove_extra_whitespaces": False, "minloglevel": 2, **options}
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as rules:
        if name == "rules":
            for source, target in RULES:
                rules.write(" ".join(f"{ord(c):X}" for c in source) + "\t" + " ".join(f"{ord(c):X}" for c in target) + "\n")
            rules.flush()
            arguments["normalization_rule_tsv"] = rules.name
        spm.SentencePieceTrainer.train(sentence_iterator=iter(texts), model_writer=model, **arguments)
    return model.getvalue()


def strings():
    r = random.Random(5)
    made = other.make_strings()[:60] + [other.random_string(r, ADDED) for _ in range(100)]
    return [s for s in made if not any(x in s for x in ("<s>", "</s>", "<unk>", "<|im|>"))]


def ranges(sp, s):
    """[from, to] of each piece, or null for byte pieces and the additional space."""
    pieces = sp.encode(s, return_type="proto").pieces
    return [[p.begin, p.end] if p.begin < p.end and not p.piece.startswith("<0x") else None for p in pieces]


def stretches(sp, bare, every):
    """A text with control pieces in it, as transformers cuts it: each stretch on its own."""
    sides = ["The dog", " x", "fox ", ""]
    text = sides[0] + "<s>" + sides[1] + "</s>" + sides[2] + "<unk>" + sides[3]
    ids = []
    for i, side in enumerate(sides):
        ids += (sp if every or i == 0 else bare).encode(side)
        ids += [[1, 2, 0][i]] if i < 3 else []
    return {"text": text, "ids": ids}


def without_prefix(model):
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    proto.normalizer_spec.add_dummy_prefix = False
    return proto.SerializeToString()


def write(name, options):
    folder = os.path.join(HERE, name)
    os.makedirs(folder)
    model = train(name, options)
    with open(os.path.join(folder, "tokenizer.model"), "wb") as f:
        f.write(model)
    sp = spm.SentencePieceProcessor(model_proto=model)
    bare = spm.SentencePieceProcessor(model_proto=without_prefix(model))
    made = strings()
    other.dump({"sentencepiece": spm.__version__, "strings": made, "ids": [sp.encode(s) for s in made],
                "ranges": [ranges(sp, s) for s in made[::4]] if name == "plain" else [],
                "first": stretches(sp, bare, False), "legacy": stretches(sp, bare, True),
                "bare": [bare.encode(s) for s in made[:20]]}, os.path.join(folder, "expected.json"))


if __name__ == "__main__":
    shutil.rmtree(HERE, ignore_errors=True)
    for name, options in FAMILIES.items():
        write(name, options)
