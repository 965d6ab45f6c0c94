#!/usr/bin/env python3
"""Makes random models of many shapes, with real tokenizers, for parity.py.

    tests/parity/make_models.py OUT [NAME ...]

The vocabularies are package data of llama-models (Llama 3, tiktoken form) and mistral-common (sentencepiece v1 and v3,
tekken); transformers converts the first kind, this script the others.
"""
import argparse
import base64
import json
import shutil
from importlib.resources import files
from pathlib import Path

import torch
import transformers
from sentencepiece import SentencePieceProcessor
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter

from oracle import golden

QWEN_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
              r"|\s*[\r\n]+|\s+(?!\S)|\s+")
# name -> architecture, tokenizer, dtype, shard size, how it is quantised when stored, configuration
MODELS = {
    "llama3-tied": ("Llama", "llama3", "bf16", None, None, dict(
        vocab_size=128256, hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=1, head_dim=16, tie_word_embeddings=True, max_position_embeddings=4096,
        rope_parameters=dict(rope_type="llama3", rope_theta=500000.0, factor=32.0, low_freq_factor=1.0,
                             high_freq_factor=4.0, original_max_position_embeddings=64))),
    "llama2-shards": ("Llama", "spm1", "f16", "2MB", None, dict(
        vocab_size=32000, hidden_size=72, intermediate_size=200, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=2048, rms_norm_eps=1e-5)),
    "llama-deep": ("Llama", "spm1", "f32", None, None, dict(
        vocab_size=32000, hidden_size=32, intermediate_size=48, num_hidden_layers=16, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=1024, attention_bias=True,
        rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0))),
    "mistral-window": ("Mistral", "spm3", "bf16", None, None, dict(
        vocab_size=32768, hidden_size=96, intermediate_size=224, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=2, head_dim=32, sliding_window=17, max_position_embeddings=4096)),
    "nemo": ("Mistral", "tekken", "bf16", "10MB", None, dict(
        vocab_size=131072, hidden_size=80, intermediate_size=144, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=40, sliding_window=None, max_position_embeddings=4096,
        rope_parameters=dict(rope_type="default", rope_theta=1000000.0))),
    "qwen2-padded": ("Qwen2", "qwen", "bf16", None, None, dict(
        vocab_size=128512, hidden_size=56, intermediate_size=152, num_hidden_layers=2, num_attention_heads=7,
        num_key_value_heads=1, tie_word_embeddings=True, max_position_embeddings=4096,
        rope_parameters=dict(rope_type="default", rope_theta=1000000.0))),
    "qwen2-window": ("Qwen2", "qwen", "f16", None, None, dict(
        vocab_size=128512, hidden_size=64, intermediate_size=96, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, use_sliding_window=True, sliding_window=20,
        max_window_layers=2)),
    "qwen3-wide": ("Qwen3", "qwen", "f32", None, None, dict(
        vocab_size=128512, hidden_size=48, intermediate_size=128, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, head_dim=128, max_position_embeddings=4096,
        rope_parameters=dict(rope_type="default", rope_theta=1000000.0))),
    "qwen3-bias": ("Qwen3", "qwen", "bf16", "9MB", None, dict(
        vocab_size=128512, hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=8,
        num_key_value_heads=4, head_dim=16, max_position_embeddings=4096, attention_bias=True,
        tie_word_embeddings=True)),
    "llama3-stored": ("Llama", "llama3", "bf16", "9MB", dict(bnb_4bit_quant_type="nf4", double=True), dict(
        vocab_size=128256, hidden_size=64, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096)),
    "qwen2-stored-single": ("Qwen2", "qwen", "f16", None, dict(bnb_4bit_quant_type="nf4", double=False), dict(
        vocab_size=128512, hidden_size=128, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, tie_word_embeddings=True)),
    "mistral-stored-fp4": ("Mistral", "spm3", "bf16", None, dict(bnb_4bit_quant_type="fp4", double=True), dict(
        vocab_size=32768, hidden_size=96, intermediate_size=224, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=3, sliding_window=33, max_position_embeddings=4096)),
}


# ---------------------------------------------------------------- tokenizers


def begin_with(tokenizer, bos):
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, tokenizer.token_to_id(bos))])


def llama3():
    special = ["<|begin_of_text|>", "<|end_of_text|>"] + [f"<|reserved_special_token_{i}|>" for i in range(254)]
    path = files("llama_models") / "llama3" / "tokenizer.model"
    tokenizer = TikTokenConverter(vocab_file=str(path), extra_special_tokens=special).converted()
    begin_with(tokenizer, special[0])
    return tokenizer, dict(bos_token=special[0], eos_token=special[1])


def qwen():
    """Llama 3's vocabulary under Qwen's regular expression, normalizer and missing bos."""
    path = files("llama_models") / "llama3" / "tokenizer.model"
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = TikTokenConverter(vocab_file=str(path), pattern=QWEN_SPLIT, extra_special_tokens=special).converted()
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer, dict(bos_token=None, eos_token=special[2], pad_token=special[0])


def sentencepiece(name):
    """As the Llama-2 and Mistral folders of 2023 have it; merges in the order of the scores."""
    model = SentencePieceProcessor(str(files("mistral_common") / "data" / name))
    piece = {model.id_to_piece(i): i for i in range(model.vocab_size())}
    merges = []
    for text, i in piece.items():
        if model.is_control(i) or model.is_byte(i) or model.is_unknown(i):
            continue
        local = [(text[:k], text[k:]) for k in range(1, len(text)) if text[:k] in piece and text[k:] in piece]
        merges += [(-model.get_score(i), i, (piece[a], piece[b]), (a, b)) for a, b in local]
    merges = [pair for *_, pair in sorted(merges)]
    tokenizer = Tokenizer(models.BPE(piece, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ("<unk>", "<s>", "</s>")])
    begin_with(tokenizer, "<s>")
    return tokenizer, dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>")


class Tekken(TikTokenConverter):
    """tekken.json: tokens in base64, ranks after a thousand special tokens."""

    def load_tiktoken_bpe(self, path):
        self.raw = json.loads(Path(path).read_text())
        config = self.raw["config"]
        kept = config["default_vocab_size"] - config["default_num_special_tokens"]
        return {base64.b64decode(t["token_bytes"]): t["rank"] for t in self.raw["vocab"][:kept]}

    def extract_vocab_merges_from_model(self, path):
        vocab, merges = super().extract_vocab_merges_from_model(path)
        shift = self.raw["config"]["default_num_special_tokens"]
        vocab = {t: i + shift for t, i in vocab.items()}
        self.special = ["<unk>", "<s>", "</s>"] + [f"<SPECIAL_{i}>" for i in range(3, shift)]
        return vocab | {t: i for i, t in enumerate(self.special)}, merges


def tekken():
    path = str(files("mistral_common") / "data" / "tekken_240911.json")
    pattern = json.loads(Path(path).read_text())["config"]["pattern"]
    converter = Tekken(vocab_file=path, pattern=pattern)
    tokenizer = converter.converted()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in converter.special])
    begin_with(tokenizer, "<s>")
    return tokenizer, dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>")


TOKENIZERS = {"llama3": llama3, "qwen": qwen, "tekken": tekken, "spm1": lambda: sentencepiece("tokenizer.model.v1"),
              "spm3": lambda: sentencepiece("mistral_instruct_tokenizer_240323.model.v3")}


# ---------------------------------------------------------------- models


def store_quantised(folder, how, shards):
    quantisation = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=how["bnb_4bit_quant_type"],
                                      bnb_4bit_use_double_quant=how["double"], bnb_4bit_compute_dtype=torch.bfloat16)
    model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=quantisation, device_map="cpu")
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    model.save_pretrained(folder, max_shard_size=shards or "1GB")


def make(name, folder):
    arch, tokenizer, dtype, shards, stored, config = MODELS[name]
    shutil.rmtree(folder, ignore_errors=True)
    model = AutoModelForCausalLM.from_config(getattr(transformers, arch + "Config")(**config))
    golden.randomise(model, seed=sum(name.encode()))
    model.get_input_embeddings().weight.data *= 0.3  # a tied head then gives no logits of hundreds
    model.to(golden.DTYPES[dtype]).save_pretrained(folder, max_shard_size=shards or "1GB")
    if stored:
        store_quantised(folder, stored, shards)
    backend, special = TOKENIZERS[tokenizer]()
    PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained(folder)
    print(name, sum(f.stat().st_size for f in folder.iterdir()) // 2**20, "MiB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for name in args.names or MODELS:
        make(name, args.out / name)


if __name__ == "__main__":
    main()
