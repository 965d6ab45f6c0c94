"""Golden files for LoRA adapters, written by PEFT. Run by hand: python tests/golden/peft.py; writes
tests/golden/data/peft/."""
import sys

sys.path.pop(0)  # this folder has a file of the same name as the package

import json
import os
import shutil

import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "peft")


def model(layers):
    torch.manual_seed(3)
    return LlamaForCausalLM(LlamaConfig(hidden_size=12, intermediate_size=20, num_hidden_layers=layers, vocab_size=16,
                                        num_attention_heads=2, num_key_value_heads=1))


def adapter(name, base, dtype=None, **keys):
    """Random A and B; the config as ours must be: target_modules sorted, no claim of a PEFT version."""
    base.name_or_path = "models/tiny \u00e9\U0001f600"
    wrapped = get_peft_model(base, LoraConfig(r=2, task_type="CAUSAL_LM", **keys))
    for n, p in wrapped.named_parameters():
        if "lora_" in n:
            p.data = torch.randn(p.shape, generator=torch.Generator().manual_seed(len(n) + p.numel())).to(p.dtype)
    folder = os.path.join(OUT, name)
    wrapped.save_pretrained(folder)
    os.remove(os.path.join(folder, "README.md"))
    weights = os.path.join(folder, "adapter_model.safetensors")
    if dtype:
        save_file({k: v.to(dtype) for k, v in load_file(weights).items()}, weights, {"format": "pt"})
    with open(os.path.join(folder, "adapter_config.json")) as f:
        config = json.load(f)
    del config["peft_version"]
    config["target_modules"].sort()
    with open(os.path.join(folder, "expected_config.json"), "w") as f:
        f.write(json.dumps(config, indent=2, sort_keys=True))
    return wrapped


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    names = [n for n, _ in model(3).named_modules() if n]
    adapter("full_names", model(1), target_modules="all-linear", lora_alpha=16, lora_dropout=0.05)
    adapter("suffixes", model(3), target_modules="all-linear", lora_alpha=7, use_rslora=True)
    adapter("bf16", model(1), torch.bfloat16, target_modules=["q_proj", "down_proj"], lora_alpha=4)
    adapter("f16", model(1), torch.float16, target_modules=["q_proj", "down_proj"], lora_alpha=4)
    adapter("subset", model(4), target_modules=[f"model.layers.{i}.{m}" for i in (0, 1, 2)
                                                 for m in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                                           "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
                                                           "mlp.down_proj")], lora_alpha=0.5)
    with open(os.path.join(OUT, "modules.json"), "w") as f:
        json.dump({"suffixes": names, "subset": [n for n, _ in model(4).named_modules() if n]}, f)
    with open(os.path.join(OUT, "VERSIONS"), "w") as f:
        for module in (peft, torch, transformers):
            f.write(f"{module.__name__} {module.__version__}\n")


main()
