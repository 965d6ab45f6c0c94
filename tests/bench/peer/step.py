"""Training steps of transformers + PEFT in one setting. Started by bench_peer.py; see run_peer in common.py."""
import json
import sys
import time
import warnings

import torch
import transformers
from common import peak_memory
from peft import LoraConfig, get_peft_model
from transformers import BitsAndBytesConfig, LlamaForCausalLM

transformers.utils.logging.disable_progress_bar()
warnings.simplefilter("ignore", FutureWarning)


def load(request, dtype):
    """The base in 4 bits as we have it, or as it lies on disk."""
    options = {"dtype": dtype, "attn_implementation": "sdpa"}
    if request["base"] == "4bit":
        options["device_map"] = "cpu"
        options["quantization_config"] = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
                                                            bnb_4bit_compute_dtype=dtype)
    return LlamaForCausalLM.from_pretrained(request["model"], **options)


def prepare(model, request, dtype):
    if request["checkpointing"]:
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules="all-linear", task_type="CAUSAL_LM"))
    model.config.use_cache = False
    trained = [p for p in model.parameters() if p.requires_grad]
    for p in trained:
        p.data = p.data.to(dtype)  # bf16: as TRL has it; faster than fp32 adapters
    return model.train(), trained


def step(model, trained, optimiser, ids):
    start = time.perf_counter()
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimiser.step()
    optimiser.zero_grad()
    return time.perf_counter() - start, loss.item()


def main():
    request = json.loads(sys.argv[1])
    after_imports = peak_memory()
    torch.set_num_threads(request["threads"])
    torch.manual_seed(0)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[request["dtype"]]
    model, trained = prepare(load(request, dtype), request, dtype)
    optimiser = torch.optim.AdamW(trained, lr=2e-4)
    ids = torch.randint(0, model.config.vocab_size, (request["rows"], request["tokens"]))
    step(model, trained, optimiser, ids)  # not counted
    steps = [step(model, trained, optimiser, ids) for _ in range(request["steps"])]
    linear = type(model.get_base_model().model.layers[0].mlp.up_proj.base_layer)
    print(json.dumps({"seconds": [s for s, _ in steps], "loss": steps[-1][1], "peak": peak_memory(), "after_imports": after_imports,
                      "linear": f"{linear.__module__.split('.')[0]} {linear.__name__}", "attention": model.config._attn_implementation,
                      "threads": torch.get_num_threads(), "capability": torch.backends.cpu.get_cpu_capability()}))


main()
