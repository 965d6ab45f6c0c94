#!/usr/bin/env bash
# Ranks and emulated GPUs: who computes on which, who stands by, and what the exchange between GPUs does when something is wrong with it.
#   ranks.sh BIN_FOLDER
# shellcheck source=tests/cuda_worker/common.sh
. "$(dirname "$0")/common.sh" "$1"

common+=(global_batch_size=3)

# each NAME STATUS ENVIRONMENT-OF-0 ENVIRONMENT-OF-1 KEY=VALUE...: two ranks that differ ("A=1 B=2")
each() {
  local name=$1 wanted=$2 first second
  read -ra first <<<"$3"
  read -ra second <<<"$4"
  shift 4
  local run=("$program" --device "$device" examples/demo.yaml "${common[@]}" output_dir="$scratch/$name" "$@")
  expect_status "$name" "$wanted" mpirun -np 1 env "${first[@]}" "${run[@]}" : -np 1 env "${second[@]}" "${run[@]}"
}
same_as_plain() {
  if [ -n "$(digest "$1")" ] && [ "$(digest "$1")" = "$(digest plain)" ]; then pass "$1: same bytes"; else flunk "$1: other bytes"; fi
}
nobody_stands_by() {
  if grep -q 'stands* by' "$scratch/err"; then flunk "$1: somebody stands by"; else pass "$1: nobody stands by"; fi
}

train plain 1 || flunk "plain: did not run: $(tail -n 2 "$scratch/err")"

# More ranks than GPUs.
QL_EMU_DEVICES=1 same two-ranks-one-gpu plain 2
expect_line "who stands by" '^note: 1 of 2 ranks stands by \(1\): rank 1 on .* sees 1 device, and GPU-.* is rank 0.s; start one rank for each device'
expect_line "one rank computes" 'device .* 1 rank '
record "24" "" two_ranks_one_gpu "two ranks that see one GPU: one computes, the other stands by; cause and cure are said before NCCL starts; same bytes" "1 of 2 ranks stands by"
QL_EMU_DEVICES=2 same four-ranks-two-gpus plain 4
expect_line "who stands by" '^note: 2 of 4 ranks stand by \(2, 3\): rank 2 on .* sees 2 devices, all taken'
export QL_EMU_DEVICES=2
each each-its-own 0 CUDA_VISIBLE_DEVICES=0 CUDA_VISIBLE_DEVICES=1
same_as_plain each-its-own
nobody_stands_by each-its-own
each both-the-same 0 CUDA_VISIBLE_DEVICES=1 CUDA_VISIBLE_DEVICES=1
same_as_plain both-the-same
expect_line "how they are bound" 'rank 1 on .* sees 1 device \(CUDA_VISIBLE_DEVICES=1\), and GPU-.* is rank 0.s \(CUDA_VISIBLE_DEVICES=1\)'
each room-is-made 0 CUDA_VISIBLE_DEVICES=0,1 CUDA_VISIBLE_DEVICES=0
same_as_plain room-is-made
nobody_stands_by room-is-made
each one-sees-none 64 CUDA_VISIBLE_DEVICES=0 CUDA_VISIBLE_DEVICES=
expect_line "which" 'rank 1.*CUDA_VISIBLE_DEVICES is ""'
device=auto each first-sees-none 0 CUDA_VISIBLE_DEVICES= CUDA_VISIBLE_DEVICES=0
same_as_plain first-sees-none
QL_EMU_UUIDS=11111111-1111-1111-1111-111111111111,11111111-1111-1111-1111-111111111111 same two-numbers-of-one-gpu plain 2
expect_line "it stands by" '1 of 2 ranks stands by'
device=auto QL_EMU_DEVICES=0 train fall-back 2
if grep -q '^device: auto: there is no NVIDIA GPU; computing on the CPU' "$scratch/err"; then pass "no GPU at all: CPUs"; else flunk "no GPU at all: $(head -n 3 "$scratch/err")"; fi
record "24" "T24" binding "GPUs by number, by UUID, shared, crossed, hidden from one rank or from all, one GPU under two numbers: a device of one's own, a rank that stands by, or 64 with the reason" "9 ways"

# What a command computes does not depend on the GPUs that are there.
habit=(global_batch_size=null per_device_train_batch_size=1 gradient_accumulation_steps=2)
train habit 2 "${habit[@]}"
QL_EMU_DEVICES=1 same habit-on-one-gpu habit 2 "${habit[@]}"
expect_line "the rows are those of two ranks" 'global_batch_size is 4: .* x 2 ranks'

# A rank that stands by passes a request to stop on.
QL_EMU_DEVICES=1 mpirun -np 2 sh -c 'echo $$ >"$0/pid-$OMPI_COMM_WORLD_RANK"; exec "$@"' "$scratch" "$program" --device cuda examples/demo.yaml "${common[@]}" \
  output_dir="$scratch/asked" max_steps=500 num_train_epochs=100 >"$scratch/out" 2>"$scratch/err" &
pid=$!
for ((i = 0; i < 3000; i++)); do
  grep -q '"event": "step"' "$scratch/asked/metrics.jsonl" 2>/dev/null && break
  sleep 0.1
done
kill -USR1 "$(cat "$scratch/pid-1")"
wait "$pid"
status=$?
if [ "$status" = 85 ]; then pass "asked while standing by: 85"; else flunk "asked while standing by: $status: $(tail -n 3 "$scratch/err")"; fi
expect_status "scoring with a rank that stands by" 0 env QL_EMU_DEVICES=1 mpirun -np 2 "$program" --device cuda --eval examples/demo.yaml "${common[@]}"
expect_status "bad data with a rank that stands by" 65 env QL_EMU_DEVICES=1 mpirun -np 2 "$program" --device cuda examples/demo.yaml "${common[@]}" \
  dataset="$scratch/none.jsonl" output_dir="$scratch/bad"

# Several buckets, which begin while backward goes on.
train large 1 lora_r=64 warmup_ratio=0
for streams in immediate deferred; do
  QL_EMU_STREAMS=$streams same "buckets-$streams" large 2 lora_r=64 warmup_ratio=0
done
expect_line "buckets" '^exchange NCCL .*, 2 buckets behind the backward pass'
QL_EMU_STREAMS=deferred QL_EMU_OTHER_STREAMS=first same buckets-at-once large 2 lora_r=64 warmup_ratio=0 per_device_train_batch_size=1

# Unequal GPUs: the third step is the first that is dealt by what was measured.
train longer 1 max_steps=4
QLORA_SPEEDS=90,20 QL_EMU_STREAMS=deferred same unequal-for-longer longer 2 max_steps=4 per_device_train_batch_size=1

# What can be wrong between GPUs ends in time, and the run goes on from its last checkpoint.
export QLORA_NCCL_TIMEOUT=60
saving=(save_strategy=steps save_steps=1)
each other-version 64 A=1 QL_EMU_NCCL=version=22700
expect_line "versions" 'NCCL is not of the same version on all ranks'
QLORA_NCCL_TIMEOUT=2 each nobody-comes 75 A=1 QL_EMU_NCCL=1:init_hang
expect_line "meeting" 'NCCL, rank 0, meeting the other ranks: not done after 2 s'
# The first sum is that of the trial at the start (test_nccl_plane has it); the third is that of the second step.
record "" "T27" nccl_start "NCCL of another version on one rank: 64; a rank that does not come: 75 at the deadline" "2 ways"
each error 75 A=1 QL_EMU_NCCL=1:async_error:3 "${saving[@]}"
expect_line "what it is" 'NCCL, rank 1, summing gradients: remote process exited'
QLORA_NCCL_TIMEOUT=6 each hang 75 A=1 QL_EMU_NCCL=1:hang:3 "${saving[@]}"
expect_line "how long it was waited for" 'NCCL, rank [01], summing gradients: not done after 6 s'
train hang 2 "${saving[@]}"
same_as_plain hang
expect_line "it went on" 'resumed: .*checkpoint-00000001, step 1 of 2'

record "5" "T27" nccl_hang "NCCL says an error, or a rank begins no more sums: 75 at the deadline, goes on to the same bytes" "2 ways"

# A GPU that is lost in the middle of a step takes the others down at once, not when their patience ends.
QLORA_NCCL_TIMEOUT=600 each lost-gpu 75 A=1 QL_EMU_FAIL=launch:700:cudaErrorECCUncorrectable "${saving[@]}"
expect_line "which" "rank 1: .*the GPU's memory lost data"
record "7" "" lost_gpu "rank 1 loses its GPU in the middle of a step: all end at once, long before the deadline, and rank and reason are named" "exit status 75"

expect_status "probe" 0 env QL_EMU_DEVICES=2 QL_EMU_CAPABILITY=90,75 QL_EMU_MEMORY=24GiB,16GiB "$program" --probe
if grep -q '^cuda 1 .* compute capability 7.5, 16.00 GiB of memory, ' "$scratch/out" && grep -q '^ *NCCL 2' "$scratch/out"; then
  pass "it lists GPUs"
else
  flunk "probe: $(cat "$scratch/out")"
fi
expect_status "probe as JSON" 0 env QL_EMU_DEVICES=2 "$program" --probe --json
if grep -q '"kind": "cuda", "index": 1, .*"capability": "9.0", "id": "GPU-.*"libraries": \["NCCL 2' "$scratch/out"; then pass "with its fields"; else flunk "JSON: $(cat "$scratch/out")"; fi
finish
