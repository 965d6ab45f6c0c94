"""Golden files for 4-bit quantisation, made by bitsandbytes; where its CPU code is known to differ
from its CUDA code, by the CUDA rules written out in NumPy, after checking that the two agree
elsewhere. Run by hand: python tests/golden/quant.py; writes tests/golden/data/quant/."""
import os
import shutil

import bitsandbytes
import numpy as np
import safetensors
import torch
import transformers
from bitsandbytes.functional import create_dynamic_map, quantize_4bit, quantize_blockwise
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
from safetensors.torch import save_file
from transformers import BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "quant")
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}

# Decimal literals of csrc/kernels.cu.
NF4_STEPS = [-0.8480964004993439, -0.6106329262256622, -0.4599952697753906, -0.33967943489551544,
             -0.23460740596055984, -0.13791173323988914, -0.045525018125772476, 0.03979014977812767,
             0.1202552504837513, 0.2035212516784668, 0.2920137718319893, 0.3893125355243683,
             0.5016634166240692, 0.6427869200706482, 0.8614784178118011]
FP4_STEPS = [0.00260417, 0.0859375, 0.20833333, 0.29166667, 0.4166667, 0.583333, 0.8333333]
FP4_ORDER = np.array([0, 1, 6, 7, 4, 5, 2, 3], dtype=np.uint8)


def cuda_codes(kind, x):
    """4-bit codes of scaled values; NaN counts as smaller than everything."""
    if kind == "nf4":
        return (x[:, None] > np.float32(NF4_STEPS)).sum(axis=1).astype(np.uint8)
    rank = (np.abs(x)[:, None] > np.float32(FP4_STEPS)).sum(axis=1)
    return FP4_ORDER[rank] | np.where(x < 0, 8, 0).astype(np.uint8)


def cuda_quantize(kind, x, blocksize):
    """x: float32, flat. Returns packed bytes and block maxima."""
    codes, maxima = [], []
    for first in range(0, len(x), blocksize):
        block = x[first:first + blocksize]
        if len(block) % 2:
            block = np.append(block, np.float32(0))
        maximum = np.abs(block).max()
        with np.errstate(all="ignore"):
            codes.append(cuda_codes(kind, block * (np.float32(1) / maximum)))
        maxima.append(maximum)
    c = np.concatenate(codes)
    return (c[0::2] << 4) | c[1::2], np.array(maxima, dtype=np.float32)


def dynamic_code(x, table):
    """The binary search of dQuantize, one value."""
    pivot, lower, upper = 127, 0, 255
    step = 64
    while step:
        if x > table[pivot]:
            lower, pivot = pivot, pivot + step
        else:
            upper, pivot = pivot, pivot - step
        step //= 2
    half = np.float32(0.5)
    if x > table[pivot]:
        return upper if x > (table[upper] + table[pivot]) * half else pivot
    return lower if x < (table[lower] + table[pivot]) * half else pivot


def nested_quantize(maxima, table):
    total = 0.0
    for m in maxima:
        total += float(m)
    offset = np.float32(total / len(maxima))
    rest = maxima - offset
    codes, scales = [], []
    for first in range(0, len(rest), 256):
        block = rest[first:first + 256]
        scale = np.abs(block).max()
        with np.errstate(all="ignore"):
            codes += [dynamic_code(v, table) for v in block * (np.float32(1) / scale)]
        scales.append(scale)
    return np.array(codes, dtype=np.uint8), np.array(scales, dtype=np.float32), offset


def blocks(tensors):
    """Every type, dtype and awkward size; one block of zeros in each long one."""
    generator = torch.Generator().manual_seed(7)
    for kind in ("nf4", "fp4"):
        for dtype, size, blocksize in [("f32", 1, 64), ("f32", 63, 64), ("f32", 1000, 64), ("f32", 4097, 4096),
                                       ("bf16", 4 * 64, 64), ("bf16", 1025, 64), ("bf16", 777, 128),
                                       ("f16", 65, 64), ("f16", 1026, 64), ("f16", 500, 256)]:
            x = (torch.randn(size, generator=generator) * 0.02).to(DTYPES[dtype])
            if size > 3 * blocksize:
                x[blocksize:2 * blocksize] = 0
            packed, maxima = cuda_quantize(kind, x.float().numpy(), blocksize)
            theirs, state = quantize_4bit(x, blocksize=blocksize, quant_type=kind)
            theirs = theirs.reshape(-1).numpy()
            assert np.array_equal(state.absmax.numpy(), maxima), (kind, dtype, size)
            zero = np.zeros(len(theirs), dtype=bool)
            for i in np.flatnonzero(maxima == 0):
                zero[i * blocksize // 2:(i + 1) * blocksize // 2] = True
            differ = ((theirs != packed) & ~zero).mean()
            assert differ == 0 if kind == "nf4" else differ < 0.05, (kind, dtype, size, differ)
            name = f"{kind}.{dtype}.{size}.{blocksize}"
            tensors[name + ".x"] = x
            tensors[name + ".packed"] = torch.from_numpy(packed)
            tensors[name + ".absmax"] = torch.from_numpy(maxima)


def nested(tensors):
    table = create_dynamic_map()
    tensors["dynamic_map"] = table.clone()
    generator = torch.Generator().manual_seed(8)
    for size in (1, 255, 256, 700):
        maxima = torch.randn(size, generator=generator).abs() * 0.02 + 0.05
        q, scales, offset = nested_quantize(maxima.numpy(), table.numpy())
        theirs, _ = quantize_blockwise(maxima - torch.tensor(offset), code=table, blocksize=256)
        assert size == 1 or (theirs.numpy() != q).mean() < 0.01, size
        tensors[f"nested.{size}.absmax"] = maxima
        tensors[f"nested.{size}.q"] = torch.from_numpy(q)
        tensors[f"nested.{size}.scales"] = torch.from_numpy(scales)
        tensors[f"nested.{size}.offset"] = torch.tensor([offset])
    tensors["nested.equal.absmax"] = torch.full((5,), 0.125)  # all differences are zero: NaN after scaling
    tensors["nested.equal.q"] = torch.zeros(5, dtype=torch.uint8)


def decoded(state, packed):
    """float32 values; not through the CPU kernel, which is wrong for some row lengths."""
    maxima = state.absmax
    if state.nested:
        blocks_of = state.state2.absmax.repeat_interleave(state.state2.blocksize)[:maxima.numel()]
        maxima = state.state2.code[maxima.long()] * blocks_of + state.offset
    return _dequantize_4bit_compute(packed.reshape(-1), maxima, state.code, state.blocksize, state.shape, torch.float32)


def folders():
    """What transformers saves after load_in_4bit, and the values that it stands for."""
    torch.manual_seed(9)
    config = LlamaConfig(hidden_size=20, intermediate_size=27, num_hidden_layers=1, num_attention_heads=2,
                         num_key_value_heads=1, vocab_size=16)
    plain = os.path.join(OUT, "plain")
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(plain)
    for name, kind, double, dtype in [("nf4_double", "nf4", True, torch.bfloat16), ("fp4_single", "fp4", False, torch.float16)]:
        quantization = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=double,
                                          bnb_4bit_compute_dtype=dtype)
        model = LlamaForCausalLM.from_pretrained(plain, dtype=dtype, quantization_config=quantization)
        folder = os.path.join(OUT, name)
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder)
        os.remove(os.path.join(folder, "generation_config.json"))
        expected = {n: decoded(p.quant_state, p.data) for n, p in model.named_parameters()
                    if isinstance(p, bitsandbytes.nn.Params4bit)}
        assert len(expected) == 7
        save_file(expected, os.path.join(folder, "expected.safetensors"), {"format": "pt"})


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    tensors = {}
    blocks(tensors)
    nested(tensors)
    save_file(tensors, os.path.join(OUT, "quant.safetensors"), {"format": "pt"})
    mixed = {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3), "a.long": torch.arange(3),
             "half": torch.tensor([1.5, -2.0], dtype=torch.float16), "brain": torch.tensor([[3.0], [4.0]], dtype=torch.bfloat16),
             "byte": torch.tensor([1, 2, 3], dtype=torch.uint8), "signed": torch.tensor([-1], dtype=torch.int8),
             "double": torch.tensor([0.1], dtype=torch.float64), "int": torch.tensor([7, 8], dtype=torch.int32),
             "z\"quoted\\n\u00e9": torch.tensor([1.0, 2.0]), "b.float": torch.tensor([5.0])}
    save_file(mixed, os.path.join(OUT, "mixed.safetensors"), {"format": "pt"})
    folders()
    with open(os.path.join(OUT, "VERSIONS"), "w") as f:
        for module in (bitsandbytes, torch, transformers, safetensors, np):
            f.write(f"{module.__name__} {module.__version__}\n")


main()
