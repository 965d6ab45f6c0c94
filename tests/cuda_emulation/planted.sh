#!/usr/bin/env bash
# usage: planted.sh BUILD PATCH...
# A detector that finds nothing is not known to work. Each patch plants a mistake into a kernel; its head says which tool
# (plain: the emulation itself, or a comparison with the CPU; asan; race) must see it, in which test of tests/cuda, and a
# regular expression for what is said then. Builds these tests in the folder BUILD and demands that they fail so.
set -uo pipefail
build=$1
shift

head_of() { sed -n "s/^$2: //p" "$1"; }

targets=()
for patch in "$@"; do
    name=$(basename "$patch" .patch)
    targets+=("planted_$name")
done
if ! said=$(cmake --build "$build" --target "${targets[@]}" 2>&1); then
    printf '%s\n' "$said" | tail -40
    echo "The planted mistakes cannot be built. Where a patch no longer fits a kernel, plant the mistake anew."
    exit 1
fi

missed=0
for patch in "$@"; do
    name=$(basename "$patch" .patch) expected=$(head_of "$patch" says)
    said=$(QL_EMU_RACES=1 OMP_WAIT_POLICY=passive "$build/bin/planted_$name" 2>&1)
    status=$?
    if [[ $status -eq 0 ]] || ! grep -qE "$expected" <<< "$said"; then
        printf '%s\n' "$said" | tail -20
        echo "$name: not seen by $(head_of "$patch" tool) (status $status)"
        missed=$((missed + 1))
    else
        echo "$name: $(grep -E -m1 "$expected" <<< "$said" | cut -c1-200)"
    fi
done
echo "$(($# - missed)) of $# planted mistakes were seen"
exit "$((missed > 0))"
