"""Training on real records: TRL's SFTTrainer with its defaults and packing beside qlora-worker, on the same machine.

    scripts/bench.sh peer_data FILE.jsonl [--shape 135m] [--steps 1] [--rounds 1] [--threads N] [--max-length N] [--rows N]

FILE.jsonl holds {"question", "answer"} records, such as gsm8k's. Both train the same model with random weights (NF4, LoRA of rank 16 on
all linear layers, dropout 0.05) with the tokenizer of examples/model, on rows of the same length packed from all records; a
step has as many rows with either. What TRL is told beyond that is packing=True and to stay on the CPU: batches of 8, rows of 1024, bf16 and
gradient checkpointing are its defaults (--max-length and --rows change both sides, for a short trial). Compared are
tokens of input per second that are not padding, over --steps steps after one that is not counted.
"""
import argparse
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peer"))
from common import PROGRAMS, TOP, Result, allowed_threads, print_ratio, print_results, random_model, run_peer, scratch  # noqa: E402

GOAL = 3.0


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--shape", default="135m", choices=["135m", "1.1b"])
    for name, default in (("steps", 1), ("rounds", 1), ("threads", allowed_threads()), ("max-length", 1024), ("rows", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def make_model(o, folder):
    random_model(o.shape, folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOP / "examples/model" / name, folder)
    return folder


def our_run(o, model, dtype, out):
    """(tokens/s of each step, peak bytes, note), or None where this build computes in fp32 whatever is asked."""
    config = {"model_name_or_path": model, "dataset": os.path.abspath(o.data), "output_dir": out, "max_length": o.max_length,
              "global_batch_size": o.rows, "max_steps": o.steps + 1, "lora_r": 16, "save_strategy": "no",
              "bnb_4bit_compute_dtype": dtype, "quantized_cache": False}
    with open(f"{out}.yaml", "w", encoding="utf-8") as file:
        file.writelines(f"{key}: {json.dumps(value)}\n" for key, value in config.items())
    with open(f"{out}.log", "w", encoding="utf-8") as log:
        worker = subprocess.Popen([PROGRAMS / "qlora-worker", "--threads", str(o.threads), f"{out}.yaml"], stderr=log)
        _, status, usage = os.wait4(worker.pid, 0)
    with open(f"{out}.log", encoding="utf-8") as log:
        said = log.read()
    if status:
        sys.exit(f"qlora-worker ended with status {os.waitstatus_to_exitcode(status)}: {said}")
    if dtype != "float32" and "computes in float32" in said:
        return None
    with open(f"{out}/metrics.jsonl", encoding="utf-8") as lines:
        steps = [e for e in map(json.loads, lines) if e["event"] == "step"]
    tokens = steps[-1]["num_input_tokens_seen"] / len(steps)
    return [s["tokens_per_second"] for s in steps[1:]], usage.ru_maxrss * 1024, f"{tokens:.0f} tokens a step"


def their_run(o, model):
    r = run_peer("data.py", {"model": model, "data": o.data, "steps": o.steps + 1, "threads": o.threads, "max_length": o.max_length,
                             "per_device_train_batch_size": o.rows})
    seen = "see" if r["documents_see_one_another"] else "do not see"
    notes = (f"{r['settings']}, attention {r['attention']}; documents of a row {seen} one another (tried)",
             f"{sum(r['tokens']) / len(r['tokens']):.0f} tokens a step, as a batch of {r['shape']}; {r['rows']} rows of "
             f"{r['row_tokens']} tokens in all", *(f"warned: {w}" for w in r["warnings"]))
    return [t / s for t, s in zip(r["tokens"], r["seconds"])][1:], r["peak"], *notes


def run_round(o, model, number, ours, theirs):
    for dtype, result in ours.items():
        measured = our_run(o, model, dtype, os.path.join(model, f"{dtype}-{number}"))
        result.add(*(measured or ([], 0, "not part of this build")))
    theirs.add(*their_run(o, model))


def main():
    o = read_arguments()
    ours = {dtype: Result(f"ours {dtype}") for dtype in ("float32", "bfloat16")}
    theirs = Result("TRL")
    print(", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("torch", "transformers", "peft", "bitsandbytes", "trl")))
    print(f"{o.shape}, {os.path.basename(o.data)}, {o.threads} threads, {o.rounds} rounds of {o.steps} steps, OMP_WAIT_POLICY of the peer: "
          f"{os.environ.get('OMP_WAIT_POLICY', 'not set')}", flush=True)
    with scratch() as folder:
        model = make_model(o, folder)
        for number in range(o.rounds):
            run_round(o, model, number, ours, theirs)
    print_results([*ours.values(), theirs])
    for result in ours.values():
        if result.speeds:
            print_ratio(f"{result.name}, against TRL", result, theirs, GOAL)


main()
