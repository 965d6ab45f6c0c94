"""A training step of transformers + PEFT + bitsandbytes beside one of ours, alternating on the same machine.

    scripts/bench.sh peer [--shape 135m] [--rows 2] [--tokens 1024] [--rounds 2] [--steps 2] [--threads N] [--base 4bit]

The same model folder with random weights, full rows of random ids, NF4 with double quantisation, LoRA of rank 16 on all linear
layers, dropout 0.05, AdamW, gradients clipped at 1, the same number of threads. The peer runs in fp32 and in bf16 (adapters, too, as TRL
has it), with and without gradient checkpointing; `--base dense` keeps its base in that type instead of 4 bits. In every round each setting
runs in a process of its own: one step that is not counted and --steps that are. Peak memory is what the kernel says of
that process. Nothing else should run on the machine; where something does, set OMP_WAIT_POLICY=passive, or torch's
threads wait for each other by spinning (ours never do).
"""
import argparse
import importlib.metadata
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peer"))
from common import GIB, PROGRAMS, Result, allowed_threads, print_ratio, print_results, random_model, run_peer, scratch  # noqa: E402

GOAL = {"fp32": 1.35, "bf16": 2.0}
COMPUTE = {"fp32": "float32", "bf16": "bfloat16"}


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="135m", choices=["135m", "1.1b"])
    parser.add_argument("--base", default="4bit", choices=["4bit", "dense"], help="of the peer")
    for name, default in (("rows", 2), ("tokens", 1024), ("rounds", 2), ("steps", 2), ("threads", allowed_threads())):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def our_steps(o, model, dtype):
    """(tokens/s of each step, peak bytes, note), or None where this build computes in fp32 whatever is asked."""
    out = subprocess.run([PROGRAMS / "bench_step", o.shape, *map(str, (o.rows, o.tokens, o.threads, o.steps)),
                          f"model_name_or_path={model}", f"bnb_4bit_compute_dtype={COMPUTE[dtype]}"], capture_output=True, text=True,
                         check=False)
    if out.returncode:
        sys.exit(f"bench_step ended with status {out.returncode}: {out.stderr}")
    if dtype != "fp32" and "computes in float32" in out.stderr:
        return None
    seconds = re.search(r"^seconds of the steps: (.*)$", out.stdout, re.M).group(1).split()
    peak = int(re.search(r"\((\d+) bytes\)", out.stdout).group(1))
    return [o.rows * o.tokens / float(s) for s in seconds], peak, re.search(r"loss [0-9.]+", out.stdout).group(0)


def their_steps(o, model, dtype, checkpointing):
    r = run_peer("step.py", {"model": model, "dtype": dtype, "checkpointing": checkpointing, "base": o.base, "rows": o.rows,
                             "tokens": o.tokens, "steps": o.steps, "threads": o.threads})
    note = (f"{r['linear']}, attention {r['attention']}, {r['threads']} threads, {r['capability']}, loss {r['loss']:.2f}; imports "
            f"alone take {r['after_imports'] / GIB:.2f} GiB")
    return [o.rows * o.tokens / s for s in r["seconds"]], r["peak"], note


def run_round(o, model, ours, theirs):
    for dtype in GOAL:
        measured = our_steps(o, model, dtype)
        if measured:
            ours[dtype].add(*measured)
        else:
            ours[dtype].add([], 0, "not part of this build")
        for checkpointing in (False, True):
            theirs[dtype, checkpointing].add(*their_steps(o, model, dtype, checkpointing))


def conclude(ours, theirs):
    for dtype, goal in GOAL.items():
        if not ours[dtype].speeds:
            continue
        faster, slower = sorted((theirs[dtype, False], theirs[dtype, True]), key=lambda r: r.best, reverse=True)
        print_ratio(f"{dtype}, against the faster, {faster.name}", ours[dtype], faster, goal)
        print_ratio(f"{dtype}, against the other, {slower.name}", ours[dtype], slower, goal)


def main():
    o = read_arguments()
    ours = {dtype: Result(f"ours {dtype}") for dtype in GOAL}
    theirs = {(dtype, c): Result(f"peer {dtype}, {'with' if c else 'no'} checkpointing") for dtype in GOAL for c in (False, True)}
    print(", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("torch", "transformers", "peft", "bitsandbytes")))
    print(f"{o.shape}, {o.rows} x {o.tokens} tokens, {o.threads} threads, {o.rounds} rounds of {o.steps} steps, peer's base "
          f"{'NF4 with double quantisation' if o.base == '4bit' else 'dense'}, OMP_WAIT_POLICY of the peer: "
          f"{os.environ.get('OMP_WAIT_POLICY', 'not set')}", flush=True)
    with scratch() as folder:
        model = random_model(o.shape, folder)
        for _ in range(o.rounds):
            run_round(o, model, ours, theirs)
    print_results([*ours.values(), *theirs.values()])
    conclude(ours, theirs)


main()
