"""usage: audit_of_packages.py WORKER
The audit over good conversations with every chat template of the installed package trl, each with a tokenizer that has the special
tokens of its template: whatever it finds is a false alarm, but for what is listed in TRUE. Ends with 77 when trl is not there."""
import glob
import importlib.util
import json
import os
import re
import struct
import subprocess
import sys
import tempfile

try:
    packages = importlib.util.find_spec("trl").submodule_search_locations
except Exception as e:
    print("skipped: the package trl is not there:", e)
    sys.exit(77)

VISION = {"system-lost", "text-lost"}  # they write contents only that are lists of parts
OPEN = {"end-missing", "end-untrained"}  # they end no turn
TRUE = {"idefics3": VISION, "idefics3_training": VISION, "smolvlm": VISION, "smolvlm_training": VISION, "glm4moe": OPEN}
ALLOWED = {"clock", "duplicate", "thinking-lost"}  # notes; duplicates come of what vision templates lose
NAME = r"[a-zA-Z0-9_\-]+"
SPECIAL = rf"<\|{NAME}\|>|<\|{NAME}>|<{NAME}\|>|<\uff5c[^\uff5c<>]+\uff5c>|<(?:start|end)_of_\w+>|\[/?[A-Z_]+\]|\[gMASK\]|<sop>"
END = r"end(?!_header)|eot|eom|eos|</s>|return|call\||END|<turn\|>|user\|"


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


def conversations():
    """Plain ones, and those with thoughts."""
    for i in range(10):
        system = [turn("system", f"You are helper number {i}.\nBe kind.")] if i % 2 else []
        more = [turn("user", "Are you sure?"), turn("assistant", "Yes,\n\n  quite.")] if i % 3 == 0 else []
        yield {"messages": system + [turn("user", f"  What is {i} + {i}?\n"), turn("assistant", f"It is {2 * i}. \n")] + more}


def thoughts():
    for i in range(4):
        yield {"messages": [turn("user", f"Q{i}?"), turn("assistant", f"<think>\nfirst {i}\n</think>\n\nA{i}."), turn("user", f"R{i}?"),
                            turn("assistant", f"B{i}.", reasoning_content=f"deep {i}")]}


def bytes_of_gpt2():
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in plain] + [chr(256 + n) for n in range(256 - len(plain))]


def write(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        f.write(value if isinstance(value, str) else json.dumps(value))


def write_tokenizer(folder, template):
    """All bytes, and the special tokens. Returns how many ids there are."""
    names = list(dict.fromkeys(["<s>", "</s>", "<pad>", "<bos>", "<eos>"] + sorted(set(re.findall(SPECIAL, template)))))
    added = [{"id": 256 + i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for i, t in enumerate(names)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    write(folder, "tokenizer.json", {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None, "pre_tokenizer": byte_level,
        "post_processor": None, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
                  "byte_fallback": False, "vocab": {c: i for i, c in enumerate(bytes_of_gpt2())}, "merges": []}})
    write(folder, "tokenizer_config.json", {"bos_token": "<s>", "eos_token": "</s>"})
    write(folder, "generation_config.json", {"eos_token_id": [a["id"] for a in added if re.search(END, a["content"])]})
    return 256 + len(names)


def write_model(folder, vocabulary):
    """One layer of zeros."""
    write(folder, "config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "vocab_size": vocabulary, "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": True, "hidden_act": "silu"})
    layer = "model.layers.0."
    shapes = {"model.embed_tokens": [vocabulary, 64], "model.norm": [64], layer + "input_layernorm": [64], layer + "post_attention_layernorm": [64],
              layer + "self_attn.q_proj": [64, 64], layer + "self_attn.k_proj": [32, 64], layer + "self_attn.v_proj": [32, 64],
              layer + "self_attn.o_proj": [64, 64], layer + "mlp.gate_proj": [128, 64], layer + "mlp.up_proj": [128, 64], layer + "mlp.down_proj": [64, 128]}
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name + ".weight"] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.truncate(8 + len(text) + at)


def findings(worker, folder, data):
    """Names of checks; None where the template refuses such conversations."""
    run = subprocess.run([worker, "--threads", "1", "--check", "--json", "config.yaml", f"model_name_or_path={folder}", f"dataset={data}"],
                         capture_output=True, text=True)
    if not run.stdout and re.search("chat template cannot|cannot be told|chat template fails", run.stderr):
        return None
    try:
        return {f["check"]: f["what"] for f in json.loads(run.stdout)["findings"]}
    except ValueError:
        return {"failed": run.stderr.strip().splitlines()[-1]}


def main():
    templates = sorted(glob.glob(os.path.join(packages[0], "chat_templates", "*.jinja")))
    if not templates:
        print("skipped: the package trl has no chat templates")
        sys.exit(77)
    worker, alarms, looked, refused = os.path.abspath(sys.argv[1]), 0, 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        write(".", "config.yaml", "model_name_or_path: m\ndataset: d\noutput_dir: out\nmax_length: 8192\ndevice: cpu\ndataset_cache: false\n")
        for data, made in (("plain.jsonl", conversations), ("thoughts.jsonl", thoughts)):
            write(".", data, "".join(json.dumps(c) + "\n" for c in made()))
        for path in templates:
            name = os.path.basename(path)[:-len(".jinja")]
            with open(path, encoding="utf-8") as f:
                template = f.read()
            os.makedirs(name)
            write(name, "chat_template.jinja", template)
            write_model(name, write_tokenizer(name, template))
            for data in ("plain.jsonl", "thoughts.jsonl"):
                found = findings(worker, name, data)
                looked, refused = looked + 1, refused + (found is None)
                for check, what in (found or {}).items():
                    if check in ALLOWED | TRUE.get(name, set()):
                        continue
                    print(f"{name}, {data}: {check}: {what}")
                    alarms += 1
                missed = name in TRUE and not TRUE[name] & (found or {}).keys()
                if missed:
                    print(f"{name}, {data}: none found of: {', '.join(TRUE[name])}")
                alarms += missed
    print(f"{len(templates)} templates, {looked} data sets, {refused} refused by their templates, {alarms} wrong")
    sys.exit(alarms > 0)


main()
