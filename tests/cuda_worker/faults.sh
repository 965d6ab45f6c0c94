#!/usr/bin/env bash
# What a user meets when a GPU is absent, wrong, full or fails: one line, the right status, no hang, and the state as of the last
# checkpoint.
#   faults.sh BIN_FOLDER
# shellcheck source=tests/cuda_worker/common.sh
. "$(dirname "$0")/common.sh" "$1"

# fails NAME STATUS PATTERN RANKS KEY=VALUE...: train ends so, with exactly one line of error per rank that says so
fails() {
  local name=$1 wanted=$2 pattern=$3
  shift 3
  train "$name" "$@"
  local got=$?
  if [ "$got" = "$wanted" ]; then pass "$name: status $wanted"; else flunk "$name: status $got instead of $wanted: $(tail -n 3 "$scratch/err")"; fi
  expect_line "$name: says so" "error: .*($pattern)"
}

# No GPU, in all the ways in which there can be none.
QL_EMU_DEVICES=0 fails no-gpu 64 "no NVIDIA GPU" 1
QL_EMU_DRIVER=none fails no-driver 64 "driver" 1
QL_EMU_DRIVER=old fails old-driver 64 "driver knows CUDA 11.4, and this build needs CUDA" 1
CUDA_VISIBLE_DEVICES="" fails none-visible 64 'CUDA_VISIBLE_DEVICES' 1
CUDA_VISIBLE_DEVICES=7 fails seventh-visible 64 'CUDA_VISIBLE_DEVICES is "7"' 1
CUDA_VISIBLE_DEVICES=nonsense fails nonsense-visible 64 'CUDA_VISIBLE_DEVICES is "nonsense"' 1
CUDA_VISIBLE_DEVICES=-1 fails minus-one-visible 64 'CUDA_VISIBLE_DEVICES is "-1"' 1
uuid=GPU-01234567-89ab-cdef-0123-456789abcdef
QL_EMU_UUIDS=$uuid CUDA_VISIBLE_DEVICES=$uuid train by-uuid 1 max_steps=1 && pass "a GPU named by its UUID" || flunk "by UUID: $(tail -n 2 "$scratch/err")"
QL_EMU_FAIL=cudaSetDevice:1:cudaErrorDevicesUnavailable fails taken 75 "another process has the GPU for itself" 1
QL_EMU_MEMORY=8GiB QL_EMU_MEMORY_TAKEN=7900MiB fails full-of-others 64 "memory: at least" 1
QL_EMU_CAPABILITY=61 fails pascal 64 "compute capability 6.1" 1
QL_EMU_CAPABILITY=75 fails turing-bf16 64 "bfloat16" 1 bnb_4bit_compute_dtype=bfloat16
device=auto QL_EMU_DEVICES=0 train fallback 1
if [ $? = 0 ] && grep -q 'device: auto: .*CPU' "$scratch/err" "$scratch/out"; then pass "auto falls back to the CPU, and says so"; else flunk "auto: $(tail -n 3 "$scratch/err")"; fi

record "" "T25" no_gpu "device: cuda without a GPU, a driver, a GPU that is visible: 64 with the reason" "7 ways"

# Memory: too little, taken by others, refused in the middle of starting.
QL_EMU_MEMORY=300MiB fails tiny-gpu 64 "memory: at least" 1
for n in 1 2; do # workspace, and all buffers
  QL_EMU_FAIL_MALLOC=$n fails "allocation-$n" 75 "no memory left" 1
done

# A GPU that fails in the second step: the checkpoint of the first one is whole and can be gone on from.
whole=(save_strategy=steps save_steps=1 max_steps=2 global_batch_size=2)
QL_EMU_CALLS=$scratch/calls train undisturbed 1 "${whole[@]}" || flunk "undisturbed: $(tail -n 2 "$scratch/err")"
# calls NAME: how often it was called
calls() {
  awk -v name="$1" '$1 == name {print $2}' "$scratch/calls"
}
# goes_on NAME: started again, it ends with the bytes of the undisturbed run
goes_on() {
  if [ -d "$scratch/$1/checkpoint-00000001" ]; then pass "$1: the checkpoint of step 1 is there"; else flunk "$1: no checkpoint of step 1"; fi
  train "$1" 1 "${whole[@]}"
  if [ "$(digest "$1")" = "$(digest undisturbed)" ]; then pass "$1: goes on to the same bytes"; else flunk "$1: other bytes: $(tail -n 2 "$scratch/err")"; fi
}
late=$(($(calls launch) * 4 / 5))
for error in cudaErrorECCUncorrectable cudaErrorIllegalAddress cudaErrorLaunchFailure; do
  QL_EMU_FAIL=launch:$late:$error fails "$error" 75 "device: cuda" 1 "${whole[@]}"
  goes_on "$error"
done
QL_EMU_STREAMS=deferred QL_EMU_FAIL=launch:$late:cudaErrorECCUncorrectable fails late-ecc 75 "ECC" 1 "${whole[@]}"
goes_on late-ecc
QL_EMU_FAIL=cudaMemcpyAsync:$(($(calls cudaMemcpyAsync) - 3)):cudaErrorUnknown fails lost-in-a-copy 75 "device: cuda" 1 "${whole[@]}"
QL_EMU_FAIL=cublasLtMatmul:$(($(calls cublasLtMatmul) - 9)):CUBLAS_STATUS_EXECUTION_FAILED fails failed-product 75 "cuBLASLt" 1 "${whole[@]}"
finish
