"""Golden files of preference pairs: what TRL's DPOTrainer makes of texts and of messages, with and without a prompt.

Adds to data/data/ (tests/golden/data.py comes first and makes the tokenizers): pairs-*.jsonl, chat.jinja and pairs.json with the ids and
the completion mask of both sides of each pair, as the trainer's own prepared data set and its collator have them.

    venv/bin/pip install torch==2.15.0 transformers==5.24.0 trl==1.16.0 tokenizers==0.23.3
    venv/bin/python tests/golden/preference.py
"""
import json
import os
import sys
import tempfile

sys.path.append(sys.path.pop(0))  # this folder last: it has a file of the same name as the package peft

os.environ["CUDA_VISIBLE_DEVICES"] = ""
import datasets
import tokenizers
import torch
import transformers
import trl
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import DPOConfig, DPOTrainer

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "data")
MAX_LENGTH = 64
CHAT = ("{% for m in messages %}{{ '### ' + m['role'] + ':\n' + m['content'] + (eos_token if m['role'] == 'assistant' else '') + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '### assistant:\n' }}{% endif %}")


def pair(chosen, rejected, **prompt):
    return {**prompt, "chosen": chosen, "rejected": rejected}


def user(text):
    return {"role": "user", "content": text}


def reply(text):
    return {"role": "assistant", "content": text}


FILES = {
    "pairs-prompt.jsonl": [
        pair("brown fox", "lazy dog", prompt="The quick "), pair("own fox", "idge", prompt="The quick br"), pair("x", "y", prompt=""),
        pair("7</s>", "8", prompt="left? "), pair("\u0301 accents", "f", prompt="e"), pair("ly", "les", prompt="app"),
        pair(" two spaces", "no space", prompt="The fox "), pair("short", "long " * 40, prompt="p\n"), pair("a" * 3, "b", prompt="long " * 60),
        pair("你好😀", "你好", prompt="她说：")],
    "pairs-shared.jsonl": [
        pair("The fox is quick.", "The fox is lazy."), pair("The fox is quick.", "The fox isn't."), pair("apples", "apples left"), pair("apples left", "apples"),
        pair("ein über", "ein überall über"), pair("她说：你好", "她说：你们"), pair("é is", "é as"), pair("uber é", "uber è"), pair("two  spaces x", "two  spaces y"),
        pair("a b", "a  b"), pair("7</s>", "78")],
    "pairs-messages.jsonl": [
        pair([reply("There are 7.")], [reply("There are 8.")], prompt=[user("How many apples are left?")]),
        pair([reply("x")], [reply("y")], prompt=[{"role": "system", "content": "Be short."}, user("a"), reply("b"), user("c")]),
        pair([reply("x"), user("and?"), reply("z")], [reply("y")], prompt=[user("a")])],
    "pairs-shared-messages.jsonl": [
        pair([user("How many?"), reply("7")], [user("How many?"), reply("8")]),
        pair([user("a"), reply("b"), user("c"), reply("d")], [user("a"), reply("b"), user("c"), reply("e"), user("f"), reply("g")]),
        pair([user("a"), reply("b")], [user("a"), reply("b"), user("c"), reply("d")])],
}


def small_model(tokenizer):
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                                        num_attention_heads=1, num_key_value_heads=1))


def prepared(tokenizer, rows):
    data = datasets.Dataset.from_list([{"record": i, **row} for i, row in enumerate(rows)])
    with tempfile.TemporaryDirectory() as out:
        args = DPOConfig(output_dir=out, max_length=MAX_LENGTH, use_cpu=True, bf16=False, report_to=[], remove_unused_columns=False)
        trainer = DPOTrainer(model=small_model(tokenizer), ref_model=small_model(tokenizer), args=args, train_dataset=data, processing_class=tokenizer)
        return [sides(trainer.data_collator([row]), row["record"]) for row in trainer.train_dataset]


def sides(batch, record):
    both = []
    for ids, attention, completion in zip(batch["input_ids"], batch["attention_mask"], batch["completion_mask"]):
        n = int(attention.sum())
        both.append({"ids": ids[:n].tolist(), "completion": completion[:n].tolist()})
    return {"record": record, "chosen": both[0], "rejected": both[1]}


def main():
    sets = []
    with open(os.path.join(HERE, "chat.jinja"), "w", encoding="utf-8") as f:
        f.write(CHAT)
    for name, rows in FILES.items():
        with open(os.path.join(HERE, name), "w", encoding="utf-8") as f:
            f.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    for folder in ("byte-level", "sentencepiece"):
        tokenizer = AutoTokenizer.from_pretrained(os.path.join(HERE, folder))
        tokenizer.chat_template = CHAT
        for name, rows in FILES.items():
            sets.append({"tokenizer": folder, "file": name, "max_length": MAX_LENGTH, "pairs": prepared(tokenizer, rows)})
    versions = {m.__name__: m.__version__ for m in (trl, transformers, tokenizers, torch, datasets)}
    with open(os.path.join(HERE, "pairs.json"), "w", encoding="utf-8") as f:
        json.dump({"versions": versions, "sets": sets}, f, separators=(",", ":"))


if __name__ == "__main__":
    main()
