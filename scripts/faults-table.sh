#!/usr/bin/env bash
# usage: scripts/faults-table.sh [--fast]
# Runs the tests that fill docs/faults.md, also the nightly ones unless --fast is given, and writes it. Fails when one of them does, or has no result.
# Wants a machine to itself: times are taken as they are promised (QL_SLACK=1), not ten times as long.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/packages.sh
source scripts/packages.sh
scripts/build.sh
allow_mpirun
rm -rf build/faults
except=(-LE '^gpu$')
[[ ${1:-} != --fast ]] || except=(-LE '^(gpu|nightly)$')
bad=0
QL_SLACK=${QL_SLACK:-1} ctest --test-dir build --output-on-failure -L '^matrix$' "${except[@]}" -E '^faults_table$' || bad=1
tests/faults/table.sh write build/faults >build/faults/faults.md
cp build/faults/faults.md docs/faults.md
if grep -nE 'no result|\*\*failed\*\*' docs/faults.md; then bad=1; fi
tests/faults/table.sh check || bad=1
exit "$bad"
