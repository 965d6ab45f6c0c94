#!/usr/bin/env bash
# usage: scripts/bench.sh [NAME [ARGUMENT ...]]
# Builds, and runs the benchmark tests/bench/bench_NAME, or all of them one after the other.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/packages.sh
source scripts/packages.sh

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,3s/^# //p' "${BASH_SOURCE[0]}"
    exit 0
fi
scripts/build.sh
allow_mpirun
shopt -s nullglob
programs=()
for program in build/bin/bench_*; do
    [[ -f $program && -x $program ]] && programs+=("$program")
done
if [[ $# -gt 0 ]]; then
    name=$1
    shift
    if [[ ! -x build/bin/bench_$name ]]; then
        echo "scripts/bench.sh: no benchmark '$name'; there are: ${programs[*]##*/bench_}" >&2
        exit 64
    fi
    exec "build/bin/bench_$name" "$@"
fi
for program in "${programs[@]}"; do
    echo "== ${program##*/bench_}"
    "$program"
done
