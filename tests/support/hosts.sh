# shellcheck shell=bash disable=SC2034,SC2154
# Several hosts on one machine, for shell tests (after shell.sh): each has its own name, network, /dev/shm, processes and loopback, and an
# eth0 on a switch that is in no other host's network either. Files are shared. Needs root; everything is gone with the test.
#   hosts_up NAME...         names become ql-NAME-PID ($host_NAME), addresses 10.78.0.1, 10.78.0.2, ...
#   on NAME COMMAND...       runs it there, with this environment
#   link NAME down|up        pulls the cable of a host, or puts it back
#   lose NAME PERCENT        so many of the packets that a host is sent are lost; 0: none
#   slow NAME RATE           "100mbit": what leaves a host is that slow; none: as fast as it can
#   switch_off NAME          all its processes are killed at once, behind a pulled cable
# `ssh ql-NAME-PID COMMAND` works from every host: beyond there is a new environment, as there should be.

need_hosts() {
  local tool
  if [ "$(id -u)" != 0 ]; then
    echo "skipped: hosts with networks of their own need root"
    exit 77
  fi
  for tool in ip tc nft nsenter unshare; do
    if ! command -v "$tool" >/dev/null; then
      echo "skipped: $tool is not there; scripts/packages.sh installs it"
      exit 77
    fi
  done
  if ! unshare --net --uts --mount --pid --fork ip link set lo up 2>/dev/null; then
    echo "skipped: this system makes no namespaces for us"
    exit 77
  fi
}

declare -A host_pid=()
yard= # what hosts have in common, outside of their view

# The first process of a host. What it starts in its place lives in namespaces of its own, of which it is the last to go.
start_host() { # NAME ADDRESS...
  local name=$1 full=$2 i
  unshare --net --uts --mount --pid --fork --kill-child bash -c '
    yard=$1 name=$2
    hostname "$name"
    mount --bind "$yard" /mnt
    mount -t tmpfs shm /dev/shm
    mkdir -p "$yard"
    mount --bind /mnt "$yard" && umount /mnt
    mount -t proc proc /proc
    mount --bind "$yard/names" /etc/hosts
    mount --bind /dev/null /etc/resolv.conf 2>/dev/null
    echo ready >"$yard/ready-$name"
    while :; do sleep 1000 & wait; done' host "$yard" "$full" </dev/null >/dev/null 2>&1 &
  host_top+=($!)
  disown
  for ((i = 0; i < 1000; i++)); do
    [ ! -e "$yard/ready-$full" ] || break
    sleep 0.02
  done
  host_pid[$name]=$(cut -d' ' -f1 "/proc/$!/task/$!/children")
  echo "${host_pid[$name]}" >"$yard/pid-$name"
}
host_top=()

hosts_up() {
  local name number=0 full
  yard=$(cd "$scratch" && pwd)
  trap hosts_down EXIT
  printf '127.0.0.1 localhost\n' >"$yard/names"
  for name; do
    number=$((number + 1))
    printf '10.78.0.%d ql-%s-%d\n' "$number" "$name" "$$" >>"$yard/names"
  done
  start_switch
  write_on
  number=0
  for name; do
    number=$((number + 1)) full=ql-$name-$$
    printf -v "host_$name" %s "$full"
    start_host "$name" "$full"
    plug "$name" "$number" eth0 "10.78.0.$number"
    on "$name" ip link set lo up
  done
  start_exchange
}

start_switch() {
  unshare --net --fork --kill-child sleep infinity </dev/null >/dev/null 2>&1 &
  host_top+=($!)
  disown
  until switch_pid=$(cut -d' ' -f1 "/proc/$!/task/$!/children" 2>/dev/null) && [ -n "$switch_pid" ]; do sleep 0.02; done
  in_switch ip link add br0 type bridge
  in_switch ip link set br0 up
}

in_switch() {
  nsenter --net="/proc/$switch_pid/ns/net" "$@"
}

# plug NAME PORT INTERFACE ADDRESS: one more cable
plug() {
  in_switch ip link add "port$2" type veth peer name "$3" netns "${host_pid[$1]}"
  in_switch ip link set "port$2" master br0 up
  on "$1" ip address add "$4/24" dev "$3"
  on "$1" ip link set "$3" up
}

# A program, so that timeout and others can start it.
write_on() {
  mkdir -p "$yard/path"
  cat >"$yard/path/on" <<'END'
#!/bin/sh
pid=$(cat "$(dirname "$(dirname "$0")")/pid-$1")
shift
exec nsenter --target "$pid" --net --uts --mount --pid sh -c 'cd "$0" && exec "$@"' "$PWD" "$@"
END
  chmod +x "$yard/path/on"
  export PATH=$yard/path:$PATH
}

# Behind `ssh` there is somebody outside of all hosts who can enter each: no host sees the others' processes.
start_exchange() {
  mkdir -p "$yard/calls"
  mkfifo "$yard/exchange"
  cat >"$yard/path/ssh" <<'END'
#!/usr/bin/env bash
yard=$(dirname "$(dirname "$0")")
while [[ ${1:-} == -* ]]; do shift; done
call=$(mktemp -d "$yard/calls/XXXXXX")
mkfifo "$call/out" "$call/err"
echo "$1" >"$call/host"
shift
echo "$*" >"$call/command"
echo "$call" >"$yard/exchange"
cat "$call/out" &
cat "$call/err" >&2 &
wait
exit "$(cat "$call/status" 2>/dev/null || echo 255)"
END
  chmod +x "$yard/path/ssh"
  serve_calls >/dev/null 2>&1 &
  host_top+=($!)
  disown
}

serve_calls() {
  local call name
  exec 3<>"$yard/exchange"
  while read -r call <&3; do
    name=$(sed 's/^ql-\(.*\)-[0-9]*$/\1/' "$call/host")
    (
      exec 3<&- >"$call/out" 2>"$call/err"
      if [ -n "${host_pid[$name]:-}" ] && [ ! -e "$yard/off-$name" ] && [ ! -e "$yard/down-$name" ]; then
        on "$name" env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/root sh -c "cd; $(cat "$call/command")" </dev/null
        echo $? >"$call/status"
        linger "$name"
      else
        echo "ssh: connect to host $name: No route to host" >&2
        echo 255 >"$call/status"
      fi
    ) &
  done
}

# Whoever calls a host that loses its power waits for ever.
linger() {
  [ -e "$yard/off-$1" ] || return 0
  echo $BASHPID >>"$yard/lingering"
  exec sleep infinity
}

link() {
  if [ "$2" = down ]; then touch "$yard/down-$1"; else rm -f "$yard/down-$1"; fi
  on "$1" ip link set eth0 "$2"
}

lose() {
  on "$1" nft flush ruleset
  [ "$2" != 0 ] || return 0
  printf 'table inet loss {\n chain entry {\n type filter hook input priority 0;\n iif eth0 numgen random mod 100 < %d drop\n }\n}\n' "$2" |
    on "$1" nft -f -
}

slow() {
  if [ "$2" = none ]; then
    on "$1" tc qdisc del dev eth0 root
  else
    on "$1" tc qdisc replace dev eth0 root tbf rate "$2" burst 64kb latency 200ms
  fi
}

switch_off() {
  touch "$yard/off-$1"
  on "$1" ip link set eth0 down
  kill -KILL "${host_pid[$1]}"
}

hosts_down() {
  local pid
  for pid in "${host_pid[@]}" "${host_top[@]}"; do kill -KILL "$pid" 2>/dev/null; done
  [ ! -e "$yard/lingering" ] || xargs -r kill -KILL <"$yard/lingering" 2>/dev/null
  for pid in "${host_top[@]}"; do while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done; done
  rm -rf "$scratch" /tmp/ompi.ql-[a-z]*-$$.* # what a host without power cannot remove itself
}
