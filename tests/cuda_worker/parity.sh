#!/usr/bin/env bash
# Training on an emulated GPU against training on the CPU, in each type of activations; evaluation; generation.
#   parity.sh BIN_FOLDER
# shellcheck source=tests/cuda_worker/common.sh
. "$(dirname "$0")/common.sh" "$1"

program=$cpu_worker device=cpu train cpu 1 || flunk "cpu: $(tail -n 2 "$scratch/err")"
train float32 1 bnb_4bit_compute_dtype=float32 || flunk "float32: $(tail -n 2 "$scratch/err")"
near float32 cpu 1e-5
train bfloat16 1 || flunk "bfloat16: $(tail -n 2 "$scratch/err")"
near bfloat16 cpu 1e-2
train float16 1 bnb_4bit_compute_dtype=float16 || flunk "float16: $(tail -n 2 "$scratch/err")"
near float16 cpu 3e-3
QL_EMU_CAPABILITY=75 train turing 1 || flunk "turing: $(tail -n 2 "$scratch/err")"
near turing cpu 3e-3
if [ "$(digest bfloat16)" != "$(digest float16)" ]; then pass "types of activations give different bytes"; else flunk "bfloat16 and float16 give the same bytes"; fi

# Other shapes: not quantised, not packed, no dropout; a model of another family.
program=$cpu_worker device=cpu train dense-cpu 1 load_in_4bit=false packing=false lora_dropout=0
train dense 1 load_in_4bit=false packing=false lora_dropout=0 bnb_4bit_compute_dtype=float32 || flunk "dense: $(tail -n 2 "$scratch/err")"
near dense dense-cpu 1e-5

# A run that begins on the CPU goes on on the GPU, and says what that means; on the same device it says nothing.
program=$cpu_worker device=cpu train moved 1 save_strategy=steps save_steps=1 || flunk "moved: $(tail -n 2 "$scratch/err")"
for place in cuda cpu; do
  cp -r "$scratch/moved" "$scratch/moved-$place"
  rm -r "$scratch/moved-$place"/{checkpoint-00000002,run}
done
train moved-cuda 1 save_strategy=steps save_steps=1 bnb_4bit_compute_dtype=float32 || flunk "moved: $(tail -n 2 "$scratch/err")"
expect_line "moved: it is said" 'note: this checkpoint was computed on cpu, this run goes on on .*driver.*: the last bits will differ from an undisturbed run'
near moved-cuda cpu 1e-5
program=$cpu_worker device=cpu train moved-cpu 1 save_strategy=steps save_steps=1 || flunk "not moved: $(tail -n 2 "$scratch/err")"
if grep -q 'computed on' "$scratch/err"; then flunk "not moved: said all the same"; else pass "not moved: nothing is said"; fi
if [ "$(digest moved-cpu)" = "$(digest cpu)" ]; then pass "not moved: same bytes"; else flunk "not moved: other bytes"; fi

# What was trained on the GPU is read by the CPU, and the other way round.
text="Tom has 3 apples"
"$worker" --do generate --device cuda --model examples/model --adapter "$scratch/float32" --json --max-new-tokens 6 bnb_4bit_compute_dtype=float32 "$text" >"$scratch/gpu" 2>"$scratch/err" ||
  flunk "generate: $(tail -n 2 "$scratch/err")"
"$cpu_worker" --do generate --model examples/model --adapter "$scratch/float32" --json --max-new-tokens 6 "$text" >"$scratch/cpu-text" 2>/dev/null
if cmp -s "$scratch/gpu" "$scratch/cpu-text"; then pass "generation says the same"; else flunk "generation: $(cat "$scratch/gpu") beside $(cat "$scratch/cpu-text")"; fi
finish
