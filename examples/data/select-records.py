#!/usr/bin/env python3
"""Chooses the example records. Run by hand:

    examples/data/select-records.py --gsm8k FOLDER      (with gsm8k-train.jsonl and gsm8k-test.jsonl)

The rule: records in the order of the file whose question and answer take at most 180 tokens in the tokenizer of
examples/model; all of the training file, the first 160 of the test file. The lines are copied as they are.
"""
import argparse
import json
from pathlib import Path

from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
LIMIT = 180


def short_lines(path, tokenizer):
    for line in path.read_text().splitlines(keepends=True):
        record = json.loads(line)
        if sum(len(tokenizer.encode(record[k], add_special_tokens=False).ids) for k in ("question", "answer")) <= LIMIT:
            yield line


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gsm8k", type=Path, required=True)
    folder = parser.parse_args().gsm8k
    tokenizer = Tokenizer.from_file(str(HERE.parent / "model" / "tokenizer.json"))
    for part, name, most in (("train", "train", None), ("test", "eval", 160)):
        lines = list(short_lines(folder / f"gsm8k-{part}.jsonl", tokenizer))[:most]
        (HERE / f"{name}.jsonl").write_text("".join(lines))
        print(f"{name}.jsonl: {len(lines)} records")


if __name__ == "__main__":
    main()
