# shellcheck shell=bash
# For tests with a real Slurm: `. slurm.sh "$@"` as the first line of a script. From there on the script runs in name spaces of its own (processes,
# network, mounts), so that any number of clusters run beside each other, nobody outside hears them, and the kernel takes everything away at the
# end, whatever happens. `cluster_up N` starts munged, slurmctld and N machines n0, n1, ..., each with its own network, host name, /dev/shm, two
# processors and two GPUs that are twins of /dev/null.
if [ "${QL_IN_SPACE:-}" != yes ]; then
  missing=()
  [ "$(id -u)" = 0 ] || missing+=("root")
  for program in unshare nsenter ip slurmctld slurmd sbatch munged; do command -v "$program" >/dev/null || missing+=("$program"); done
  spaces=(--mount --net --pid --uts --ipc --fork --kill-child --mount-proc)
  [ ${#missing[@]} -gt 0 ] || unshare "${spaces[@]}" mount -t tmpfs none /run 2>/dev/null || missing+=("name spaces")
  if [ ${#missing[@]} -gt 0 ]; then
    echo "skipped: a cluster needs what is not here: ${missing[*]}"
    exit 77
  fi
  QL_IN_SPACE=yes exec unshare "${spaces[@]}" bash "$0" "$@"
fi

mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=1777 shared /dev/shm
mkdir -m 1777 /run/tmp
export TMPDIR=/run/tmp
unset "${!SLURM_@}" "${!SBATCH_@}"
# shellcheck source=tests/support/shell.sh
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh" "$(cd "$1" && pwd)"
trap - EXIT # nothing of it outlives us
unset TMPDIR
need_mpirun

cluster=/run/cluster
export SLURM_CONF=$cluster/slurm.conf
network=10.77.0
slurmd_of=() # process ids

# start_slurmd NODE: in the node's network, with a /dev/shm of its own
start_slurmd() {
  # Not `ip netns exec`, which mounts a /sys in which slurmd misses its control groups.
  nsenter --net="/run/netns/n$1" unshare --mount --uts sh -c "mount -t tmpfs -o mode=1777 shared /dev/shm &&
    hostname n$1 && exec slurmd -D -N n$1" >>"$cluster/log/slurmd-n$1.out" 2>&1 &
  # shellcheck disable=SC2034 # for tests
  slurmd_of[$1]=$!
}

start_node() {
  ip netns add "n$1"
  ip link add "v$1" type veth peer name eth0 netns "n$1"
  ip link set "v$1" master hub up
  ip -n "n$1" addr add "$network.$((10 + $1))/24" dev eth0
  ip -n "n$1" link set eth0 up
  ip -n "n$1" link set lo up
  start_slurmd "$1"
}

write_configuration() {
  local nodes=$1 i
  shift
  {
    echo "127.0.0.1 localhost"
    echo "$network.1 head"
    for ((i = 0; i < nodes; i++)); do echo "$network.$((10 + i)) n$i"; done
  } >"$cluster/hosts"
  printf 'Name=gpu File=%s\n' "$cluster/gpu[0-1]" >"$cluster/gres.conf"
  cat >"$SLURM_CONF" <<END
ClusterName=test
SlurmctldHost=head($network.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$cluster/munge.socket
CredType=cred/munge
StateSaveLocation=$cluster/state
SlurmdSpoolDir=$cluster/spool-%n
TmpFS=$cluster/tmp-%n
SlurmctldPidFile=$cluster/slurmctld.pid
SlurmdPidFile=$cluster/slurmd-%n.pid
SlurmctldLogFile=$cluster/log/slurmctld
SlurmdLogFile=$cluster/log/slurmd-%n
SlurmdDebug=info
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmctldTimeout=10
SlurmdTimeout=${slurmd_timeout:-10}
KillWait=5
MinJobAge=300
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=n[0-$((nodes - 1))] NodeAddr=$network.[10-$((9 + nodes))] CPUs=2 RealMemory=2000 Gres=gpu:2
PartitionName=main Nodes=ALL Default=YES MaxTime=UNLIMITED PriorityTier=1 GraceTime=${grace_time:-10}
PartitionName=urgent Nodes=ALL MaxTime=UNLIMITED PriorityTier=10 PreemptMode=OFF
END
  printf '%s\n' "$@" >>"$SLURM_CONF"
}

# wait_until SECONDS COMMAND...: looks four times a second
wait_until() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.25
  done
}

nodes_are_idle() {
  [ "$(timeout 10 sinfo -h -p main -N -t idle -o %N 2>/dev/null | sort -u | wc -l)" = "$1" ]
}

# cluster_up NODES [LINE OF slurm.conf]...
cluster_up() {
  local nodes=$1 i
  mkdir -p "$cluster/log" "$cluster/state"
  mkdir -m 700 "$cluster/munge"
  for i in 0 1; do mknod -m 666 "$cluster/gpu$i" c 1 3; done
  for ((i = 0; i < nodes; i++)); do mkdir "$cluster/spool-n$i" "$cluster/tmp-n$i"; done
  write_configuration "$@"
  hostname head
  mount --bind "$cluster/hosts" /etc/hosts
  ip link set lo up
  ip link add hub type bridge
  ip addr add "$network.1/24" dev hub
  ip link set hub up
  (umask 077 && head -c 128 /dev/urandom >"$cluster/munge/key")
  munged --foreground --force --key-file "$cluster/munge/key" --seed-file "$cluster/munge/seed" --pid-file "$cluster/munge/pid" \
    --log-file "$cluster/log/munge" --socket "$cluster/munge.socket" >"$cluster/log/munged.out" 2>&1 &
  wait_until 30 test -S "$cluster/munge.socket" || cluster_failed "munged does not start"
  slurmctld -D -i >"$cluster/log/slurmctld.out" 2>&1 &
  # shellcheck disable=SC2034 # for tests
  slurmctld=$!
  for ((i = 0; i < nodes; i++)); do start_node "$i"; done
  wait_until 120 nodes_are_idle "$nodes" || cluster_failed "the machines do not come up"
}

cluster_failed() {
  echo "no cluster: $1"
  tail -n 20 "$cluster"/log/*
  exit 1
}

# The state of a job as squeue has it; nothing when it is over and forgotten.
state_of() {
  squeue -h -t all -j "$1" -o %T 2>/dev/null | head -n 1
}

fact_of() { # JOB KEY, of scontrol show job
  scontrol -o show job "$1" 2>/dev/null | grep -oE "(^| )$2=[^ ]*" | head -n 1 | cut -d= -f2-
}

is_over() {
  case $(state_of "$1") in PENDING | RUNNING | COMPLETING | CONFIGURING | REQUEUED) return 1 ;; *) return 0 ;; esac
}

is_in_state() { # JOB STATE
  [ "$(state_of "$1")" = "$2" ]
}
