"""A training step of an 8B shape by transformers and PEFT on a GPU, for comparison with gpu_bench_step:

  python3 tests/bench/bench_gpu_peer.py [ROWS, default 2] [TOKENS, default 2048]

LoRA r 16 on all linear layers, dropout 0.05, bf16, SDPA attention, fused AdamW, random weights. The base is in bf16, not in
4 bits: decoding is left out, so the Hugging Face QLoRA is slower than what this prints. With and without gradient checkpointing.
"""
import sys
import time

import peft
import torch
import transformers


def make_model(checkpointing):
    config = transformers.LlamaConfig(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
                                      num_key_value_heads=8, vocab_size=128256, max_position_embeddings=8192,
                                      attn_implementation="sdpa", use_cache=False)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = transformers.LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    lora = peft.LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules="all-linear", task_type="CAUSAL_LM")
    return peft.get_peft_model(model, lora).train()


def measure(rows, tokens, checkpointing):
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    model = make_model(checkpointing)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=2e-4, fused=True)
    ids = torch.randint(0, 128256, (rows, tokens), device="cuda")
    seconds = []
    for _ in range(6):
        torch.cuda.synchronize()
        start = time.perf_counter()
        model(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    best = min(seconds[1:])
    print(f"{rows} x {tokens}, checkpointing {'on' if checkpointing else 'off'}: {best:.3f} s a step (best of 5), "
          f"{rows * tokens / best:.1f} tokens/s, peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB allocated", flush=True)


def main():
    rows, tokens = (int(a) for a in (sys.argv[1:] + ["2", "2048"][len(sys.argv) - 1:])[:2])
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}")
    for checkpointing in (False, True):
        try:
            measure(rows, tokens, checkpointing)
        except torch.cuda.OutOfMemoryError:
            print(f"{rows} x {tokens}, checkpointing {'on' if checkpointing else 'off'}: out of memory")


if __name__ == "__main__":
    main()
