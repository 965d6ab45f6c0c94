#!/usr/bin/env python3
"""Golden learning rates: what transformers' get_scheduler gives for every step, and its count of warm-up steps.

    python tests/golden/schedules.py        writes tests/golden/data/schedules.json; the layout is in README.md
"""
import json
import sys
import warnings
from pathlib import Path

sys.path.append(sys.path.pop(0))  # this folder last: it has a file of the same name as the package peft

import torch
import transformers
from transformers import TrainingArguments, get_scheduler

OUT = Path(__file__).resolve().parent / "data" / "schedules.json"
LEARNING_RATE = 2e-4
# (total steps, warm-up steps): ordinary, no warm-up, one step, warm-up as long as the run, longer than the run
LENGTHS = [(40, 4), (25, 0), (7, 1), (1, 0), (1, 1), (2, 1), (6, 6), (5, 9)]
# type, lr_scheduler_kwargs, and the same under our own keys
KINDS = [
    ("linear", {}, {}),
    ("cosine", {}, {}),
    ("constant", {}, {}),
    ("constant_with_warmup", {}, {}),
    ("cosine_with_min_lr", {"min_lr": 2e-5}, {"min_lr": 2e-5}),
    ("cosine_with_min_lr", {"min_lr_rate": 0.25}, {"min_lr_rate": 0.25}),
    ("polynomial", {}, {}),
    ("polynomial", {"power": 2.0, "lr_end": 1e-5}, {"lr_power": 2.0, "lr_end": 1e-5}),
    ("inverse_sqrt", {}, {}),
    ("inverse_sqrt", {"timescale": 50}, {"lr_timescale": 50}),
]
RATIOS = [0.0, 0.01, 0.03, 0.05, 0.07, 0.1, 0.25, 0.29, 0.5, 0.999, 1, 2, 3.7, 10]
TOTALS = [1, 2, 3, 7, 10, 33, 100, 300, 1000, 12345]


def learning_rates(kind, total, warmup, kwargs):
    """One rate for each step, and one for the step after the last. None: transformers fails."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=LEARNING_RATE)
    try:
        scheduler = get_scheduler(kind, optimizer, warmup, total, scheduler_specific_kwargs=dict(kwargs))
        rates = []
        for _ in range(total + 1):
            rates.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
    except ZeroDivisionError:
        return None
    return rates


def schedules():
    for kind, kwargs, keys in KINDS:
        for total, warmup in LENGTHS:
            rates = learning_rates(kind, total, warmup, kwargs)
            if rates is not None:
                yield dict(lr_scheduler_type=kind, keys=keys, total=total, warmup=warmup, learning_rates=rates)


def warmups():
    for ratio in RATIOS:
        arguments = TrainingArguments(output_dir="unused", warmup_steps=ratio, use_cpu=True, report_to=[])
        for total in TOTALS:
            yield [ratio, total, arguments.get_warmup_steps(total)]


def main():
    warnings.simplefilter("ignore")
    lines = [json.dumps(s) for s in schedules()]
    counts = [json.dumps(w) for w in warmups()]
    versions = json.dumps({"torch": torch.__version__, "transformers": transformers.__version__,
                           "python": sys.version.split()[0]})
    OUT.write_text(f'{{"versions": {versions},\n "learning_rate": {LEARNING_RATE},\n "schedules": [\n  '
                   + ",\n  ".join(lines) + '],\n "warmup_counts": [\n  ' + ",\n  ".join(counts) + "]}\n")
    json.loads(OUT.read_text())
    print(f"{OUT.name}: {len(lines)} schedules, {len(counts)} warm-up counts, {OUT.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
