#!/usr/bin/env python3
"""Golden files of whole models: tiny random models of every family, and what PyTorch computes with them.

    python tests/golden/models.py [NAME ...]        writes tests/golden/data/models/NAME/; the layout is in README.md

Everything is computed by transformers and PEFT in fp32 on one thread, with eager attention, one document at a time.
"""
import argparse
import json
import math
import re
import shutil
import sys
from pathlib import Path

sys.path.append(sys.path.pop(0))  # this folder last: it has a file of the same name as the package peft

import numpy as np
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.numpy import save_file
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import nf4

HERE = Path(__file__).resolve().parent
OUT = HERE / "data" / "models"
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}

# name -> architecture, configuration, dtype of the folder, and what is special about it:
#   old_config  config.json in the spelling of transformers 4
#   shards      max_shard_size
#   quants      which bases: dense (as the folder is), nf4 (double quantisation), nf4-single
#   written     keys put into config.json afterwards (Qwen2 folders name a window that is not in use)
#   stored_4bit the folder is quantised by transformers + bitsandbytes and saved so
MODELS = {
    "llama3-rope": dict(
        arch="Llama", dtype="f32", old_config=True, quants=["dense", "nf4", "nf4-single"],
        config=dict(vocab_size=101, hidden_size=48, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4,
                    num_key_value_heads=2, head_dim=16, max_position_embeddings=128, rms_norm_eps=1e-5,
                    rope_parameters=dict(rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0,
                                         high_freq_factor=4.0, original_max_position_embeddings=16))),
    "llama-linear-bias": dict(
        arch="Llama", dtype="f16", old_config=True, quants=["dense"], rslora=True,
        config=dict(vocab_size=96, hidden_size=40, intermediate_size=72, num_hidden_layers=2, num_attention_heads=5,
                    num_key_value_heads=1, max_position_embeddings=64, attention_bias=True, mlp_bias=True,
                    rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=2.5))),
    "llama-tied-shards": dict(
        arch="Llama", dtype="bf16", shards="60KB", quants=["dense", "nf4"],
        config=dict(vocab_size=256, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                    num_key_value_heads=4, max_position_embeddings=64, tie_word_embeddings=True)),
    "mistral-window": dict(
        arch="Mistral", dtype="f16", old_config=True, quants=["dense", "nf4"],
        config=dict(vocab_size=128, hidden_size=56, intermediate_size=80, num_hidden_layers=2, num_attention_heads=6,
                    num_key_value_heads=2, head_dim=12, sliding_window=7, max_position_embeddings=256)),
    "qwen2": dict(
        arch="Qwen2", dtype="bf16", old_config=True, quants=["dense", "nf4"],
        written=dict(use_sliding_window=False, sliding_window=5, max_window_layers=1),
        config=dict(vocab_size=152, hidden_size=48, intermediate_size=88, num_hidden_layers=2, num_attention_heads=6,
                    num_key_value_heads=3, max_position_embeddings=128,
                    rope_parameters=dict(rope_type="default", rope_theta=1000000.0))),
    "qwen2-window": dict(
        arch="Qwen2", dtype="bf16", quants=["dense"],
        config=dict(vocab_size=128, hidden_size=48, intermediate_size=64, num_hidden_layers=3, num_attention_heads=3,
                    num_key_value_heads=1, max_position_embeddings=128, tie_word_embeddings=True,
                    use_sliding_window=True, sliding_window=6, max_window_layers=1)),
    "qwen3": dict(
        arch="Qwen3", dtype="bf16", quants=["dense", "nf4"],
        config=dict(vocab_size=160, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
                    num_key_value_heads=2, head_dim=24, max_position_embeddings=128, tie_word_embeddings=True,
                    rope_parameters=dict(rope_type="default", rope_theta=1000000.0))),
    "qwen3-4bit": dict(
        arch="Qwen3", dtype="bf16", quants=["stored"], stored_4bit=True,
        config=dict(vocab_size=128, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                    num_key_value_heads=2, head_dim=32, max_position_embeddings=128)),
}
LORA = dict(r=4, lora_alpha=8, lora_dropout=0.0)
TRAINING = dict(learning_rate=0.01, warmup_steps=2, max_steps=6, weight_decay=0.01, adam_beta1=0.9, adam_beta2=0.999,
                max_grad_norm=1.0, lr_scheduler_type="linear")
# Documents: lengths and first targets; which documents lie in which packed row; the rows of each training step.
LENGTHS = [(24, 1), (9, 4), (2, 1), (33, 20), (17, 1), (40, 1)]
ROWS = [[0, 1, 2], [3], [4, 1], [5]]
STEPS = [[0, 1], [2, 3], [1, 2], [3, 0], [0], [1, 3]]


# ---------------------------------------------------------------- making the folder


def randomise(model, seed):
    """Weights large enough that every part of the model shows in the result."""
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=g)
        if p.dim() == 2 and "embed" in name:
            p.data = noise
        elif p.dim() == 2:
            p.data = noise * 1.3 / math.sqrt(p.shape[1])
        else:
            p.data = 0.3 * noise + (1.0 if "norm" in name else 0.0)
    model.tie_weights()


def spell_as_transformers_4(path, written):
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    if kind == "default":
        config["rope_scaling"] = None
    else:  # llama3 came with rope_type, the older kinds with type
        config["rope_scaling"] = {("rope_type" if kind == "llama3" else "type"): kind, **rope}
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.40.0"
    config.pop("layer_types", None)
    config.update(written)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def write_folder(name, spec, folder):
    kind = getattr(transformers, spec["arch"] + "Config")
    model = AutoModelForCausalLM.from_config(kind(**spec["config"]))
    randomise(model, seed=sum(name.encode()))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model.to(DTYPES[spec["dtype"]]).save_pretrained(folder, max_shard_size=spec.get("shards", "1GB"))
    if spec.get("old_config"):
        spell_as_transformers_4(folder / "config.json", spec.get("written", {}))
    again = kind.from_pretrained(folder).to_dict()
    for key, value in spec["config"].items():
        assert key == "rope_parameters" or again[key] == value, (name, key, again[key])
    for key, value in spec["config"].get("rope_parameters", {}).items():
        assert again["rope_parameters"][key] == value, (name, key, again["rope_parameters"])
    if spec.get("stored_4bit"):
        quantise_folder(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def quantise_folder(folder):
    from transformers import BitsAndBytesConfig
    quantisation = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
                                      bnb_4bit_compute_dtype=torch.bfloat16)
    model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=quantisation, device_map="cpu")
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder)


# ---------------------------------------------------------------- loading it, the base replaced


def quantised_names(model):
    return [n for n, m in model.named_modules() if type(m) is torch.nn.Linear and n != "lm_head"]


def compare_with_bitsandbytes(weight, dtype, codes, absmax_codes):
    """How many codes bitsandbytes' own CPU quantiser chooses otherwise."""
    from bitsandbytes.functional import quantize_4bit
    packed, state = quantize_4bit(weight.to(dtype), quant_type="nf4", compress_statistics=absmax_codes is not None)
    packed = packed.numpy().reshape(-1)
    theirs = np.stack([packed >> 4, packed & 15], axis=1).reshape(-1)[:codes.size]
    different = [int((theirs != codes).sum()), 0]
    if absmax_codes is not None:
        different[1] = int((state.absmax.numpy() != absmax_codes).sum())
    return different


def load_base(folder, spec, quant):
    """The model in fp32 as the base `quant` computes with it, and the differences from bitsandbytes."""
    if quant == "stored":
        return load_stored(folder), None
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    differences = [0, 0]
    for name in quantised_names(model) if quant != "dense" else []:
        p = model.get_submodule(name).weight
        values, codes, absmax_codes = nf4.round_trip(p.detach().numpy(), quant == "nf4")
        found = compare_with_bitsandbytes(p.detach(), DTYPES[spec["dtype"]], codes, absmax_codes)
        differences = [a + b for a, b in zip(differences, found)]
        p.data = torch.from_numpy(values)
    return model, differences


def load_stored(folder):
    """A folder that bitsandbytes quantised, decoded by hand."""
    config = transformers.AutoConfig.from_pretrained(folder)
    del config.quantization_config
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config).float()
    tensors = {}
    for file in sorted(Path(folder).glob("model*.safetensors")):
        tensors |= load_file(file)
    bits = {k: v.numpy() for k, v in tensors.items() if v.dtype in (torch.uint8, torch.float32)}
    state = {}
    for name, p in model.named_parameters():
        packed = tensors[name].dtype == torch.uint8
        state[name] = torch.from_numpy(nf4.decode_stored(bits, name)) if packed else tensors[name].float()
        assert state[name].shape == p.shape
    model.load_state_dict(state, strict=not config.tie_word_embeddings)
    model.tie_weights()
    return model


# ---------------------------------------------------------------- what is computed


def make_documents(vocab, seed):
    g = np.random.default_rng(seed)
    return [dict(ids=g.integers(0, vocab, n).tolist(), first_target=first) for n, first in LENGTHS]


def nll(model, document):
    """Sum of -log p over the targets, as a tensor in the model's dtype."""
    ids = torch.tensor([document["ids"]])
    logits = model(input_ids=ids, use_cache=False).logits[0, :-1]
    logp = torch.log_softmax(logits, dim=-1)[torch.arange(ids.shape[1] - 1), ids[0, 1:]]
    return -logp[document["first_target"] - 1:].double().sum()


@torch.no_grad()
def all_nll(model, documents):
    return [nll(model, d).item() for d in documents]


def targets(document):
    return len(document["ids"]) - document["first_target"]


def adapted(base, spec, adapter):
    """PEFT around `base`. `adapter`: the values to start from, or None to draw them."""
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear",
                                            use_rslora=spec.get("rslora", False), **LORA))
    g = torch.Generator().manual_seed(7)
    for name, p in trained(model):
        drawn = torch.randn(p.shape, generator=g) * (0.5 / math.sqrt(p.shape[1]))
        p.data = drawn if adapter is None else adapter[name].clone()
    return model


def trained(model):
    return [(n.replace(".default", ""), p) for n, p in model.named_parameters() if p.requires_grad]


def short(name):
    """base_model.model.model.layers.0.mlp.up_proj.lora_A.weight -> model.layers.0.mlp.up_proj.lora_A"""
    return name.removeprefix("base_model.model.").removesuffix(".weight")


def train(model, documents, epsilon):
    t = TRAINING
    parameters = [p for _, p in trained(model)]
    optimizer = torch.optim.AdamW(parameters, lr=t["learning_rate"], betas=(t["adam_beta1"], t["adam_beta2"]),
                                  eps=epsilon, weight_decay=t["weight_decay"], foreach=False, fused=False)
    scheduler = transformers.get_scheduler(t["lr_scheduler_type"], optimizer, t["warmup_steps"], t["max_steps"])
    steps = []
    for rows in STEPS:
        chosen = [documents[d] for r in rows for d in ROWS[r]]
        count = sum(targets(d) for d in chosen)
        optimizer.zero_grad()
        total = 0.0
        for d in chosen:
            loss = nll(model, d)
            (loss / count).backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(parameters, t["max_grad_norm"]).item()
        steps.append(dict(rows=rows, target_tokens=count, loss=total / count, grad_norm=norm,
                          learning_rate=scheduler.get_last_lr()[0]))
        optimizer.step()
        scheduler.step()
    return steps


def gradients(model, documents):
    """Of the summed loss of all rows."""
    model.zero_grad()
    for row in ROWS:
        for d in row:
            nll(model, documents[d]).backward()
    return {short(n): p.grad.numpy().copy() for n, p in trained(model)}


def expected_of(folder, spec, quant, documents, adapter):
    """Everything computed with one base: JSON part and tensors."""
    base, differences = load_base(folder, spec, quant)
    base.eval()
    result = dict(nll=all_nll(base, documents), nll_f64=all_nll(base.double(), documents))
    if differences is not None:
        result["codes_unlike_bitsandbytes_cpu"] = differences
    model = adapted(base.float(), spec, adapter)
    start = {n: p.detach().clone() for n, p in trained(model)}
    result["nll_adapter"] = all_nll(model, documents)
    tensors = {f"{quant}.grad.{n}": v for n, v in gradients(model, documents).items()}
    result["training"] = {}
    for epsilon in (1e-8, 1e-3):
        for n, p in trained(model):
            p.data = start[n].clone()
        result["training"][f"{epsilon:g}"] = train(model, documents, epsilon)
    tensors |= {f"{quant}.final.{short(n)}": p.detach().numpy().copy() for n, p in trained(model)}
    return result, tensors, model, start


def write_adapter(model, start, folder):
    for n, p in trained(model):
        p.data = start[n].clone()
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = None
    config["target_modules"].sort()  # a set in PEFT: its order is chance
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def write_json(path, value):
    """Indented, but every list of numbers on one line."""
    text = re.sub(r"\[[^\[\]{}]*\]", lambda m: "[" + " ".join(m[0][1:-1].split()) + "]", json.dumps(value, indent=1))
    path.write_text(text + "\n")


def make(name):
    spec, folder = MODELS[name], OUT / name
    write_folder(name, spec, folder)
    documents = make_documents(spec["config"]["vocab_size"], seed=len(name))
    cases = dict(documents=documents, rows=ROWS, lora={**LORA, "use_rslora": spec.get("rslora", False)},
                 training=TRAINING, bases={})
    tensors, start = {}, None
    for quant in spec["quants"]:
        cases["bases"][quant], more, model, start = expected_of(folder, spec, quant, documents, start)
        tensors |= more
    write_adapter(model, start, folder / "adapter")
    write_json(folder / "expected.json", cases)
    save_file(tensors, folder / "expected.safetensors", metadata={"format": "np"})
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    gap = max(abs(a - b) / abs(b) for v in cases["bases"].values() for a, b in zip(v["nll"], v["nll_f64"]))
    unlike = {q: v.get("codes_unlike_bitsandbytes_cpu") for q, v in cases["bases"].items()}
    print(f"{name}: {size // 1024} KiB; fp32 against fp64 {gap:.1e}; unlike bitsandbytes {unlike}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[])
    names = parser.parse_args().names or list(MODELS)
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    for name in names:
        make(name)
    import bitsandbytes
    import peft
    write_json(OUT / "versions.json", {m.__name__: m.__version__ for m in (torch, transformers, peft, bitsandbytes)}
               | {"python": sys.version.split()[0]})


if __name__ == "__main__":
    main()
