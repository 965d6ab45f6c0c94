#!/usr/bin/env bash
# usage: scripts/check.sh
# The rules of the house that a machine can see: layers, file and function lengths, headers that stand alone, where the GPU's
# name may appear, and nothing in the tree that only holds on one machine. Needs no build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mistakes=0
complain() {
    printf '%s\n' "$1"
    mistakes=$((mistakes + 1))
}

if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    mapfile -t files < <(git ls-files)
else
    mapfile -t files < <(find . -type f -not -path './.git/*' -not -path './build*' -not -path './examples/out*' -printf '%P\n')
fi
sources=() headers=() scripts=()
for file in "${files[@]}"; do
    [[ -f $file ]] || continue
    case $file in
        *.c | *.cu | *.cpp) sources+=("$file") ;;
        *.h) sources+=("$file") headers+=("$file") ;;
        *.sh | *.bash | .ci/run) scripts+=("$file") ;;
    esac
done

# Which layers a layer may include. An include never points upward.
declare -A below=(
    [base]='base'
    [kernels]='base kernels'
    [collective]='base kernels collective'
    [checkpoint]='base kernels checkpoint'
    [worker]='base kernels collective checkpoint worker'
    [launcher]='base launcher'
    [tests]='base kernels collective checkpoint worker launcher tests'
)
check_layers() {
    local line file included layer target
    while IFS= read -r line; do
        file=${line%%:*}
        included=$(sed -E 's/.*#include "([^"]+)".*/\1/' <<< "$line")
        layer=${file%%/*} target=${included%%/*}
        if [[ $included != */* ]]; then
            # Helpers of one folder of tests stay in it.
            [[ $layer == tests && -f ${file%/*}/$included ]] || complain "$file: includes \"$included\"; write the path from the root"
        elif [[ " ${below[$layer]:-} " != *" $target "* ]]; then
            complain "$file: $layer may not include \"$included\""
        fi
    done < <(grep -HE '^ *#include "' "${sources[@]}")
}

check_lengths() {
    local file lines
    for file in "${sources[@]}"; do
        lines=$(wc -l < "$file")
        [[ $lines -le 600 ]] || complain "$file: $lines lines, more than 600"
    done
    while IFS= read -r line; do complain "$line"; done < <(awk '
        FNR == 1 { inside = 0 }
        /^[A-Za-z_].*\) \{$/ { inside = 1; start = FNR; name = $0 }
        /^\}/ && inside {
            if (FNR - start + 1 > 100) printf "%s:%d: a function of %d lines, more than 100\n", FILENAME, start, FNR - start + 1
            inside = 0
        }' "${sources[@]}")
}

check_headers() {
    local file flags said
    read -ra flags <<< "$(pkg-config --cflags hdf5-serial jansson yaml-0.1 libpcre2-8 libutf8proc zlib libzstd cmocka 2>/dev/null || true)"
    for file in "${headers[@]}"; do
        # vector.h chooses among its parts; tests and device code have other compilers' flags.
        [[ $file != tests/* && $file != */cuda/* && $file != */vector_*.h ]] || continue
        said=$(echo "#include \"$file\"" | "${CC:-cc}" -std=gnu17 -fsyntax-only -w -D_GNU_SOURCE -DQL_VERSION='""' -I. \
            "${flags[@]}" -x c - 2>&1) || complain "$file: does not compile alone: $(grep -m1 error: <<< "$said")"
        grep -q '^#pragma once$' "$file" || complain "$file: lacks #pragma once"
    done
}

# The back end is known to its own files only; elsewhere it is a word in a table of choices or in a message.
check_gpu_words() {
    local file
    for file in "${sources[@]}"; do
        case $file in
            kernels/cuda/* | collective/*nccl* | tests/*) continue ;;
        esac
        if grep -nE '#.*(CUDA|cuda|NCCL|nccl)|\b(cuda|nccl|cublas)[A-Z][A-Za-z]*|\bcu[A-Z][a-z]+[A-Z][A-Za-z]*\(' "$file" | sed "s|^|$file:|" | grep .; then
            complain "$file: names of the GPU's libraries belong into kernels/cuda/ and collective/*nccl*"
        fi
    done
}

check_words() {
    local found
    found=$(grep -InE '(^|[^A-Za-z0-9_.])/(wor[k]/|tmp/buil[d]|opt/oracl[e])' -- "${files[@]}" 2>/dev/null || true)
    [[ -z $found ]] || complain "$found: a path of one machine"
    found=$(grep -nP '[ \t]+$' -- "${sources[@]}" "${scripts[@]}" || true)
    [[ -z $found ]] || complain "$found: blanks at the end of a line"
}

check_scripts() {
    local file
    command -v shellcheck >/dev/null || return 0
    for file in "${scripts[@]}"; do
        shellcheck -x -S warning "$file" || complain "$file: shellcheck has objections"
    done
}

check_layers
check_lengths
check_headers
check_gpu_words
check_words
check_scripts
if [[ $mistakes -gt 0 ]]; then
    echo "$mistakes mistakes"
    exit 1
fi
echo "${#sources[@]} C files and ${#scripts[@]} scripts keep the rules"
