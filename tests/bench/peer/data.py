"""TRL's SFTTrainer with its defaults, packing switched on, on records of questions and answers. Started by bench_peer_data.py; see
run_peer in common.py."""
import json
import logging
import sys
import tempfile
import time
import warnings

import torch
import transformers
from common import peak_memory
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig
from transformers import AutoTokenizer, BitsAndBytesConfig, LlamaForCausalLM, TrainerCallback
from trl import SFTConfig, SFTTrainer

transformers.utils.logging.disable_progress_bar()
disable_progress_bars()


class Warnings(logging.Handler):
    """Collects what libraries warn about, each text once."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts = []
        logging.captureWarnings(True)
        for name in (None, "transformers", "trl", "peft", "py.warnings"):
            logging.getLogger(name).addHandler(self)

    def emit(self, record):
        text = " ".join(record.getMessage().split())
        if text not in self.texts and "FutureWarning" not in text:
            self.texts.append(text)


class Stopwatch(TrainerCallback):
    def __init__(self):
        self.seconds, self.start = [], 0

    def on_step_begin(self, *_, **__):
        self.start = time.perf_counter()

    def on_step_end(self, *_, **__):
        self.seconds.append(time.perf_counter() - self.start)


class Counter:
    """A data collator that counts the tokens it hands out, padding excepted."""

    def __init__(self, collator):
        self.collator, self.tokens, self.shapes = collator, [], []

    def __call__(self, examples):
        batch = self.collator(examples)
        mask = batch.get("attention_mask")
        self.tokens.append(int(batch["input_ids"].numel() if mask is None else mask.sum()))
        self.shapes.append(list(batch["input_ids"].shape))
        return batch


def read_records(path):
    with open(path, encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return Dataset.from_list([{"prompt": r["question"] + "\n", "completion": r["answer"]} for r in records])


def make_trainer(request, folder, stopwatch):
    model = LlamaForCausalLM.from_pretrained(
        request["model"], dtype=torch.bfloat16, device_map="cpu",
        quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
                                               bnb_4bit_compute_dtype=torch.bfloat16))
    given = {"packing": True, "max_steps": request["steps"], "use_cpu": True, "report_to": "none", "save_strategy": "no"}
    given.update({k: request[k] for k in ("max_length", "per_device_train_batch_size") if request[k]})
    config = SFTConfig(output_dir=folder, disable_tqdm=True, **given)
    tokenizer = AutoTokenizer.from_pretrained(request["model"], model_max_length=2048)
    lora = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules="all-linear", task_type="CAUSAL_LM")
    return SFTTrainer(model=model, args=config, train_dataset=read_records(request["data"]), peft_config=lora,
                      processing_class=tokenizer, callbacks=[stopwatch])


def documents_see_one_another(model, collator):
    """Whether the logits of the second of two packed documents change with the first. The last thing that is done: bitsandbytes
    repacks its weights for inference, and training after that would go wrong."""
    model.eval()
    second, logits = list(range(100, 132)), []
    for first in (list(range(200, 232)), list(range(300, 332))):
        batch = collator([{"input_ids": first + second, "labels": first + second, "seq_lengths": [len(first), len(second)]}])
        batch.pop("labels")
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            logits.append(model(**batch, use_cache=False).logits[0, len(first):].float())
    return bool((logits[0] - logits[1]).abs().max() > 0.01 * logits[0].std())


def main():
    request = json.loads(sys.argv[1])
    torch.set_num_threads(request["threads"])
    heard, stopwatch = Warnings(), Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(request, folder, stopwatch)
        counter = trainer.data_collator = Counter(trainer.data_collator)
        trainer.train()
        peak, heard_in_training = peak_memory(), list(heard.texts)
        seen = documents_see_one_another(trainer.model, counter.collator)
    args = trainer.args
    print(json.dumps({
        "seconds": stopwatch.seconds, "tokens": counter.tokens[:len(stopwatch.seconds)], "shape": counter.shapes[0], "peak": peak,
        "rows": len(trainer.train_dataset), "row_tokens": sum(map(len, trainer.train_dataset["input_ids"])),
        "documents_see_one_another": seen, "warnings": heard_in_training, "attention": trainer.model.config._attn_implementation,
        "settings": {k: getattr(args, k) for k in ("bf16", "gradient_checkpointing", "per_device_train_batch_size", "max_length",
                                                    "packing", "packing_strategy", "completion_only_loss")}}))


warnings.simplefilter("default")
main()
