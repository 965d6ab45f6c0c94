"""Preparing data from nothing: `qlora prepare` beside Hugging Face datasets and tokenizers, on the same cores.

    scripts/bench.sh prepare FILE.jsonl [--model DIR] [--records N] [--rounds N] [--processes N] [--warm N]

FILE.jsonl holds {"question", "answer"} or {"instruction", "input", "output"} records, such as gsm8k's and alpaca's; they are repeated, each
with a number of its own, until there are N. Either side starts from nothing in every round, one after the other: process start, reading,
tokenising, writing what it keeps. Ours finds the targets, too, and packs. --warm: how long our second start takes with so many records.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peer"))
from common import PROGRAMS, TOP, allowed_threads, run_peer, scratch  # noqa: E402

GOAL = 2.0


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--model", default=str(TOP / "examples/model"))
    for name, default in (("records", 100000), ("rounds", 3), ("processes", allowed_threads()), ("warm", 1000000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def repeat(path, records, out):
    with open(path, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    field = "question" if "question" in rows[0] else "instruction"
    with open(out, "w", encoding="utf-8") as file:
        for n in range(records):
            row = rows[n % len(rows)]
            file.write(json.dumps({**row, field: f"{row[field]} ({n})"}, ensure_ascii=False) + "\n")
    return out


def eos_of(model):
    with open(f"{model}/tokenizer_config.json", encoding="utf-8") as file:
        token = json.load(file).get("eos_token")
    return token["content"] if isinstance(token, dict) else token


def our_run(o, data, folder, name):
    """(seconds, of processor time, what was said)"""
    config = f"{folder}/{name}.yaml"
    with open(config, "w", encoding="utf-8") as file:
        json.dump({"model_name_or_path": o.model, "dataset": data, "max_length": 65536, "packing": False, "audit": "warn",
                   "output_dir": f"{folder}/out", "dataset_cache": f"{folder}/{name}"}, file)
    begin = time.perf_counter()
    worker = subprocess.Popen([PROGRAMS / "qlora", "prepare", config], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    said = worker.stdout.read()
    _, status, usage = os.wait4(worker.pid, 0)
    seconds = time.perf_counter() - begin
    if status:
        sys.exit(f"qlora prepare ended with status {os.waitstatus_to_exitcode(status)}: {said}")
    return seconds, usage.ru_utime + usage.ru_stime, said


def compare(o, data, folder):
    ours, theirs = [], []
    for n in range(o.rounds):
        seconds, processor, said = our_run(o, data, folder, f"cold-{n}")
        ours.append((seconds, processor))
        request = {"data": data, "home": f"{folder}/home-{n}", "tokenizer": f"{o.model}/tokenizer.json", "eos": eos_of(o.model) or "",
                   "processes": o.processes, "count": n == 0}
        answer = run_peer("prepare.py", request)
        theirs.append((answer["seconds"], answer["processor"]))
        if n == 0:
            print(said.splitlines()[2].strip(), f"; theirs {answer['tokens']} tokens, {answer['versions']}", sep="")
        print(f"round {n + 1}: ours {seconds:.2f} s ({processor:.2f} s of processor time), theirs {answer['seconds']:.2f} s "
              f"({answer['processor']:.2f} s)", flush=True)
    for what, at in (("seconds", 0), ("processor time", 1)):
        best = [min(side, key=lambda r: r[at])[at] for side in (ours, theirs)]
        median = [statistics.median(r[at] for r in side) for side in (ours, theirs)]
        print(f"{what}: {best[1] / best[0]:.2f} times as fast (best), {median[1] / median[0]:.2f} (median); goal {GOAL}")


def warm(o, folder):
    data = repeat(o.data, o.warm, f"{folder}/warm.jsonl")
    cold = our_run(o, data, folder, "warm")
    again = min(our_run(o, data, folder, "warm") for _ in range(o.rounds))
    print(f"{o.warm} records, {os.path.getsize(data) / 1e6:.0f} MB: cold {cold[0]:.2f} s, warm {again[0]:.2f} s ({again[1]:.2f} s of processor time); goal 1")


def main():
    o = read_arguments()
    with scratch() as folder:
        data = repeat(o.data, o.records, f"{folder}/data.jsonl")
        print(f"{o.records} records, {os.path.getsize(data) / 1e6:.1f} MB, {o.processes} processes")
        compare(o, data, folder)
        os.unlink(data)
        if o.warm:
            warm(o, folder)


if __name__ == "__main__":
    main()
