#!/usr/bin/env bash
# A run cannot go on with other data than it began with: another mixture is refused, another way to write the same is not.
# usage: resume.sh BUILD/bin
set -uo pipefail
bin=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
scratch=$(mktemp -d "${TMPDIR:-/tmp}/qlora-test.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
failed=0

head -n 100 examples/data/train.jsonl >"$scratch/train.jsonl"
gzip -k "$scratch/train.jsonl"
cat >"$scratch/run.yaml" <<EOF
model_name_or_path: examples/model
dataset: $scratch/train.jsonl
output_dir: $scratch/out
max_length: 128
audit: warn
max_steps: 2
global_batch_size: 2
save_steps: 1
device: cpu
EOF

# go STATUS [KEY=VALUE ...]
go() {
  local wanted=$1 status=0
  shift
  "$bin/qlora-worker" "$scratch/run.yaml" "$@" >"$scratch/said" 2>&1 || status=$?
  if [ "$status" -ne "$wanted" ] || { [ "$wanted" -ne 0 ] && ! grep -q 'error: .*dataset is ".*" in the checkpoint and ".*" now' "$scratch/said"; }; then
    printf 'FAILED: %s ended with %d, not %d:\n' "${*:-the first run}" "$status" "$wanted"
    tail -n 3 "$scratch/said"
    failed=1
  fi
}

go 0
go 0 "dataset=$scratch/train.jsonl.gz"
go 0 "dataset=$scratch/*.jsonl"
go 0 "dataset={path: $scratch/train.jsonl, weight: 1.0, max_records: 100}"
go 0 "sample_by=document"
go 64 "dataset={path: $scratch/train.jsonl, weight: 1.5}"
go 64 "dataset={path: $scratch/train.jsonl, weight: 0.9}"
go 64 "dataset={path: $scratch/train.jsonl, max_records: 99}"
go 64 "dataset=[$scratch/train.jsonl, $scratch/train.jsonl.gz]"
exit "$failed"
