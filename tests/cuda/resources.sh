#!/usr/bin/env bash
# What nvcc's reports say of every kernel on every architecture: nearly no register is spilled, and static shared memory keeps to the
# 48 KiB that every GPU has.
#   resources.sh FOLDER: in which the objects lie
set -uo pipefail
mapfile -t reports < <(find "$1" -name '*.cu.o.report')
[[ ${#reports[@]} -ge 10 ]] || { echo "${#reports[@]} reports in $1; was it built by nvcc?"; exit 1; }
awk -v most_spilled=64 -v most_shared=49152 '
    /Compiling entry function/ { name = $0; sub(/.*function ./, "", name); sub(/. for .*/, "", name); arch = $NF; gsub(/\047/, "", arch) }
    /bytes spill stores/ {
        kernels++
        for (i = 1; i <= NF; i++) if ($i == "spill" && $(i + 1) ~ /^stores/) spilled = $(i - 2)
        if (spilled > most_spilled) { print name " on " arch ": " spilled " bytes of registers are spilled"; bad++ }
    }
    / bytes smem/ {
        for (i = 1; i <= NF; i++) if ($i == "bytes" && $(i + 1) ~ /^smem/) shared = $(i - 1)
        if (shared > most_shared) { print name " on " arch ": " shared " bytes of static shared memory"; bad++ }
    }
    END {
        print kernels + 0 " kernels, all architectures counted; " bad + 0 " beyond the limits"
        exit bad > 0 || kernels < 100
    }' "${reports[@]}"
