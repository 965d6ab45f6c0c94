#!/usr/bin/env bash
# usage: scripts/build.sh [--no-cuda] [--debug] [--programs]
# Installs missing packages, configures and builds into build/. Programs: build/bin/qlora-worker, build/bin/qlora.
# --programs: these two only, without tests and benchmarks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/packages.sh
source scripts/packages.sh

type=Release
cuda=ON
targets=(all)
for word in "$@"; do
    case $word in
        --no-cuda) cuda=OFF ;;
        --debug) type=Debug ;;
        --programs) targets=(qlora qlora-worker) ;;
        -h | --help)
            sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        *)
            echo "scripts/build.sh: unknown option '$word'; usage: scripts/build.sh [--no-cuda] [--debug] [--programs]" >&2
            exit 64
            ;;
    esac
done

install_packages
echo "Building ($type) into build/"
cmake -S . -B build -G Ninja --no-warn-unused-cli -DCMAKE_BUILD_TYPE="$type" -DQL_CUDA="$cuda" > build.log 2>&1 || {
    cat build.log >&2
    exit 1
}
rm -f build.log
cmake --build build --parallel "$(nproc)" --target "${targets[@]}"
echo "Built: build/bin/qlora-worker, build/bin/qlora"
