"""A training step of transformers + PEFT beside one of ours, alternating on the same machine.

    python -m venv venv && venv/bin/pip install torch transformers peft
    venv/bin/python tests/bench/bench_peer.py build/bin/bench_step [ROUNDS]

Shape of SmolLM-135M, 2 rows of 1024 tokens, LoRA r 16 on all linear layers, dropout 0.05, fp32 arithmetic, all threads of the machine. The
peer's base is in fp32 (4-bit decoding, which we do, would come on top of it); its two settings are with and without gradient checkpointing.
Prints tokens per second of each and the ratio to the faster setting of the peer.
"""
import os
import re
import resource
import subprocess
import sys
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

ROWS, TOKENS = 2, 1024


def make_peer(checkpointing):
    torch.manual_seed(0)
    config = LlamaConfig(hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, intermediate_size=1536,
                         vocab_size=49152, tie_word_embeddings=True, max_position_embeddings=2048)
    model = LlamaForCausalLM(config)
    if checkpointing:
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules="all-linear"))
    model.train()
    model.config.use_cache = False
    return model, torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=2e-4)


def peer_step(model, optimiser, ids):
    start = time.perf_counter()
    model(input_ids=ids, labels=ids).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()
    return ROWS * TOKENS / (time.perf_counter() - start)


def our_step(program):
    out = subprocess.run([program, "135m", str(ROWS), str(TOKENS), "0", "2"], capture_output=True, text=True, check=True,
                         env={**os.environ, "OMP_WAIT_POLICY": "passive"}).stdout
    return float(re.search(r"best ([0-9.]+)\), loss", out).group(1))


def main():
    program, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2
    ids = torch.randint(0, 49152, (ROWS, TOKENS))
    best = {"ours": 0.0, "peer, no checkpointing": 0.0, "peer, checkpointing": 0.0}
    for _ in range(rounds):
        best["ours"] = max(best["ours"], our_step(program))
        for checkpointing, name in ((False, "peer, no checkpointing"), (True, "peer, checkpointing")):
            model, optimiser = make_peer(checkpointing)
            for _ in range(2):
                best[name] = max(best[name], peer_step(model, optimiser, ids))
            del model, optimiser
    for name, speed in best.items():
        print(f"{name:26} {speed:8.1f} tokens/s")
    print(f"ratio {best['ours'] / max(best['peer, no checkpointing'], best['peer, checkpointing']):.2f}, "
          f"peer's peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB, torch {torch.__version__}")


main()
