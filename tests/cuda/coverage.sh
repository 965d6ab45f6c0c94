#!/usr/bin/env bash
# Every kernel of the sources was run by one of the emulated tests of operations.
#   coverage.sh FOLDER_OF_SOURCES FILE...: the names that the tests launched, as QL_EMU_LAUNCHED wrote them
set -uo pipefail
sources=$1
shift
missing=0
# "__global__ void __launch_bounds__(...) NAME(": the last word before the list of parameters begins.
names=$(cat "$sources"/*.cu | tr '\n' ' ' | grep -oE '__global__ [^{;]*' |
    sed -E 's/__launch_bounds__\(([^()]|\([^()]*\))*\)//; s/^__global__ +(static +)?void +([A-Za-z_0-9]+) *\(.*/\2/' | sort -u)
[[ $(wc -l <<< "$names") -ge 20 ]] || { echo "only these kernels were found in $sources: $names"; exit 1; }
for name in $names; do
    grep -qx "$name" "$@" || { echo "no test runs the kernel $name"; missing=$((missing + 1)); }
done
echo "$(wc -l <<< "$names") kernels, $missing that no test runs"
[[ $missing -eq 0 ]]
