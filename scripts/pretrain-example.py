#!/usr/bin/env python3
"""Pre-trains the example model in examples/model. Run by hand; nothing in the build or the tests needs it.

It reads four Debian packages, unpacked but not installed, and two record files of LLaMA-Factory:

    apt-get download wordnet-base r-cran-janeaustenr dict-jargon dict-devil
    for f in *.deb; do dpkg -x "$f" texts; done
    scripts/pretrain-example.py --texts texts --records alpaca_en_demo.json dpo_en_demo.json --work work tokenizer
    scripts/pretrain-example.py --texts texts --records alpaca_en_demo.json dpo_en_demo.json --work work train
    scripts/pretrain-example.py --work work export --out examples/model

Made with Python 3.11, torch 2.15.0, transformers 5.23.0, tokenizers 0.23.3. Sources and licences are listed in
examples/README.md. No text in the notation of gsm8k is read: the demonstration
fine-tunes on that.
"""
import argparse
import gzip
import json
import math
import os
import re
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM

VOCAB = 2048
CONTEXT = 512
BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
LLAMA3_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+")
# Share of the training tokens drawn from each source.
WEIGHTS = {"austen": 0.32, "wordnet": 0.32, "jargon": 0.12, "devil": 0.04, "records": 0.20}


# ---------------------------------------------------------------- sources: lists of documents


def r_strings(blob):
    """The longest character vector in a serialised R object (XDR format)."""
    best = []
    for found in re.finditer(rb"\x00\x00\x00\x10(?=\x00)", blob):
        at = found.end()
        count = struct.unpack_from(">i", blob, at)[0]
        at += 4
        strings = []
        while len(strings) < count and at + 8 <= len(blob):
            flags, length = struct.unpack_from(">Ii", blob, at)
            if flags & 0xFF != 9 or not 0 <= length <= len(blob) - at - 8:
                break
            strings.append(blob[at + 8:at + 8 + length].decode("utf-8", "replace"))
            at += 8 + length
        if len(strings) == count and count > len(best):
            best = strings
    return best


def austen(texts):
    """Six novels, out of R's lazy-load database: chunks of a length and a zlib stream."""
    rest = (texts / "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb").read_bytes()
    novels = []
    while len(rest) > 4:
        stream = zlib.decompressobj()
        blob = stream.decompress(rest[4:])
        rest = stream.unused_data
        lines = r_strings(blob)
        if len(lines) > 1000:
            novels.append(re.split(r"\n\s*\n", "\n".join(lines)))
    assert len(novels) == 6, len(novels)
    documents = []
    for paragraphs in novels:
        flowing = [" ".join(p.split()) for p in paragraphs if p.strip()]
        documents += ["\n".join(flowing[i:i + 40]) for i in range(0, len(flowing), 40)]
    return documents


def wordnet(texts):
    kind = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective", "r": "adverb"}
    documents = []
    for part in ("noun", "verb", "adj", "adv"):
        for line in (texts / f"usr/share/wordnet/data.{part}").read_text().splitlines():
            if line.startswith("  "):
                continue
            data, gloss = line.split(" | ", 1)
            field = data.split()
            words = [field[4 + 2 * i].split("(")[0].replace("_", " ") for i in range(int(field[3], 16))]
            documents.append(f"{', '.join(words[:3])} ({kind[field[2]]}): {' '.join(gloss.split())}.")
    return documents


def dictionary(path):
    """A dictd file: entries begin in the first column, their text is indented or follows."""
    text = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
    entries = re.split(r"\n\s*\n(?=\S)", text)
    return ["\n".join(" ".join(p.split()) for p in re.split(r"\n\s*\n", e)) for e in entries if len(e) > 60]


def records(paths):
    """Instructions and answers; what resembles the notation of gsm8k is left out."""
    documents = []
    for path in paths:
        for r in json.loads(Path(path).read_text()):
            if "instruction" in r:
                parts = [r["instruction"], r["input"], r["output"]]
            else:
                parts = [t["value"] for t in r["conversations"]] + [r["chosen"]["value"]]
            text = "\n".join(p.strip() for p in parts if p.strip())
            if "####" not in text and "<<" not in text and sum(c > "\u2100" for c in text) < 5:
                documents.append(text)
    return documents


def all_sources(args):
    dictd = args.texts / "usr/share/dictd"
    return {"austen": austen(args.texts), "wordnet": wordnet(args.texts),
            "jargon": dictionary(dictd / "jargon.dict.dz"), "devil": dictionary(dictd / "devil.dict.dz"),
            "records": records(args.records)}


# ---------------------------------------------------------------- tokenizer and token streams


def make_tokenizer(sources, rng):
    """Byte-level BPE as Llama 3 has it, trained on 6 MB drawn by WEIGHTS."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3_SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    sample = []
    for name, documents in sources.items():
        room = int(6e6 * WEIGHTS[name])
        for i in rng.permutation(len(documents)):
            sample.append(documents[i])
            room -= len(documents[i])
            if room < 0:
                break
    special = [AddedToken(t, special=True, normalized=False) for t in (BOS, EOS)]
    tokenizer.train_from_iterator(sample, trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1", special_tokens=[(BOS, 0), (EOS, 1)])
    return tokenizer


def tokenizer_command(args):
    rng = np.random.default_rng(1)
    sources = all_sources(args)
    tokenizer = make_tokenizer(sources, rng)
    args.work.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(args.work / "tokenizer.json"), pretty=False)
    for name, documents in sources.items():
        encoded = [e.ids + [1] for e in tokenizer.encode_batch(documents)]
        order = rng.permutation(len(encoded))
        held = order[:max(1, len(order) // 50)]
        kept = order[max(1, len(order) // 50):]
        for part, chosen in (("train", kept), ("held", held)):
            np.save(args.work / f"{name}.{part}.npy", np.concatenate([encoded[i] for i in chosen]).astype(np.uint16))
        characters = sum(map(len, documents))
        print(f"{name}: {len(documents)} documents, {characters} characters, {sum(map(len, encoded))} tokens")


# ---------------------------------------------------------------- training


def config():
    return LlamaConfig(vocab_size=VOCAB, hidden_size=192, intermediate_size=320, num_hidden_layers=5,
                       num_attention_heads=6, num_key_value_heads=3, head_dim=32, max_position_embeddings=CONTEXT,
                       rms_norm_eps=1e-5, tie_word_embeddings=True, bos_token_id=0, eos_token_id=1,
                       rope_parameters={"rope_type": "default", "rope_theta": 10000.0})


def draw(streams, rng, rows, length):
    names = list(streams)
    chosen = rng.choice(len(names), size=rows, p=[WEIGHTS[n] for n in names])
    out = np.empty((rows, length), dtype=np.int64)
    for i, c in enumerate(chosen):
        stream = streams[names[c]]
        at = rng.integers(0, len(stream) - length)
        out[i] = stream[at:at + length]
    return torch.from_numpy(out)


def loss_of(model, ids):
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(input_ids=ids, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten())


@torch.no_grad()
def held_out_loss(model, held):
    model.eval()
    result = {}
    for name, stream in held.items():
        rows = min(16, (len(stream) - 1) // 256)
        ids = torch.from_numpy(stream[:rows * 256].astype(np.int64)).view(rows, 256)
        result[name] = round(loss_of(model, ids).item(), 4)
    model.train()
    return result


def optimizer_of(model):
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() == 1]
    return torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
                             lr=0.0, betas=(0.9, 0.95))


def learning_rate(done, peak=3e-3, warm=0.02):
    if done < warm:
        return peak * done / warm
    return peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (done - warm) / (1 - warm))))


def train_command(args):
    """One thread; ends after --steps steps or --minutes, whichever is first: the schedule follows both."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    rng = np.random.default_rng(2)
    load = lambda part: {n: np.load(args.work / f"{n}.{part}.npy") for n in WEIGHTS}
    streams, held = load("train"), load("held")
    model = LlamaForCausalLM(config()).train()
    optimizer = optimizer_of(model)
    begin = time.time()
    for step in range(args.steps):
        done = max(step / args.steps, (time.time() - begin) / (60 * args.minutes))
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(done)
        # Short rows first: they are cheaper; the end teaches the whole context.
        ids = draw(streams, rng, 16, 257) if done < 0.75 else draw(streams, rng, 8, CONTEXT + 1)
        loss = loss_of(model, ids)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 250 == 249:
            print(json.dumps({"step": step + 1, "done": round(done, 3), "seconds": int(time.time() - begin),
                              "loss": round(loss.item(), 4), "held": held_out_loss(model, held)}), flush=True)
            save(model, args.work)
    save(model, args.work)
    print(json.dumps({"steps": step + 1, "held": held_out_loss(model, held)}), flush=True)


def save(model, work):
    torch.save(model.state_dict(), work / "state.tmp")
    os.replace(work / "state.tmp", work / "state.pt")


# ---------------------------------------------------------------- export


def export_command(args):
    model = LlamaForCausalLM(config())
    model.load_state_dict(torch.load(args.work / "state.pt"))
    held = {n: np.load(args.work / f"{n}.held.npy") for n in WEIGHTS}
    print("held-out loss:", held_out_loss(model, held))
    model.to(torch.bfloat16).save_pretrained(args.out)
    (args.out / "generation_config.json").unlink(missing_ok=True)
    (args.out / "model.safetensors").chmod(0o644)
    (args.out / "tokenizer.json").write_bytes((args.work / "tokenizer.json").read_bytes())
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BOS, "eos_token": EOS,
                "model_max_length": CONTEXT, "clean_up_tokenization_spaces": False}
    (args.out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, help="folder into which the packages were unpacked")
    parser.add_argument("--records", nargs="*", default=[], help="alpaca_en_demo.json, dpo_en_demo.json")
    parser.add_argument("--work", type=Path, required=True)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("tokenizer").set_defaults(run=tokenizer_command)
    train = commands.add_parser("train")
    train.add_argument("--steps", type=int, default=8000)
    train.add_argument("--minutes", type=float, default=50)
    train.set_defaults(run=train_command)
    export = commands.add_parser("export")
    export.add_argument("--out", type=Path, required=True)
    export.set_defaults(run=export_command)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
