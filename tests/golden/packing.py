"""What TRL's pack_dataset makes of documents, and transformers of an order by length: data/data/packing.json.

Needs trl==1.16.0, datasets, transformers, torch. A row is a list of pieces [document, first token, tokens].
"""
import json
import os
import random

import datasets
import torch
import transformers
import trl
from transformers.trainer_pt_utils import get_length_grouped_indices

WIDTH = 1 << 20  # an id says document and position
SHAPES = [("bfd", 500, 60, 64), ("bfd_split", 5, 40, 8), ("bfd_split", 150, 200, 64), ("bfd_split", 300, 128, 20),
          ("wrapped", 5, 40, 8), ("wrapped", 200, 90, 64), ("wrapped", 64, 1, 16), ("wrapped", 30, 300, 32)]


def pieces(ids):
    out = []
    for i in ids:
        document, at = divmod(i, WIDTH)
        if out and out[-1][0] == document and out[-1][1] + out[-1][2] == at:
            out[-1][2] += 1
        else:
            out.append([document, at, 1])
    return out


def packed(strategy, n, longest, max_length):
    lengths = [random.randint(1, longest) for _ in range(n)]
    ids = [[d * WIDTH + i for i in range(length)] for d, length in enumerate(lengths)]
    rows = trl.pack_dataset(datasets.Dataset.from_dict({"input_ids": ids}), max_length, strategy)["input_ids"]
    return {"strategy": strategy, "max_length": max_length, "lengths": lengths, "rows": [pieces(row) for row in rows]}


def grouped(n, batch):
    lengths = [random.randint(1, 50) for _ in range(n)]
    shuffled = torch.randperm(n, generator=torch.Generator().manual_seed(n)).tolist()
    order = get_length_grouped_indices(lengths, batch, generator=torch.Generator().manual_seed(n))
    return {"batch": batch, "lengths": lengths, "shuffled": shuffled, "order": order}


def main():
    random.seed(1)
    out = {"made_with": {"trl": trl.__version__, "datasets": datasets.__version__, "transformers": transformers.__version__},
           "packing": [packed(*shape) for shape in SHAPES],
           "grouped": [grouped(*shape) for shape in [(1, 1), (7, 2), (100, 4), (130, 16), (300, 2)]]}
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "data", "packing.json")
    with open(path, "w") as f:
        json.dump(out, f, separators=(",", ":"))
        f.write("\n")


main()
