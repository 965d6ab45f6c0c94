#!/usr/bin/env python3
"""Compares our programs with transformers + PEFT, record by record. By hand or nightly; needs the packages that
tests/golden/README.md names.

    tests/parity/parity.py --bin build/bin --model DIR --data FILE.jsonl [--only CHECK ...] [KEY=VALUE ...]

Records are question + answer. Checks:
  tokens    ids and targets of every record (qlora inspect) against the tokenizer in transformers
  nll       qlora-worker --eval --per-record against PyTorch in fp32 on the same dequantised weights
  adapter   the same with an adapter made by PEFT
  train     six steps from that adapter: loss, gradient norm and rate of each step, the final adapter
  reload    the adapter that we saved, loaded by PEFT, against --eval --adapter
  generate  greedy text, token by token, without and with the adapter
KEY=VALUE are configuration keys for our side; load_in_4bit, bnb_4bit_use_double_quant, lora_r, lora_alpha, use_rslora and
target_modules are followed by the other side too.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
import yaml

import oracle
from oracle import golden

CHECKS = ["tokens", "nll", "adapter", "train", "reload", "generate"]
TRAINING = dict(learning_rate=2e-3, adam_epsilon=1e-3, weight_decay=0.01, max_grad_norm=1.0, lr_scheduler_type="linear",
                warmup_steps=2, max_steps=6)
LIMITS = dict(nll=2e-5, loss=1e-4, grad_norm=1e-3, learning_rate=1e-12, final=1e-4)


class Comparison:
    """Differences found, printed as they come."""

    def __init__(self):
        self.failed = 0

    def say(self, good, text):
        self.failed += not good
        print(("  ok    " if good else "  WRONG ") + text, flush=True)

    def relative(self, what, ours, theirs, limit):
        """The worst of a list, by |a - b| / |b|."""
        if len(ours) != len(theirs):
            return self.say(False, f"{what}: {len(ours)} numbers of ours, {len(theirs)} of theirs")
        gaps = [abs(a - b) / max(abs(b), 1e-30) for a, b in zip(ours, theirs)]
        worst = max(range(len(gaps)), key=gaps.__getitem__)
        self.say(gaps[worst] <= limit, f"{what}: worst {gaps[worst]:.1e} of {len(gaps)} (at {worst}: "
                                       f"{ours[worst]!r} against {theirs[worst]!r}; limit {limit:g})")


class Case:
    """One model, one data set, one configuration."""

    def __init__(self, args, work):
        self.args, self.work = args, Path(work)
        self.keys = {"model_name_or_path": args.model, "dataset": args.data, "output_dir": str(self.work / "out"),
                     "max_length": 2048, "lora_dropout": 0.0, "lora_r": 8, "lora_alpha": 16, "global_batch_size": 2,
                     "device": "cpu", **TRAINING}
        self.keys |= {k: yaml.safe_load(v) for k, v in (o.split("=", 1) for o in args.overrides)}
        self.keys.setdefault("load_in_4bit", True)

    def base(self):
        return oracle.load_model(self.args.model, self.keys["load_in_4bit"],
                                 self.keys.get("bnb_4bit_use_double_quant", True))

    def lora(self):
        keys = ("lora_alpha", "lora_dropout", "use_rslora", "target_modules")
        return {"r": self.keys["lora_r"], "target_modules": "all-linear",
                **{k: self.keys[k] for k in keys if k in self.keys}}

    def config(self, **more):
        path = self.work / "config.yaml"
        path.write_text(yaml.safe_dump(self.keys | more))
        return str(path)

    def call(self, program, *arguments):
        command = [os.path.join(self.args.bin, program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}\nended with {done.returncode}: {done.stderr[-1500:]}")
        return done.stdout

    def inspect(self, *arguments):
        return [json.loads(line) for line in self.call("qlora", "inspect", "--json", self.config(), *arguments)
                .splitlines()]

    def per_record(self, *arguments):
        lines = self.call("qlora-worker", "--eval", "--per-record", *arguments, self.config()).splitlines()
        lines = [json.loads(line) for line in lines]
        assert [line["record"] for line in lines] == list(range(len(lines))), "records out of order"
        return lines


# ---------------------------------------------------------------- checks


def split_row(row):
    """The documents of a row of `qlora inspect --json`: (record, ids, first target)."""
    for d in row["documents"]:
        part = slice(d["start"], d["start"] + d["length"])
        labels = row["labels"][part]
        first = next((i for i, label in enumerate(labels) if label != -100), len(labels))
        assert labels[first:] == row["input_ids"][part][first:], f"holes in the targets of record {d['record']}"
        yield d["record"], dict(ids=row["input_ids"][part], first_target=first)


def check_tokens(case, state, say):
    ours = dict(pair for row in case.inspect() for pair in split_row(row))
    wrong = [i for i, d in enumerate(state.documents) if ours.get(i) != d]
    say.say(not wrong, f"tokens: {len(wrong)} of {len(state.documents)} records differ {wrong[:5]}")
    for i in wrong[:2]:
        print("    theirs", state.documents[i], "\n    ours  ", ours.get(i))


def compare_nll(case, model, documents, say, what, *arguments):
    lines = case.per_record(*arguments)
    say.say([x["tokens"] for x in lines] == [golden.targets(d) for d in documents], f"{what}: counts of targets")
    say.relative(what, [x["nll"] for x in lines], golden.all_nll(model, documents), LIMITS["nll"])


def check_nll(case, state, say):
    compare_nll(case, state.base(), state.documents, say, "nll")


def check_adapter(case, state, say):
    compare_nll(case, state.adapted(), state.documents, say, "nll with PEFT's adapter", "--adapter", state.adapter)


def steps_of(case, length):
    """The documents of each step. Rows short enough that all steps lie in the first epoch."""
    size = case.keys["global_batch_size"]
    rows = case.inspect("--rows", f"0:{size * TRAINING['max_steps']}", f"max_length={length}")
    if len(rows) < size * TRAINING["max_steps"]:
        raise ValueError(f"{len(rows)} rows are too few for {TRAINING['max_steps']} steps of {size}: take more records")
    return [[d for row in rows[i:i + size] for _, d in split_row(row)] for i in range(0, len(rows), size)]


def check_train(case, state, say):
    model = state.adapted()
    length = max(len(d["ids"]) for d in state.documents)
    theirs = oracle.train(model, steps_of(case, length), case.keys)
    out = Path(case.keys["output_dir"])
    shutil.rmtree(out, ignore_errors=True)
    case.call("qlora-worker", case.config(adapter_name_or_path=str(state.adapter), max_length=length))
    ours = [e for e in map(json.loads, (out / "metrics.jsonl").read_text().splitlines()) if e["event"] == "step"]
    for key in ("loss", "grad_norm"):
        say.relative(f"train: {key}", [e[key] for e in ours], [e[key] for e in theirs], LIMITS[key])
    gaps = [abs(a["learning_rate"] - b["learning_rate"]) for a, b in zip(ours, theirs)]
    say.say(max(gaps) <= LIMITS["learning_rate"], f"train: learning rates, worst {max(gaps):.1e}")
    say.say([e["target_tokens"] for e in ours] == [e["target_tokens"] for e in theirs], "train: counts of targets")
    compare_adapters(out, model, say)


def compare_adapters(folder, model, say):
    from safetensors.torch import load_file
    ours = load_file(folder / "adapter_model.safetensors")
    theirs = dict(golden.trained(model))
    say.say(sorted(ours) == sorted(theirs), f"train: {len(ours)} tensors of ours, {len(theirs)} of theirs")
    worst = max(((ours[k] - p).norm() / p.norm()).item() for k, p in theirs.items())
    say.say(worst <= LIMITS["final"], f"train: final adapter, worst relative distance of a matrix {worst:.1e}")


def check_reload(case, state, say):
    folder = case.keys["output_dir"]
    model = oracle.load_adapter(case.base(), folder)
    compare_nll(case, model, state.documents, say, "nll with our adapter in PEFT", "--adapter", folder)


def check_generate(case, state, say):
    tokenizer = transformers.AutoTokenizer.from_pretrained(case.args.model)
    eos = {tokenizer.eos_token_id}
    bits = f"load_in_4bit={str(case.keys['load_in_4bit']).lower()}"
    double = f"bnb_4bit_use_double_quant={str(case.keys.get('bnb_4bit_use_double_quant', True)).lower()}"
    prompts = [json.loads(line)["question"] for line in Path(case.args.data).read_text().splitlines()[:3]]
    for with_adapter in (False, True):
        model = state.adapted() if with_adapter else state.base()
        more = ["--adapter", state.adapter] if with_adapter else []
        for prompt in prompts:
            theirs, margin = oracle.generate(model, tokenizer(prompt)["input_ids"], 24, eos)
            line = case.call("qlora", "generate", "--model", case.args.model, *more, "--max-new-tokens", 24, "--json",
                             bits, double, prompt)
            ours = json.loads(line)["tokens"]
            good = ours == theirs or ours == theirs[:-1]
            say.say(good, f"generate{' with adapter' if with_adapter else ''}: {len(ours)} tokens, margin {margin:.1e}"
                    + ("" if good else f"\n    ours   {ours}\n    theirs {theirs}"))


class State:
    """What several checks share."""

    def __init__(self, case):
        self.case = case
        self.documents = oracle.documents_of(case.args.model, case.args.data)
        self.adapter = case.work / "adapter"
        oracle.make_adapter(case.base(), self.adapter, **case.lora())

    def base(self):
        return self.case.base()

    def adapted(self):
        model = oracle.load_adapter(self.case.base(), self.adapter)
        for name, p in model.named_parameters():
            p.requires_grad_("lora_" in name)
        return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="build/bin")
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--only", nargs="*", choices=CHECKS, default=CHECKS)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    print(f"{args.model} {' '.join(args.overrides)}")
    say = Comparison()
    with tempfile.TemporaryDirectory(prefix="parity-") as work:
        case = Case(args, work)
        state = State(case)
        for name in args.only:
            try:
                globals()[f"check_{name}"](case, state, say)
            except (RuntimeError, AssertionError, KeyError, ValueError, OSError) as e:
                say.say(False, f"{name}: {e}")
    return 1 if say.failed else 0


if __name__ == "__main__":
    sys.exit(main())
