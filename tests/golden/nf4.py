"""The NF4 quantiser of bitsandbytes' CUDA path in numpy, and the way back.

bitsandbytes itself, on a CPU, decodes some shapes wrongly (AVX-512 kernels, in_features a multiple of 16 but not of 64)
and rounds 8-bit absmax by a table; so the golden files use this module, and models.py counts where the two differ.
"""
import numpy as np

BLOCK, NESTED_BLOCK = 64, 256
CODE = np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
                 -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
                 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                 0.7229568362236023, 1.0], np.float32)
# Borders between neighbouring codes; a value must lie strictly above one to take the upper code.
THRESHOLDS = np.array([0xbf591cd9, 0xbf1c5270, 0xbeeb8480, 0xbeadea76, 0xbe703cec, 0xbe0d38bc, 0xbd3a7871, 0x3d22faff,
                       0x3df64863, 0x3e5067e0, 0x3e9582d4, 0x3ec753f9, 0x3f006d03, 0x3f248daf, 0x3f5c89d9],
                      np.uint32).view(np.float32)


def dynamic_map():
    """create_dynamic_map(signed=True): 256 ascending values."""
    from bitsandbytes.functional import create_dynamic_map
    return create_dynamic_map(signed=True).numpy().astype(np.float32)


def blocks_of(flat, size):
    padded = np.zeros(-(-flat.size // size) * size, np.float32)
    padded[:flat.size] = flat
    return padded.reshape(-1, size)


def codes_and_absmax(weight):
    blocks = blocks_of(weight.reshape(-1).astype(np.float32), BLOCK)
    absmax = np.abs(blocks).max(axis=1)
    scaled = blocks * (np.float32(1) / absmax)[:, None]
    return np.searchsorted(THRESHOLDS, scaled, side="left").reshape(-1)[:weight.size], absmax


def nested(absmax):
    """absmax -> 8 bits -> fp32 again: (rounded absmax, codes)."""
    table = dynamic_map()
    offset = np.float32(absmax.mean(dtype=np.float64))
    blocks = blocks_of(absmax - offset, NESTED_BLOCK)
    top = np.abs(blocks).max(axis=1)
    scaled = blocks * (np.float32(1) / top)[:, None]
    middle = (table[1:] + table[:-1]) * np.float32(0.5)
    low, high = np.searchsorted(middle, scaled, side="left"), np.searchsorted(middle, scaled, side="right")
    codes = np.where(low % 2 == 0, low, high)  # a tie goes to the even index
    again = (table[codes] * top[:, None]).reshape(-1)[:absmax.size] + offset
    return again.astype(np.float32), codes.reshape(-1)[:absmax.size]


def round_trip(weight, double_quant):
    """The matrix as the 4-bit base computes with it, in fp32, and the codes."""
    codes, absmax = codes_and_absmax(weight)
    absmax_codes = None
    if double_quant:
        absmax, absmax_codes = nested(absmax)
    values = CODE[codes] * np.repeat(absmax, BLOCK)[:weight.size]
    return values.reshape(weight.shape).astype(np.float32), codes, absmax_codes


def decode_stored(tensors, name):
    """The fp32 matrix of a pre-quantised folder: `tensors` maps names to numpy arrays."""
    import json
    state = json.loads(bytes(next(v for k, v in tensors.items()
                                  if k.startswith(name + ".quant_state.bitsandbytes__"))).decode())
    packed = tensors[name].reshape(-1)
    codes = np.stack([packed >> 4, packed & 15], axis=1).reshape(-1)
    count = int(np.prod(state["shape"]))
    absmax = tensors[name + ".absmax"]
    if "nested_absmax" in "".join(k[len(name):] for k in tensors if k.startswith(name + ".")):
        top = np.repeat(tensors[name + ".nested_absmax"], state["nested_blocksize"])[:absmax.size]
        absmax = tensors[name + ".nested_quant_map"][absmax] * top + np.float32(state["nested_offset"])
    values = tensors[name + ".quant_map"][codes[:count]] * np.repeat(absmax, state["blocksize"])[:count]
    return values.reshape(state["shape"]).astype(np.float32)
