"""Golden files of the data side: what TRL's SFTTrainer makes of records, and how it packs.

Writes data/data/: two small tokenizers trained here (byte-level without bos; sentencepiece-style with
bos), files of records in every format, and expected.json with the input_ids and labels of each record as the
trainer's own prepared data set has them. Alpaca and question/answer records are rendered here by the rule in
worker/data/record/record.h, and go through TRL as prompt and completion.

    venv/bin/pip install torch==2.15.0 transformers==5.23.0 trl==1.16.0 tokenizers==0.23.3
    venv/bin/python tests/golden/data.py
"""
import json
import os
import random
import shutil
import sys
import tempfile

sys.path.append(sys.path.pop(0))  # this folder last: it has a file of the same name as the package peft

os.environ["CUDA_VISIBLE_DEVICES"] = ""
import datasets
import pyarrow as pa
import tokenizers
import torch
import transformers
import trl
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "data")
MAX_LENGTH = {"prompt.jsonl": 48, "question.jsonl": 48, "text.jsonl": 48, "alpaca.json": 150}
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")

TEXTS = ["The quick brown fox jumps over the lazy dog.", "Was ist das? Ein Fuchs über dem Zaun.",
         "How many apples are left?\nThere are 3 + 4 = 7 apples left.\n#### 7", "Below is an instruction that describes a task.",
         "Write a response that appropriately completes the request.\n\n### Instruction:\n", "### Input:\n", "### Response:\n",
         "paired with an input that provides further context", "她说：你好，世界。", "emoji 😀 and e\u0301 accents"]
WITH_INPUT = ("Below is an instruction that describes a task, paired with an input that provides further context. Write a "
              "response that appropriately completes the request.\n\n### Instruction:\n{}\n\n### Input:\n{}\n\n### Response:\n")
WITHOUT_INPUT = ("Below is an instruction that describes a task. Write a response that appropriately completes the "
                 "request.\n\n### Instruction:\n{}\n\n### Response:\n")

PROMPTS = [("The quick ", "brown fox"), ("The quick br", "own fox"), ("What?\n", "\nAn odd start"), ("", "no prompt at all"),
           ("apples", ""), ("The fox ", " two spaces"), ("left?", "</s>"), ("left? ", "7</s>"), ("a </s> in the prompt: ", "x"),
           ("她说", "：你好😀"), ("e", "\u0301 accents"), ("long " * 30, "prompt"), ("short ", "completion " * 40),
           ("x\r\n", "y\u0000z"), (" ", " ")]
QUESTIONS = [("How many apples are left?", "3 + 4 = 7\n#### 7"), ("Why?\n", "Because."), ("", "nothing asked"),
             ("Ends in spaces  ", "  begins with them")]
ALPACAS = [("Say it", "", "It."), ("Translate", "über", "over"), ("No input", None, "fine"), ("Spaces", " ", " ok ")]
TEXT_RECORDS = ["The lazy dog.", "", "</s>", "Ends itself.</s>", "the " * 100, " 😀\n\n\n她", "a</s>b"]


def byte_level():
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tok.train_from_iterator(TEXTS * 3, trainer)
    tok.add_special_tokens([AddedToken("</s>", special=True)])
    return PreTrainedTokenizerFast(tokenizer_object=tok, eos_token="</s>", pad_token="</s>")


def sentencepiece_like():
    # As in real vocabularies, every byte has a token and what the alphabet lacks falls back to them.
    tok = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tok.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=460, special_tokens=special, limit_alphabet=60, show_progress=False)
    tok.train_from_iterator([t for text in TEXTS for t in text.split("\n")] * 3, trainer)
    state = json.loads(tok.to_str())
    state["added_tokens"] = [t for t in state["added_tokens"] if t["content"] in ("<unk>", "<s>", "</s>")]
    tok = Tokenizer.from_str(json.dumps(state))
    tok.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                     decoders.Strip(" ", 1, 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>")


def save(tokenizer, folder):
    path = os.path.join(HERE, folder)
    os.makedirs(path)
    with tempfile.TemporaryDirectory() as all_files:
        tokenizer.save_pretrained(all_files)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            with open(os.path.join(all_files, name), encoding="utf-8") as f:
                content = json.load(f)
            with open(os.path.join(path, name), "w", encoding="utf-8") as f:
                json.dump(content, f, ensure_ascii=False, separators=(",", ":"))


def prepared(tokenizer, columns, completion_only, max_length):
    """The trainer's data set: [{record, input_ids, labels}]; records that it drops are missing."""
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                                         num_attention_heads=1, num_key_value_heads=1))
    data = datasets.Dataset.from_dict({"record": list(range(len(next(iter(columns.values()))))), **columns})
    with tempfile.TemporaryDirectory() as out:
        args = SFTConfig(output_dir=out, max_length=max_length, packing=False, completion_only_loss=completion_only, use_cpu=True,
                         bf16=False, report_to=[], shuffle_dataset=False, remove_unused_columns=False)
        trainer = SFTTrainer(model=model, args=args, train_dataset=data, processing_class=tokenizer)
        return [{key: row[key] for key in ("record", "input_ids", "labels")} for row in trainer.train_dataset]


def write_lines(name, rows):
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_records():
    write_lines("prompt.jsonl", [{"prompt": p, "completion": c} for p, c in PROMPTS])
    write_lines("question.jsonl", [{"question": q, "answer": a} for q, a in QUESTIONS])
    write_lines("text.jsonl", [{"text": t} for t in TEXT_RECORDS])
    with open(os.path.join(HERE, "alpaca.json"), "w", encoding="utf-8") as f:
        json.dump([{"instruction": i, "input": n, "output": o} for i, n, o in ALPACAS], f, indent=1)


def rendered():
    """file -> columns for TRL."""
    pairs = {
        "prompt.jsonl": PROMPTS,
        "question.jsonl": [(q + "\n", a) for q, a in QUESTIONS],
        "alpaca.json": [((WITH_INPUT.format(i, n) if n else WITHOUT_INPUT.format(i)), o) for i, n, o in ALPACAS],
    }
    columns = {name: {"prompt": [p for p, _ in rows], "completion": [c for _, c in rows]} for name, rows in pairs.items()}
    columns["text.jsonl"] = {"text": TEXT_RECORDS}
    return columns


def packing_cases():
    """TRL's own best fit decreasing, within one batch."""
    cases = []
    for seed, n, longest, room in ((1, 300, 40, 64), (2, 200, 100, 100), (3, 400, 9, 32)):
        rng = random.Random(seed)
        lengths = [rng.randint(1, longest) for _ in range(n)]
        table = pa.table({"input_ids": pa.array([[i] * l for i, l in enumerate(lengths)], type=pa.list_(pa.int64()))})
        packed = trl.data_utils._pack_bfd(table, room).to_pylist()
        rows = []
        for row in packed:
            at, documents = 0, []
            for length in row["seq_lengths"]:
                documents.append(row["input_ids"][at])
                at += length
            rows.append(documents)
        cases.append({"lengths": lengths, "max_length": room, "rows": rows})
    return cases


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    os.makedirs(HERE)
    write_records()
    sets = []
    for folder, tokenizer in (("byte-level", byte_level()), ("sentencepiece", sentencepiece_like())):
        save(tokenizer, folder)
        for name, columns in rendered().items():
            for completion_only in (None, False):
                if completion_only is False and name != "prompt.jsonl":
                    continue
                sets.append({"tokenizer": folder, "file": name, "completion_only_loss": completion_only,
                             "max_length": MAX_LENGTH[name],
                             "documents": prepared(tokenizer, columns, completion_only, MAX_LENGTH[name])})
    versions = {m.__name__: m.__version__ for m in (trl, transformers, tokenizers, torch, datasets)}
    with open(os.path.join(HERE, "expected.json"), "w", encoding="utf-8") as f:
        json.dump({"versions": versions, "sets": sets, "packing": packing_cases()}, f,
                  separators=(",", ":"))


if __name__ == "__main__":
    main()
