#!/usr/bin/env bash
# The promise of exactness on emulated GPUs: the same bytes for any number of ranks and GPUs, rows at a time, rung of the memory
# ladder, order of threads, and with work that is done as late as streams allow.
#   same_bytes.sh BIN_FOLDER [all]
# shellcheck source=tests/cuda_worker/common.sh
. "$(dirname "$0")/common.sh" "$1"
all=${2:-}

train plain 1 per_device_train_batch_size=1 || flunk "plain: did not run: $(tail -n 2 "$scratch/err")"
train other-seed 1 seed=43
if [ "$(digest other-seed)" != "$(digest plain)" ]; then pass "another seed: other bytes"; else flunk "another seed: same bytes"; fi
same three-rows-at-a-time plain 1 per_device_train_batch_size=3
same recomputing plain 1 gradient_checkpointing=true
QL_EMU_STREAMS=deferred same deferred plain 1
QL_EMU_ORDER=1 same reverse plain 1
QL_EMU_DEVICES=2 same two-gpus plain 2
QL_EMU_DEVICES=2 QL_EMU_STREAMS=deferred same two-gpus-deferred plain 2
QL_EMU_DEVICES=4 QL_EMU_STREAMS=deferred same four-gpus-deferred plain 4
QL_EMU_DEVICES=1 same two-ranks-on-one-gpu plain 2
QL_EMU_DEVICES=2 QL_EMU_MEMORY=16GiB,24GiB same unequal-memory plain 2

# Every rung that a card without room would take.
totals=$("$worker" --device cuda --plan --json examples/demo.yaml "${common[@]}" 2>/dev/null | grep -o '"total_bytes": [0-9]*' |
  grep -o '[0-9]*' | sort -nru)
count=$(wc -w <<<"$totals")
if [ "$count" -ge 5 ]; then pass "the ladder has $count rungs"; else flunk "the ladder has $count rungs"; fi
number=0
for total in $totals; do
  number=$((number + 1))
  # Half of them each time the tests run; the nightly ones take all.
  [ "$all" = all ] || [ $((number % 3)) = 0 ] || [ "$number" = "$count" ] || continue
  QL_EMU_STREAMS=deferred same "rung-of-$total" plain 1 max_memory="$total"
done

# The last rung has moments and inputs of layers on the host. A checkpoint of it goes on without them, and the other way round.
export QL_EMU_STREAMS=deferred
for first in "$total" auto; do
  second=$([ "$first" = auto ] && echo "$total" || echo auto)
  train "on-from-$first" 1 max_memory="$first" save_strategy=steps save_steps=1
  [ "$first" = auto ] || expect_line "moments on the host" "moments on the host, inputs of layers on the host"
  rm -rf "$scratch/on-from-$first"/{checkpoint-00000002,adapter_model.safetensors,run}
  same "on-from-$first" plain 1 max_memory="$second"
  expect_line "it goes on from step 1" "resumed: .*step 1 of 2"
done
unset QL_EMU_STREAMS
if [ "$all" = all ]; then
  QL_EMU_STREAMS=deferred same deferred-one-row plain 1 per_device_train_batch_size=1
  QL_EMU_ORDER=5 same at-random plain 1
  QL_EMU_DEVICES=3 same three-gpus plain 3 per_device_train_batch_size=1
  for ranks in 1 2 3 4; do
    for streams in immediate deferred; do
      for rows in 1 2 5; do
        QL_EMU_DEVICES=$ranks QL_EMU_STREAMS=$streams same "gpus-$ranks-$streams-rows-$rows" plain "$ranks" per_device_train_batch_size="$rows"
      done
    done
  done
fi
finish
