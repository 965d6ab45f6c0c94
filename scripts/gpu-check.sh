#!/usr/bin/env bash
# usage: scripts/gpu-check.sh pack FOLDER
#        FOLDER/gpu-check.sh run REPORT.md [SECTION ...]
# pack: builds for GPUs into build-gpu/ and gathers in FOLDER all that a machine with a GPU, but without packages or a compiler,
# needs to check this program: programs, tests, benchmarks, their shared libraries, the example. CUDA's own libraries are taken
# from the other machine, where a driver for this build's CUDA and libcublasLt must be. FOLDER.tar.xz holds the same.
# run, there: the sections device, tests, train, exact, rungs, generate, faults, big, real, bench, sanitizer (default: all, in this
# order), each within its own time, and writes what they found to REPORT.md (docs/gpu/ keeps such reports). Exit status 1 when
# something failed.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
    sed -n '2,10s/^# //p' "${BASH_SOURCE[0]}"
    exit "$1"
}

# ---- packing ----

# Libraries that every Linux has, or that belong to CUDA.
is_left_out() {
    case $1 in
        ld-linux* | libc.so* | libm.so* | libdl.so* | libresolv.so* | libpthread.so* | librt.so* | libcuda.so* | libcublas* | libnccl* | libnvrtc* | libcudart*) return 0 ;;
        *) return 1 ;;
    esac
}

copy_libraries() {
    local program library
    for program in "$@"; do
        ldd "$program" | awk '$3 ~ /^\// {print $3}'
    done | sort -u | while read -r library; do
        is_left_out "$(basename "$library")" || cp -L "$library" "$folder/lib/"
    done
}

build=${QL_GPU_BUILD:-build-gpu}
pack() {
    cd "$here/.." || exit 1
    set -e
    cmake -S . -B "$build" -G Ninja --no-warn-unused-cli -DCMAKE_BUILD_TYPE=Release -DQL_CUDA=ON \
        "-DCMAKE_CUDA_ARCHITECTURES=${QL_CUDA_ARCHITECTURES:-75-real;80-real;86-real;89-real;90}" > /dev/null
    cmake --build "$build" --parallel "$(nproc)" --target gpu_programs
    rm -rf "$folder"
    mkdir -p "$folder/bin" "$folder/lib" "$folder/examples"
    cp "$build"/bin/gpu_* "$build"/bin/qlora "$build"/bin/qlora-worker "$build"/bin/qlora-worker-faulty "$build"/bin/random_model "$folder/bin/"
    strip "$folder"/bin/*
    copy_libraries "$build"/bin/gpu_* "$build"/bin/qlora-worker
    cp -r examples/model examples/data examples/demo.yaml "$folder/examples/"
    mkdir -p "$folder/data" && cp -r tests/golden/data/models "$folder/data/"
    cp scripts/gpu-check.sh "$folder/"
    git describe --always --dirty > "$folder/commit" 2>/dev/null || echo unknown > "$folder/commit"
    # Many programs hold the same kernels: together they are not much more than one.
    XZ_OPT=-T0 tar -C "$(dirname "$folder")" -cJf "$folder.tar.xz" "$(basename "$folder")"
    du -sh "$folder" "$folder.tar.xz"
}

# ---- running ----

failed=0
say() {
    printf '%s\n' "$@" | tee -a "$report"
}

# attempt SECONDS TITLE COMMAND...: runs it within its time; the end of its output goes to the report.
attempt() {
    local seconds=$1 title=$2 log status start=$SECONDS
    shift 2
    log=$(mktemp)
    if declare -F "$1" > /dev/null; then set -- bash -c '"$@"' bash "$@"; fi
    timeout "$seconds" "$@" > "$log" 2>&1
    status=$?
    [[ $status -eq 0 ]] || failed=$((failed + 1))
    say "" "**$title**: $([[ $status -eq 0 ]] && echo passed || echo "FAILED, status $status") in $((SECONDS - start)) s" ""
    say '```'
    tail -n "${lines:-12}" "$log" | cut -c1-220 | tee -a "$report"
    say '```'
    cp "$log" "$logs/$(tr -c 'A-Za-z0-9\n' _ <<< "$title").log"
    rm -f "$log"
    return $status
}

find_cuda_libraries() {
    local name path found=
    for name in libcublasLt.so.* libnccl.so.*; do
        path=$(find / -name "$name" -not -path '/proc/*' -print -quit 2>/dev/null)
        [[ -z $path ]] || found=$found:$(dirname "$path")
    done
    export LD_LIBRARY_PATH=$here/lib$found${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
}

section_device() {
    say "Commit $(cat "$here/commit"), $(date -u +%Y-%m-%d)" ""
    say '```'
    nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv | tee -a "$report"
    "$here/bin/qlora-worker" --probe 2>&1 | tee -a "$report"
    say '```'
    lines=40 attempt 60 "qlora doctor" "$here/bin/qlora" doctor
    lines=30 attempt 60 "qlora plan" plan_example
}

plan_example() {
    (cd "$here" && bin/qlora plan examples/demo.yaml)
}

section_tests() {
    local program
    for program in "$here"/bin/gpu_test_*; do
        attempt 60 "$(basename "$program")" "$program" cuda
    done
}

# train OUTPUT KEY=VALUE...: the example on the GPU.
train() {
    local output=$1
    shift
    (cd "$here" && bin/qlora-worker --device cuda examples/demo.yaml output_dir="$output" max_steps=20 save_strategy=steps save_steps=10 \
        eval_strategy=no eval_dataset=null quantized_cache=false "$@")
}

digest() {
    sha256sum "$1"/adapter_model.safetensors | cut -d' ' -f1
}

# compare FOLDER WANTED WHAT: a line about whether the adapter there is the one that it should be.
compare() {
    local got
    got=$(digest "$1")
    if [[ -n $got && $got == "$2" ]]; then
        say "$3: same bytes"
    else
        failed=$((failed + 1))
        say "$3: DIFFERS: $got instead of $2"
    fi
}

export here QL_TEST_DATA=$here/data
export -f train plan_example

section_train() {
    lines=16 attempt 60 "the example, bfloat16" train "$work/a"
    lines=4 attempt 60 "the example, float16 with a scaled loss" train "$work/f16" bnb_4bit_compute_dtype=float16
    lines=4 attempt 60 "the example, float32" train "$work/f32" bnb_4bit_compute_dtype=float32
}

section_exact() {
    local first other name
    [[ -e $work/a ]] || train "$work/a" > "$work/a.log" 2>&1
    attempt 60 "the same once more" train "$work/b"
    attempt 60 "one row at a time" train "$work/c" per_device_train_batch_size=1 gradient_accumulation_steps=1
    attempt 60 "layers recomputed" train "$work/d" gradient_checkpointing=true
    first=$(digest "$work/a")
    for name in b c d; do
        other=$(digest "$work/$name")
        [[ $first == "$other" ]] || failed=$((failed + 1))
        say "" "adapter after 20 steps, $name: $([[ $first == "$other" ]] && echo "same bytes ($first)" || echo "DIFFERS: $other")"
    done
}

# Every rung of the memory ladder that a card without room would take, down to moments and inputs of layers on the host. The
# steps are many enough for all transfers to meet.
section_rungs() {
    local total totals wanted
    totals=$(cd "$here" && bin/qlora-worker --device cuda --plan --json examples/demo.yaml output_dir="$work/plan" quantized_cache=false |
        grep -o '"total_bytes": [0-9]*' | grep -o '[0-9]*' | sort -nru)
    lines=2 attempt 60 "as much memory as there is" train "$work/rung"
    wanted=$(digest "$work/rung")
    for total in $totals; do
        train "$work/rung-$total" max_memory="$total" > "$work/rung.log" 2>&1
        compare "$work/rung-$total" "$wanted" "rung of $total bytes, $(sed -n 's/^plan .* rank: //p' "$work/rung.log")"
        rm -rf "$work/rung-$total"
    done
}

# The GPU's text and the CPU's, both in float32.
section_generate() {
    local place text="Tom has 3 apples. He buys 5 more and gives 2 away. How many apples has he now?"
    train "$work/text" bnb_4bit_compute_dtype=float32 > "$work/text.log" 2>&1
    for place in cuda cpu; do
        lines=2 attempt 60 "generate on $place" generate_on "$place" "$work/text" "$text"
        generate_on "$place" "$work/text" "$text" 2> /dev/null | grep -o '"tokens": .*' > "$work/text.$place"
    done
    if cmp -s "$work/text.cuda" "$work/text.cpu"; then say "" "the same tokens on both"; else say "" "other tokens on the GPU than on the CPU"; fi
}

generate_on() {
    "$here/bin/qlora-worker" --do generate --device "$1" --model "$here/examples/model" --adapter "$2" --json --max-new-tokens 40 \
        bnb_4bit_compute_dtype=float32 "$3"
}
export -f generate_on

# What a run suffers on a real GPU and ends in the bytes of an undisturbed one: killed under `qlora run` (which starts it again),
# asked to stop, hung in a step, with a number that is none in the middle.
section_faults() {
    local wanted fault due status
    export QLORA_STEP_TIMEOUT=15
    lines=2 attempt 120 "undisturbed" long "$work/whole" qlora-worker
    wanted=$(digest "$work/whole")
    lines=12 attempt 200 "killed three times under qlora run" killed "$work/killed"
    compare "$work/killed" "$wanted" "killed three times"
    for fault in kill:exchange=137 kill:save=137 segv:gradient=139 loop:step=75; do
        due=${fault#*=} fault=${fault%=*}
        QLORA_FAULT="*:160:$fault" long "$work/faulty" qlora-worker-faulty > "$work/faulty.log" 2>&1
        status=$?
        [[ $status -eq $due ]] || failed=$((failed + 1))
        say "" "$fault in step 160: status $status, due $due: $(grep -v 'line [0-9]*:' "$work/faulty.log" | tail -n 1 | cut -c1-200)"
        long "$work/faulty" qlora-worker > "$work/faulty.log" 2>&1
        compare "$work/faulty" "$wanted" "$fault, started again"
        rm -rf "$work/faulty"
    done
    lines=4 attempt 100 "asked to stop, then started again" stopped "$work/stopped"
    compare "$work/stopped" "$wanted" "asked to stop"
}

# long OUTPUT PROGRAM: some seconds of training
long() {
    local output=$1 program=$2
    shift 2
    (cd "$here" && exec "bin/$program" "$@" --device cuda examples/demo.yaml output_dir="$output" max_steps=400 save_strategy=steps save_steps=20 \
        eval_strategy=no eval_dataset=null quantized_cache=false)
}

# steps_of OUTPUT: how many it has done
steps_of() {
    grep -c '"event": "step"' "$1/metrics.jsonl" 2> /dev/null || true
}

# worker_of OUTPUT: the process that trains there
worker_of() {
    local process
    for process in /proc/[0-9]*; do
        if tr '\0' '\n' < "$process/cmdline" 2> /dev/null | grep -qx "output_dir=$1" && [[ $(readlink "$process/exe") == */qlora-worker ]]; then
            basename "$process"
        fi
    done
}

# after STEPS OUTPUT SIGNAL PARENT: waits for so many steps, or the end of PARENT
after() {
    while kill -0 "$4" 2> /dev/null && [[ $(steps_of "$2") -lt $1 ]]; do sleep 0.02; done
    kill "-$3" "$(worker_of "$2")"
}

killed() {
    local launcher target
    (cd "$here" && exec bin/qlora run -n 1 examples/demo.yaml output_dir="$1" max_steps=400 save_strategy=steps save_steps=20 device=cuda \
        eval_strategy=no eval_dataset=null quantized_cache=false) &
    launcher=$!
    for target in 40 130 250; do
        after $target "$1" KILL $launcher
    done
    wait $launcher
}

stopped() {
    local worker
    long "$1" qlora-worker &
    worker=$!
    after 100 "$1" TERM $worker
    wait $worker
    echo "status $?"
    long "$1" qlora-worker
}
export -f long steps_of worker_of after killed stopped

# The worker itself on a large model: files, cache of quantised weights, packed records, checkpoints, a stop and a start.
section_real() {
    local space=/dev/shm/qlora-real wanted
    mkdir -p "$space"
    attempt 120 "an 8B shape with random weights" "$here/bin/random_model" 8b "$space/model" || return
    cp "$here"/examples/model/tokenizer* "$space/model/"
    lines=24 attempt 200 "8B, 12 steps of 4 rows of 2048 tokens" real "$space/a" 12
    wanted=$(digest "$space/a")
    lines=10 attempt 200 "the same, 7 steps" real "$space/b" 7
    lines=10 attempt 200 "and on to 12" real "$space/b" 12
    compare "$space/b" "$wanted" "8B, interrupted"
    lines=10 attempt 200 "8B on 24 GB" real "$space/c" 12 max_memory=24GB
    compare "$space/c" "$wanted" "8B on 24 GB"
    rm -rf "$space"
}

real() {
    local output=$1 steps=$2 space
    shift 2
    space=$(dirname "$output")
    (cd "$here" && bin/qlora-worker --device cuda examples/demo.yaml model_name_or_path="$space/model" output_dir="$output" max_length=2048 global_batch_size=4 \
        max_steps=12 learning_rate=2e-4 lora_dropout=0.05 save_strategy=steps save_steps=4 eval_strategy=no eval_dataset=null quantized_cache="$space/cache" \
        "$@") &
    local worker=$! status
    [[ $steps -eq 12 ]] || after "$steps" "$output" TERM $worker
    wait $worker
    status=$?
    [[ $status -eq $([[ $steps -eq 12 ]] && echo 0 || echo 85) ]]
}
export -f real

section_big() {
    local space=/dev/shm
    attempt 120 "an 8B shape with random weights" "$here/bin/random_model" 8b "$space/qlora-8b" || return
    lines=40 attempt 200 "8B, 2 x 2048, bfloat16" "$here/bin/gpu_bench_step" 8b 2 2048 0 5 device=cuda model_name_or_path="$space/qlora-8b"
    lines=40 attempt 200 "8B, 2 x 2048, on 24 GB" "$here/bin/gpu_bench_step" 8b 2 2048 0 3 device=cuda model_name_or_path="$space/qlora-8b" max_memory=24GB
    rm -rf "$space/qlora-8b"
    attempt 120 "a 7B shape with random weights" "$here/bin/random_model" 7b "$space/qlora-7b" || return
    lines=6 attempt 120 "7B, one row of 512 tokens, on 7 GB" "$here/bin/gpu_bench_step" 7b 1 512 0 3 device=cuda model_name_or_path="$space/qlora-7b" max_memory=7GB
    lines=6 attempt 120 "7B, one row of 1024 tokens, on 10 GB" "$here/bin/gpu_bench_step" 7b 1 1024 0 3 device=cuda model_name_or_path="$space/qlora-7b" max_memory=10GB
    rm -rf "$space/qlora-7b"
}

section_bench() {
    local program
    for program in "$here"/bin/gpu_bench_*; do
        [[ $program == */gpu_bench_step ]] || lines=40 attempt 60 "$(basename "$program")" "$program"
    done
    lines=40 attempt 120 "135M, 4 x 1024" "$here/bin/gpu_bench_step" 135m 4 1024 0 10 device=cuda
}

# Some tests ask for what must be refused. cuBLAS's own kernels (nvjet...) wait for each other in ways that racecheck does not know;
# leaving them out by name makes it fail on an H200, so that their hazards are told from ours by their names.
sanitized() {
    local tool=$1 program=$2 said status
    said=$(mktemp)
    compute-sanitizer --tool "$tool" --report-api-errors no --error-exitcode 9 --print-limit 100000 "$program" > "$said" 2>&1
    status=$?
    if [[ $tool == racecheck && $status -eq 9 ]] && grep -q '  PASSED  ' "$said" && ! grep -q '  FAILED  ' "$said"; then
        grep -o 'access at [A-Za-z_0-9]*' "$said" | sort | uniq -c | sort -rn
        grep 'access at' "$said" | grep -qv 'access at nvjet_' || status=0
    fi
    tail -n 20 "$said"
    rm -f "$said"
    return $status
}
export -f sanitized

section_sanitizer() {
    local tool program
    command -v compute-sanitizer > /dev/null || { say "compute-sanitizer is not there"; return; }
    for tool in racecheck memcheck initcheck synccheck; do
        for program in "$here"/bin/gpu_test_*; do
            case $program in
                *_golden_models | *_nccl) continue ;; # minutes under a tool, and not our kernels
            esac
            [[ $tool == "${QL_TOOL:-$tool}" ]] || continue
            lines=2 attempt "${QL_TOOL_SECONDS:-60}" "$tool $(basename "$program")" sanitized "$tool" "$program"
        done
    done
}

run() {
    report=$1
    shift
    local section sections=("$@")
    [[ ${#sections[@]} -gt 0 ]] || sections=(device tests train exact rungs generate faults big real bench sanitizer)
    work=$(mktemp -d) logs=$(dirname "$report")/logs
    mkdir -p "$logs"
    : > "$report"
    find_cuda_libraries
    for section in "${sections[@]}"; do
        say "" "## $section"
        "section_$section"
    done
    rm -rf "$work"
    say "" "$failed failed"
    [[ $failed -eq 0 ]]
}

case ${1:-} in
    pack)
        [[ $# -eq 2 ]] || usage 64
        folder=$(realpath -m "$2")
        pack
        ;;
    run)
        [[ $# -ge 2 ]] || usage 64
        shift
        run "$@"
        ;;
    -h | --help) usage 0 ;;
    *) usage 64 >&2 ;;
esac
