#!/usr/bin/env bash
# Networks that lose packets, or are slow: the same bytes, later, and nobody is taken for dead.
#   slow.sh BIN_FOLDER [all]     all: worse ones
# shellcheck source=tests/network/harness.sh
. "$(dirname "$0")/harness.sh" "$@"
common+=(max_steps=12 save_steps=5)
undisturbed
on_hosts good
exits good 0
same_bytes good
good=$seconds

# No false alarm, although a hang would be noticed within $deadline seconds.
far=0
bad_network() { # NAME
  QLORA_STEP_TIMEOUT=${deadline:-15} on_hosts "$1" max_restarts=0
  exits "$1" 0
  same_bytes "$1"
  if grep -Eq 'made no progress|no sign of life|network' <(grep '^qlora: error' "$scratch/err"); then flunk "$1: a false alarm"; else pass "$1: no false alarm"; fi
  nothing_left "$1"
}

both_ways() { # COMMAND VALUE
  "$1" a "$2"
  "$1" b "$2"
}

both_ways lose 5
bad_network lossy
both_ways lose 0
record "16" "T44" loss "5 % of the packets are lost in both directions: slower, the same bytes, no false alarm" "$seconds s; without: $good s"

both_ways slow 100mbit
bad_network slow
expect_line "slow: the link is named" "the link to $host_b is slow, [0-9.]* MB/s, .* over eth0"
rate=$(sed -n "s/^links *$host_b \(.* MB.s\).*/\1/p" "$scratch/err")
both_ways slow none
record "16" "T44" mbit_100 "100 Mbit: slower, the same bytes, no false alarm; the link is named at the start" "$rate, $seconds s; without: $good s"

# 25 ms each way.
if [ -c /dev/net/tun ]; then
  "$bin/slow_wire" "${host_pid[a]}" "${host_pid[b]}" far0 25 >"$scratch/wire" &
  wire=$!
  host_top+=("$wire")
  until grep -q ready "$scratch/wire" || ! kill -0 "$wire" 2>/dev/null; do sleep 0.02; done
  for host in a b; do
    on $host ip address add "10.80.0.$((++far))/24" dev far0
    on $host ip link set far0 up
  done
  OMPI_MCA_btl_tcp_if_include=far0 bad_network delayed
  answer=$(sed -n "s/^links *$host_b .*, \([0-9.]*\) ms over far0/\1/p" "$scratch/err")
  if awk "BEGIN {exit !(${answer:-0} >= 50)}"; then pass "delayed: answers after $answer ms"; else flunk "delayed: answers after '$answer' ms"; fi
  expect_line "delayed: the link is named" "the link to $host_b is slow, .* over far0"
  kill "$wire"
  wait "$wire" 2>/dev/null
  record "16" "T44" delay "25 ms on the way, each way: slower, the same bytes, no false alarm" "$seconds s; without: $good s"
else
  echo "without /dev/net/tun no delay is tried"
fi

if [ -n "$all" ]; then
  both_ways lose 10
  deadline=60 bad_network very-lossy
  both_ways lose 0
  record "16" "T44" loss_10 "10 % of the packets are lost in both directions" "$seconds s; without: $good s"
  both_ways slow 10mbit
  bad_network very-slow
  both_ways slow none
  record "16" "T44" mbit_10 "10 Mbit" "$seconds s; without: $good s"
fi
finish
