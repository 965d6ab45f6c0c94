"""What the benchmarks against other programs share. Imports nothing heavy: the processes that are measured are children."""
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[3]
PROGRAMS = TOP / "build/bin"
HERE = Path(__file__).resolve().parent
GIB = 2.0**30
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # when imported it misses a kernel that serves inference only


def random_model(shape, folder):
    """Writes a model folder of this shape ("135m", "1.1b") with random bf16 weights."""
    subprocess.run([PROGRAMS / "random_model", shape, folder], check=True)
    return folder


def scratch():
    """A folder for models and results, gone at the end."""
    return tempfile.TemporaryDirectory(prefix="qlora-peer.", dir="/var/tmp")


def peak_memory():
    """Bytes that this process held resident at most."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def allowed_threads():
    return int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))


def run_peer(script, request):
    """Runs tests/bench/peer/SCRIPT in a process of its own. It gets `request` and answers on its last line, both JSON."""
    done = subprocess.run([sys.executable, HERE / script, json.dumps(request)], stdout=subprocess.PIPE, text=True, check=False,
                          env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})
    if done.returncode:
        sys.exit(f"{script} {request} ended with status {done.returncode}; see above")
    return json.loads(done.stdout.splitlines()[-1])


class Result:
    """Tokens per second and peak memory of one setting, over all rounds."""

    def __init__(self, name):
        self.name, self.speeds, self.peak, self.notes = name, [], 0, []

    def add(self, speeds, peak, *notes):
        print(f"{self.name}: {', '.join(f'{s:.1f}' for s in speeds) or 'nothing'}", flush=True)
        self.speeds += speeds
        self.peak = max(self.peak, peak)
        self.notes += [note for note in notes if note not in self.notes]

    best = property(lambda self: max(self.speeds, default=0.0))
    median = property(lambda self: statistics.median(self.speeds) if self.speeds else 0.0)

    def print(self):
        print(f"{self.name:30} {self.best:9.1f} {self.median:9.1f} {self.peak / GIB:9.2f} GiB")


def print_results(results):
    print(f"\n{'tokens/s':30} {'best':>9} {'median':>9} {'peak memory':>13}")
    for result in results:
        if result.speeds:
            result.print()
    for result in results:
        for note in result.notes:
            print(f"  {result.name}: {note}")


def print_ratio(title, ours, theirs, goal):
    """Speed of `ours` against `theirs`, and memory."""
    print(f"{title}: {ours.best / theirs.best:.2f} times as fast (best), {ours.median / theirs.median:.2f} (median); goal {goal}; "
          f"{ours.peak / theirs.peak:.2f} of its memory; goal 0.50")
