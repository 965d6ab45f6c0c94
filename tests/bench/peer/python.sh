#!/usr/bin/env bash
# usage: tests/bench/peer/python.sh
# Prints the Python that runs the peers' side of the benchmarks: $PEER_PYTHON, or one in build/peer-venv, which is made
# when it is not there: torch, transformers, PEFT, bitsandbytes and TRL from the package index, several gigabytes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
packages=(torch transformers peft bitsandbytes trl datasets)
folder=build/peer-venv

if [[ -n ${PEER_PYTHON:-} ]]; then
    echo "$PEER_PYTHON"
    exit 0
fi
if [[ ! -f $folder/complete ]]; then
    echo "Installing ${packages[*]} into $folder" >&2
    python3 -m venv "$folder" >&2
    "$folder/bin/pip" install --quiet "${packages[@]}" >&2
    touch "$folder/complete"
fi
echo "$folder/bin/python"
