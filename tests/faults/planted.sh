#!/usr/bin/env bash
# usage: planted.sh BUILD PATCH...
# A test that cannot fail proves nothing. Each patch breaks a promise in one file of the worker; its head names the case that must notice
# (`case: dying/segv`, of dying.sh) and, where chance decides, what the script is told (`arguments: 5 1`). Builds a worker with each and demands that this case fails.
set -uo pipefail
build=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
shift

targets=()
for patch in "$@"; do targets+=("planted_worker_$(basename "$patch" .patch)"); done
if ! said=$(cmake --build "$build" --target "${targets[@]}" 2>&1); then
  printf '%s\n' "$said" | tail -40
  echo "The planted mistakes cannot be built. Where a patch no longer fits the worker, plant the mistake anew."
  exit 1
fi

missed=0
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
for patch in "$@"; do
  name=$(basename "$patch" .patch) case=$(sed -n 's/^case: //p' "$patch")
  planted=$build/bin/planted_worker_$name
  read -ra arguments < <(sed -n 's/^arguments: //p' "$patch")
  said=$(QL_BOUND=90 QL_WORKER=$planted QL_FAULTY=$planted QL_RECORDS=$results bash "$here/${case%/*}.sh" "$build/bin" "${arguments[@]}" 2>&1)
  if grep -qs "faults_$case"$'\t.*\tfailed$' "$results/faults_${case%/*}.tsv"; then
    echo "$name: seen by $case: $(grep -m1 '^FAILED' <<<"$said" | cut -c1-160)"
  else
    printf '%s\n' "$said" | tail -20
    echo "$name: NOT seen by $case"
    missed=$((missed + 1))
  fi
  rm -f "$results"/*
done
echo "$(($# - missed)) of $# planted mistakes were seen"
exit "$((missed > 0))"
