"""Our tokenizer against Hugging Face tokenizers, one thread each, interleaved.

    bench_tokenizer.py BENCH_PROGRAM MODEL_FOLDER FILE.jsonl [ROUNDS]

BENCH_PROGRAM is build/bin/bench_tokenizer. Every round runs both; the best of each counts, so that
noise of the machine hits both alike. Needs the package `tokenizers`.
"""
import json
import os
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
import tokenizers  # noqa: E402  (reads the environment)


def texts_of(path):
    with open(path, encoding="utf-8") as lines:
        return [v for line in lines for v in json.loads(line).values() if isinstance(v, str)]


def reference(tokenizer, texts):
    begin = time.perf_counter()
    encodings = tokenizer.encode_batch_fast(texts)
    seconds = time.perf_counter() - begin
    return seconds, sum(len(e) for e in encodings)


def main():
    program, folder, data = sys.argv[1:4]
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 5
    texts = texts_of(data)
    size = sum(len(t.encode()) for t in texts)
    begin = time.perf_counter()
    tokenizers.Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    opened = time.perf_counter() - begin
    ours, theirs, ids, our_open = 0.0, 0.0, set(), 1e9
    for _ in range(rounds):
        run = json.loads(subprocess.check_output([program, folder, data, "1"]))
        ours = max(ours, run["mb_per_s"])
        our_open = min(our_open, run["open_seconds"])
        ids.add(run["ids"])
        fresh = tokenizers.Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        seconds, count = reference(fresh, texts)
        theirs = max(theirs, size / 1e6 / seconds)
        ids.add(count)
    same = "same number of ids" if len(ids) == 1 else f"DIFFERENT numbers of ids: {sorted(ids)}"
    print(f"{os.path.basename(folder.rstrip('/'))}: qlora {ours:.1f} MB/s, tokenizers {tokenizers.__version__} "
          f"{theirs:.1f} MB/s, ratio {ours / theirs:.2f}; opening {our_open:.2f} s against {opened:.2f} s; {same}")


if __name__ == "__main__":
    main()
