"""What transformers and PEFT compute in fp32, for the comparison with our programs."""
import json
import math
import sys
from pathlib import Path

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "golden"))
import models as golden
import nf4


# ---------------------------------------------------------------- model


def load_model(folder, in_4bit, double_quant=True):
    config = json.loads((Path(folder) / "config.json").read_text())
    if "quantization_config" in config:
        return golden.load_stored(folder).eval()  # bitsandbytes' CPU kernels decode some shapes wrongly
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    for name in golden.quantised_names(model) if in_4bit else []:
        p = model.get_submodule(name).weight
        p.data = torch.from_numpy(nf4.round_trip(p.detach().numpy(), double_quant)[0])
    return model.eval()


# ---------------------------------------------------------------- records


def tokens_of(tokenizer, record):
    """Ids and the first target, by TRL's rule for prompt and completion."""
    prompt = record["question"] + "\n"
    text = prompt + record["answer"]
    if tokenizer.eos_token and not text.endswith(tokenizer.eos_token):
        text += tokenizer.eos_token
    ids, head = tokenizer(text)["input_ids"], tokenizer(prompt)["input_ids"]
    first = next((i for i, (a, b) in enumerate(zip(ids, head)) if a != b), min(len(ids), len(head)))
    return dict(ids=ids, first_target=max(first, 1))


def documents_of(folder, data):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [tokens_of(tokenizer, json.loads(line)) for line in Path(data).read_text().splitlines()]


# ---------------------------------------------------------------- adapters and training


def make_adapter(model, folder, seed=11, **lora):
    """PEFT around `model`, A and B random; saved in `folder` as PEFT saves it."""
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **lora))
    g = torch.Generator().manual_seed(seed)
    for _, p in golden.trained(adapted):
        p.data = torch.randn(p.shape, generator=g) * (0.3 / math.sqrt(p.shape[1]))
    adapted.save_pretrained(folder)
    return adapted.eval()


def load_adapter(model, folder):
    return PeftModel.from_pretrained(model, folder).eval()


def train(model, steps, settings):
    """`steps`: for each the documents. Gives what metrics.jsonl says of a step."""
    parameters = [p for _, p in golden.trained(model)]
    optimizer = torch.optim.AdamW(parameters, lr=settings["learning_rate"], foreach=False, fused=False,
                                  betas=(0.9, 0.999), eps=settings["adam_epsilon"],
                                  weight_decay=settings["weight_decay"])
    scheduler = transformers.get_scheduler(settings["lr_scheduler_type"], optimizer, settings["warmup_steps"],
                                           settings["max_steps"])
    log = []
    for documents in steps:
        count = sum(golden.targets(d) for d in documents)
        optimizer.zero_grad()
        total = 0.0
        for d in documents:
            loss = golden.nll(model, d)
            (loss / count).backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(parameters, settings["max_grad_norm"]).item()
        log.append(dict(loss=total / count, grad_norm=norm, learning_rate=scheduler.get_last_lr()[0],
                        target_tokens=count))
        optimizer.step()
        scheduler.step()
    return log


@torch.no_grad()
def generate(model, ids, count, eos):
    """Greedy: (new ids, the smallest distance between the first and second logit on the way)."""
    ids, new, margin = list(ids), [], math.inf
    for _ in range(count):
        top = torch.topk(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1], 2)
        margin = min(margin, (top.values[0] - top.values[1]).item())
        ids.append(top.indices[0].item())
        new.append(ids[-1])
        if ids[-1] in eos:
            break
    return new, margin
