#!/usr/bin/env bash
# usage: scripts/bench.sh [NAME [ARGUMENT ...]]
# Builds, and runs the benchmark tests/bench/bench_NAME, or all programs among them one after the other. Those that are scripts
# run only when named: ranks, restart, and peer, peer_data and prepare, which need other people's packages (installed into build/peer-venv).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/packages.sh
source scripts/packages.sh

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}"
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
    if [[ -x build/bin/bench_$name ]]; then
        exec "build/bin/bench_$name" "$@"
    elif [[ -x tests/bench/bench_$name.sh ]]; then
        exec "tests/bench/bench_$name.sh" "$@"
    elif [[ -f tests/bench/bench_$name.py ]]; then
        python=$(tests/bench/peer/python.sh)
        exec "$python" "tests/bench/bench_$name.py" "$@"
    fi
    scripts=(tests/bench/bench_*.py tests/bench/bench_*.sh)
    scripts=("${scripts[@]##*/bench_}")
    echo "scripts/bench.sh: no benchmark '$name'; there are: ${programs[*]##*/bench_} ${scripts[*]%.*}" >&2
    exit 64
fi
for program in "${programs[@]}"; do
    echo "== ${program##*/bench_}"
    "$program"
done
