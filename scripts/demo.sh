#!/usr/bin/env bash
# usage: scripts/demo.sh [KEY=VALUE ...]
# Installs what is missing, builds, and fine-tunes the example model on school arithmetic with two ranks: about two minutes on
# two cores. Shows a sample and the evaluation loss before and after. KEY=VALUE overrides keys of examples/demo.yaml.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/packages.sh
source scripts/packages.sh

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}"
    exit 0
fi
config=examples/demo.yaml
model=examples/model
out=examples/out
# shellcheck disable=SC2016 # dollars
question='Ali had $21. Leila gave him half of her $100. How much does Ali have now?'
for needed in "$config" "$model/config.json" examples/data/train.jsonl examples/data/eval.jsonl; do
    if [[ ! -e $needed ]]; then
        echo "scripts/demo.sh: $needed is missing; get the whole checkout" >&2
        exit 65
    fi
done

SECONDS=0
scripts/build.sh --programs
allow_mpirun
export OMP_WAIT_POLICY=passive
echo "Ready after $SECONDS s."

# sample [--adapter DIR]: what the model goes on with after the question, greedily
sample() {
    build/bin/qlora generate --model "$model" "$@" --max-new-tokens 80 "$question"$'\n' 2> "$said" || {
        cat "$said" >&2
        return 1
    }
}
# evaluate [--adapter DIR]: the mean loss over the answers of examples/data/eval.jsonl, 160 questions that are not trained on
evaluate() {
    local line
    line=$(build/bin/qlora-worker --eval "$@" "$config" "${overrides[@]}" 2> "$said") || {
        cat "$said" >&2
        return 1
    }
    sed -E 's/.*"eval_loss": ([0-9.e+-]+), "perplexity": ([0-9.e+-]+).*/\1 \2/' <<< "$line"
}
said=$(mktemp)
trap 'rm -f "$said"' EXIT
overrides=("$@" "output_dir=$out")

echo
echo "== Before: the base model, in 4 bits"
before=$(sample)
read -r loss_before perplexity_before <<< "$(evaluate)"
printf 'evaluation loss %.4f, perplexity %.2f\n\n' "$loss_before" "$perplexity_before"
printf 'Question: %s\nAnswer:   %s\n' "$question" "$before"

echo
echo "== Training: mpirun -np 2 build/bin/qlora-worker $config"
rm -rf "$out" # the run of an earlier demonstration
started=$SECONDS
mpirun -np 2 build/bin/qlora-worker "$config" "${overrides[@]}"
took=$((SECONDS - started))

echo
echo "== After: the same model with the adapter, $took s of training later"
after=$(sample --adapter "$out")
read -r loss_after perplexity_after <<< "$(evaluate --adapter "$out")"
printf 'evaluation loss %.4f, perplexity %.2f (before: %.4f, %.2f)\n\n' \
    "$loss_after" "$perplexity_after" "$loss_before" "$perplexity_before"
printf 'Question: %s\nAnswer:   %s\nBefore:   %s\n' "$question" "$after" "$before"

shopt -s nullglob
checkpoints=("$out"/checkpoint-*)
echo
echo "== Where everything lies"
echo "adapter      $out/adapter_model.safetensors, $out/adapter_config.json (for PEFT, vLLM and others)"
echo "checkpoint   ${checkpoints[-1]:-none}"
echo "metrics      $out/metrics.jsonl, one line per step"
echo "log          $out/run.log"
echo "config       $out/config.yaml, can be run again"
