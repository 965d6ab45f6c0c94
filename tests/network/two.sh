#!/usr/bin/env bash
# One run on two hosts: the bytes of one host, and what is said when the hosts do not fit together.
#   two.sh BIN_FOLDER
# shellcheck source=tests/network/harness.sh
. "$(dirname "$0")/harness.sh" "$1"
common+=(max_steps=12 save_steps=5)

# ---- the same bytes ----
undisturbed
on_hosts plain
exits plain 0
same_bytes plain
nothing_left plain
link=$(sed -n "s/^links *$host_b //p" "$scratch/err")
if [[ $link == *' MB/s, '*' ms over eth0' ]]; then pass "plain: the link was tried: $link"; else flunk "plain: the link: '$link'"; fi
# On a busy machine it may be slow, indeed.
if awk -v link="$link" 'BEGIN {split(link, word); exit !(word[1] > 60 && word[3] < 10)}' && grep -q 'is slow' "$scratch/err"; then
  flunk "plain: a link that is not slow is said to be"
else
  pass "plain: no warning without reason"
fi
both=$host_a:2,$host_b:2 on_hosts four
exits four 0
same_bytes four
record "" "T16 T17" hosts "two hosts of one or two ranks each: the bytes of one rank on one host, nothing is left" "link $link"

# From another host than those that compute.
both=$host_b on_hosts far
exits far 0
same_bytes far
printf '%s slots=1\n%s\n' "$host_a" "$host_b" >"$scratch/hostfile"
as_hosts file
job=("${job[0]}" run --hostfile "$scratch/hostfile" "${job[@]:4}")
run_bounded on a "${job[@]}"
exits file 0
same_bytes file
# A request to stop finds them there.
as_hosts asked max_steps=400
job[3]=$host_b
run_id=$scratch/$((runs += 1))
QLORA_RUN_ID=$run_id timeout -k 5 "$bound" on a setsid -w sh -c 'echo $$ >"$0"; exec "$@"' "$scratch/pid" "${job[@]}" >"$scratch/out" 2>"$scratch/err" </dev/null &
running=$!
until [ -s "$scratch/asked/metrics.jsonl" ] || ! kill -0 "$running" 2>/dev/null; do sleep 0.05; done
on a kill -TERM "$(cat "$scratch/pid")"
wait "$running"
status=$?
exits asked 85
no_one_left asked
record "" "T20" far "all ranks on another host; hosts from a file" "same bytes"

# ---- what is not there on the other host ----
# hide FOLDER: b sees an empty one in its place
hide() {
  mkdir -p "$1"
  on b mount -t tmpfs hidden "$1"
}
one_cause() { # NAME PATTERN: whoever complains, says that
  local others
  others=$(grep '^qlora: error: ' "$scratch/err" | grep -Evc -- "$2")
  if grep -Eq -- "^qlora: error: rank 1 on $host_b: $2" "$scratch/err" && [ "$others" = 0 ]; then pass "$1: said with host and path"; else flunk "$1: it said: $(grep '^qlora' "$scratch/err" | head -n 4)"; fi
}
hide "$scratch/only-a"
sed "s|: examples/|: $PWD/examples/|" examples/demo.yaml >"$scratch/only-a/demo.yaml"
as_hosts no-config
job[6]=$scratch/only-a/demo.yaml
run_bounded on a "${job[@]}"
exits no-config 64
one_cause no-config "$scratch/only-a/demo.yaml: cannot be opened: No such file or directory"
no_one_left no-config
config_seconds=$seconds
cp "$scratch/data.jsonl" "$scratch/only-a/data.jsonl"
on_hosts no-data dataset="$scratch/only-a/data.jsonl"
exits no-data 65
one_cause no-data ".*$scratch/only-a/data.jsonl.*"
record "" "" absent "a configuration, data that are not on the other host: 64, 65, all down, host and path are named" "down in $config_seconds s"
on_hosts only-a/out
exits only-a/out 64
one_cause only-a/out "output_dir $scratch/only-a/out is not on $host_b what it is on $host_a, where rank 0 writes; choose a folder that all hosts share"
if [ -z "$(find "$scratch/only-a/out" -type f -not -name generation -not -name lock)$(on b ls "$scratch/only-a")" ]; then pass "only-a/out: nothing was written"; else flunk "only-a/out: something was written"; fi
no_one_left only-a/out
record "" "" not_shared "an output folder that is not shared: 64 before the first step, the host and the cure are named" "down in $seconds s"

# ---- interfaces ----
# Docker's bridge has the same address on all hosts; Open MPI alone takes it and waits for itself.
for host in a b; do
  on $host ip link add docker0 type veth peer name veth0
  on $host ip address add 172.17.0.1/16 dev docker0
  on $host ip link set docker0 up
  on $host ip link set veth0 up
done
on_hosts bridges
exits bridges 0
same_bytes bridges
OMPI_MCA_btl_tcp_if_include=docker0 QLORA_INIT_TIMEOUT=4 on_hosts wrong max_restarts=0
exits wrong 75
within "wrong interface" "$seconds" 6
expect_line "wrong: the variable and the interfaces" "within 4 s.*OMPI_MCA_btl_tcp_if_include and NCCL_SOCKET_IFNAME; here: .*eth0 10.78.0.*docker0 172.17.0.1 \(to containers, not to hosts\)"
no_one_left wrong
record "25" "" wrong_interface "the same bridge of containers on both hosts: not taken, the run goes well; asked for by name: the start ends at its deadline and lists the interfaces" \
  "down in $seconds s"
OMPI_MCA_btl_tcp_if_include=eth7 on_hosts none max_restarts=0
exits none 75
expect_line "none: the variable and the interfaces" "do not reach each other: .*OMPI_MCA_btl_tcp_if_include.*eth0 10.78.0"
record "25" "" no_interface "an interface that is not there: 75 at once, with the list" "down in $seconds s"

# A second network beside the first, which is slow: the self test says so, and what to name; named, it is fast.
cables=0
for host in a b; do
  plug "$host" "$((++cables + 10))" eth1 "10.79.0.$cables"
  slow "$host" 100mbit
done
OMPI_MCA_btl_tcp_if_include=eth0 on_hosts slow-one
exits slow-one 0
same_bytes slow-one
expect_line "slow-one: the link is named" "warning: rank 0 on $host_a: the link to $host_b is slow, [0-9.]* MB/s, [0-9.]* ms over eth0: .*OMPI_MCA_btl_tcp_if_include.* eth1 10.79.0.1.*on $host_b: .*eth1 10.79.0.2"
slow_link=$(sed -n "s/^links *$host_b //p" "$scratch/err")
OMPI_MCA_btl_tcp_if_include=eth1 on_hosts chosen
exits chosen 0
same_bytes chosen
chosen_link=$(sed -n "s/^links *$host_b //p" "$scratch/err")
if [[ $chosen_link == *'over eth1' ]]; then pass "chosen: $chosen_link"; else flunk "chosen: '$chosen_link'"; fi
record "25" "" self_test "of two networks the slow one is named by the self test, with what to set; the other one is taken when it is named" "$slow_link; $chosen_link"
finish
