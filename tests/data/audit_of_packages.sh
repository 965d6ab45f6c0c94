#!/usr/bin/env bash
# usage: audit_of_packages.sh WORKER
# audit_of_packages.py with the interpreter that QL_TEST_PYTHON names; without it the test is skipped.
set -euo pipefail
if [[ -z ${QL_TEST_PYTHON:-} ]]; then
  echo "skipped: QL_TEST_PYTHON names no Python with the package trl"
  exit 77
fi
exec "$QL_TEST_PYTHON" "$(dirname "${BASH_SOURCE[0]}")/audit_of_packages.py" "$1"
