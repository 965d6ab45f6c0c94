"""One preparation by Hugging Face datasets and tokenizers: load_dataset, then map in batches and processes. The same text as ours for
{"question", "answer"} and {"instruction", "input", "output"} records, tokenised once; what is trained on is not even looked for."""
import json
import os
import resource
import sys
import time

request = json.loads(sys.argv[1])
os.environ["HF_HOME"] = request["home"]
begin = time.perf_counter()
import datasets  # noqa: E402
import tokenizers  # noqa: E402

datasets.disable_progress_bars()
tokenizer = tokenizers.Tokenizer.from_file(request["tokenizer"])
EOS = request["eos"]
WITH = ("Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\n{}\n\n### Input:\n{}\n\n### Response:\n")
WITHOUT = ("Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\n{}"
           "\n\n### Response:\n")


def texts_of(batch):
    if "question" in batch:
        return [f"{q}\n{a}{EOS}" for q, a in zip(batch["question"], batch["answer"])]
    return [(WITH.format(i, x) if x else WITHOUT.format(i)) + o + EOS for i, x, o in zip(batch["instruction"], batch["input"], batch["output"])]


def tokenise(batch):
    return {"input_ids": [e.ids for e in tokenizer.encode_batch_fast(texts_of(batch))]}


def main():
    data = datasets.load_dataset("json", data_files=request["data"], split="train", cache_dir=request["home"])
    data = data.map(tokenise, batched=True, num_proc=request["processes"], remove_columns=data.column_names)
    seconds = time.perf_counter() - begin
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({"seconds": seconds, "processor": sum(u.ru_utime + u.ru_stime for u in used), "records": len(data),
                      "tokens": sum(len(ids) for ids in data.with_format("numpy")["input_ids"]) if request["count"] else None,
                      "versions": f"datasets {datasets.__version__}, tokenizers {tokenizers.__version__}"}))


if __name__ == "__main__":
    main()
