#!/usr/bin/env bash
# usage: launched.sh FOLDER FILE.cu...
# Every kernel of the files must have run in a test: the emulation wrote the names of those that ran into files of FOLDER.
set -euo pipefail
folder=$1
shift
ran=$(cat "$folder"/* | sort -u)
missing=0 kernels=0
for file in "$@"; do
    while IFS= read -r kernel; do
        kernels=$((kernels + 1))
        if ! grep -qx "$kernel" <<< "$ran"; then
            echo "$file: no test has run the kernel $kernel"
            missing=$((missing + 1))
        fi
    done < <(tr '\n' ' ' < "$file" | grep -oE '__global__ void __launch_bounds__\([^)]*\) *[A-Za-z_0-9]+ *\(' |
        sed -E 's/.*\) *([A-Za-z_0-9]+) *\($/\1/')
    all=$(grep -c '__global__' "$file" || true)
    found=$(tr '\n' ' ' < "$file" | grep -oE '__global__ void __launch_bounds__\(' | wc -l)
    if [[ $all -ne $found ]]; then
        echo "$file: a kernel that is not written as '__global__ void __launch_bounds__(...) name('"
        missing=$((missing + 1))
    fi
done
echo "$kernels kernels, $((kernels - missing)) of them ran in tests"
exit "$((missing > 0))"
