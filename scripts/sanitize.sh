#!/usr/bin/env bash
# usage: scripts/sanitize.sh [address] [thread]
# Builds the worker with the sanitizers for addresses and undefined behaviour (into build-asan/), and with clang's for threads (into build-tsan/), and
# runs it on two ranks with saves, a stop, a kill and a disk that fails (tests/faults/sanitized.sh).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/packages.sh
source scripts/packages.sh

kinds=("$@")
[[ ${#kinds[@]} -gt 0 ]] || kinds=(address thread)
allow_mpirun
skipped=0
for kind in "${kinds[@]}"; do
    case $kind in
        address) folder=build-asan ;;
        thread)
            folder=build-tsan
            archer=$(compgen -G '/usr/lib/llvm*/lib/libarcher.so' | tail -n 1 || true)
            # gcc's libgomp is not built for it: what its barriers order would look like races.
            if ! command -v clang >/dev/null || [[ -z $archer ]]; then
                echo "skipped: the sanitizer for threads needs clang and libomp-dev"
                skipped=77
                continue
            fi
            export CC=clang CXX=clang++ LD_LIBRARY_PATH=${archer%/*}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
            ;;
        *)
            sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}" >&2
            exit 64
            ;;
    esac
    cmake --preset "${folder#build-}" -DQL_CUDA=OFF >/dev/null
    cmake --build "$folder" --parallel "$(nproc)" --target qlora-worker qlora-worker-faulty >/dev/null
    bash tests/faults/sanitized.sh "$folder/bin" "$kind"
done
exit "$skipped"
