#!/usr/bin/env bash
# qlora doctor without a configuration: each thing that can be wrong with a machine is made wrong, and has to be found.
# usage: machine.sh BIN_FOLDER
export TMPDIR=/tmp # not in /dev/shm: that is made small below
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/../support/shell.sh" "$1"
# shellcheck source=tests/doctor/fakes.sh
. "$(dirname "$0")/fakes.sh"
export TMPDIR=$scratch/tmp HOME=$home
unset CUDA_VISIBLE_DEVICES NVIDIA_VISIBLE_DEVICES OMPI_MCA_btl NCCL_SOCKET_IFNAME LD_PRELOAD LD_LIBRARY_PATH

# A program that does not answer; looked at when the rest is done. It is a real process, and so is what it started.
mkdir "$scratch/silent"
printf '#!/bin/sh\n[ "$1" = --version ] && exit 0\nsleep 1234.5 & echo $! $$ >%s/silent/pids\nwait\n' "$scratch" >"$scratch/silent/srun"
chmod +x "$scratch/silent/srun"
(PATH=$scratch/silent:/usr/bin:/bin "$home/bin/qlora" doctor >"$scratch/silent/out" 2>&1) &
silent=$!

# Where they are not what is looked at: an mpirun that answers at once, and no srun.
plain() {
  rm -f "$fakes"/*
  fake mpirun 'case "$1" in --version) echo "mpirun (Open MPI) 4.1.4" ;; *) echo "{\"ranks\": 1}" ;; esac'
  fake srun 'exit 127'
}
plain

# ---- the worker ----
doctor 75
finds "no worker" '^error +worker +qlora-worker lies neither beside qlora nor in PATH'
finds "a count at the end" '^[1-9][0-9]* errors?, [0-9]+ warnings?, [0-9]+ notes?$'
fake_worker "$(probe "$cpu" '' 9.9.9)"
doctor 75
finds "another version" "^error +worker .* is version 9.9.9, and this is qlora $version"
fake_worker '{"devices": [{]'
doctor 75
finds "broken JSON" '^error +worker .*--probe says nothing that can be read'
fake_worker ''
printf '#!/bin/sh\necho "$0: error while loading shared libraries: libx.so.1: no such file" >&2\nexit 127\n' >"$home/bin/qlora-worker"
doctor 75
finds "a library is missing" '^error +worker .* cannot start: .*libx.so.1'
printf '#!/bin/sh\nkill -ILL $$\n' >"$home/bin/qlora-worker"
doctor 75
finds "another processor" '^error +worker .*lacks instructions'

# ---- driver and GPUs ----
if [ "$(id -u)" != 0 ]; then
  mkdir "$scratch/closed"
  chmod 000 "$scratch/closed"
  fake_worker "$(probe "$cpu" '')"
  PATH=$scratch/closed:$fakes:/usr/bin:/bin "$home/bin/qlora" doctor >"$scratch/out" 2>"$scratch/err"
  finds_not "a folder of PATH that may not be entered" '^error'
fi
fake_worker "$(probe "$cpu, $(gpu 0 3000000000 '"peers": []'), $(gpu 1 17000000000 '"peers": [0]')" '')"
fake nvidia-smi 'case "$1" in --query-compute-apps*) printf "GPU-0, 4711, python, 12000 MiB\nGPU-1, 4712, other, 1 MiB\n" ;; *) printf "0, 580.65, Prohibited, 0\n1, 580.65, Default, 3\n" ;; esac'
CUDA_VISIBLE_DEVICES=0,0 NCCL_P2P_DISABLE=1 doctor 75
finds "the driver" '^ok +driver +driver for CUDA 13.0'
finds "a GPU in use" '^warning +gpus +GPU 0: only 2.79 GiB of its 16.00 GiB are free, other programs use it: process 4711 \(python\) 12000 MiB$'
finds "a GPU that is free" '^ok +gpus +GPU 1: A card, compute capability 9.0'
finds "no peer access" '^note +gpus +GPU 0 does not reach the memory of GPU 1'
finds "no NCCL" '^warning +gpus +this build has no NCCL'
finds "compute mode" '^error +driver +GPU 0 is in compute mode Prohibited'
finds "memory errors" '^warning +driver +GPU 1 had 3 memory errors'
finds "CUDA_VISIBLE_DEVICES" '^warning +gpus +CUDA_VISIBLE_DEVICES="0,0" names a GPU twice'
finds "a variable of debugging" '^warning +environment +NCCL_P2P_DISABLE=1 forbids'
finds "two GPUs cannot do without MPI's ranks" '^error +mpi '
fake_worker "$(probe "$cpu, $(gpu 0 17000000000 '"peers": [1]'), $(gpu 1 17000000000 '"peers": [0], "problem": "out of order"')" '"NCCL 2.28.9"')"
fake nvidia-smi 'echo "Failed to initialize NVML: Driver/library version mismatch"; exit 18'
doctor 75
finds "a mixed driver" '^error +driver +nvidia-smi: Failed to initialize NVML: Driver/library version mismatch'
finds "a GPU out of order" '^warning +gpus +GPU 1 cannot be used: out of order'
finds "NCCL" '^ok +gpus +NCCL 2.28.9'
fake_worker "$(probe "$cpu, $(gpu 0 17000000000 '"peers": []')" '"NCCL 0.0.0"')"
rm "$fakes/nvidia-smi"
NVIDIA_VISIBLE_DEVICES=void doctor 0
finds "NCCL is gone" '^warning +gpus +NCCL was there when'
finds "a container without GPUs" '^warning +gpus +NVIDIA_VISIBLE_DEVICES=void'

# ---- MPI and Slurm ----
fake_worker "$(probe "$cpu" '')"
fake mpirun 'case "$1" in --version) echo "HYDRA build details:"; echo "    Version:   4.0.2" ;; esac'
for other in mpiexec mpirun.openmpi mpirun.mpich mpiexec.hydra; do fake "$other" 'exit 1'; done
doctor 0
finds "another MPI" '^note +mpi +mpirun is that of MPICH 4.0.2, and the workers were built with Open MPI'
fake mpirun 'case "$1" in --version) echo "mpirun (Open MPI) 4.1.4" ;; *) echo; echo "----"; echo "There are not enough slots"; exit 1 ;; esac'
doctor 0
finds "mpirun refuses" '^warning +mpi +Open MPI 4.1.4 does not start 2 workers: There are not enough slots'
fake mpirun 'case "$1" in --version) echo "mpirun (Open MPI) 4.1.4" ;; *) echo "{\"ranks\": 1}"; echo "{\"ranks\": 1}" ;; esac'
doctor 0
finds "two alone" '^warning +mpi +.*each of which believes to be alone'
fake_worker "$(probe "$cpu" '' "$version" '')"
doctor 0
finds "a build without MPI" '^warning +mpi +this build has no MPI'
fake_worker "$(probe "$cpu" '')"
fake mpirun 'case "$1" in --version) echo "mpirun (Open MPI) 4.1.4" ;; *) echo "{\"ranks\": 3, \"places\": [{\"host\": \"a\", \"version\": \"'"$version"'\", \"seconds_ahead\": 0.0}, {\"host\": \"a\", \"version\": \"'"$version"'\", \"seconds_ahead\": 0.001}, {\"host\": \"b\", \"version\": \"0.0.1\", \"seconds_ahead\": -61.5}]}" ;; esac'
doctor 75 --hosts a:2,b
finds "several hosts" '^ok +mpi +Open MPI 4.1.4 started 3 workers on a, b that found each other'
finds "another version on a host" '^error +mpi +qlora-worker on b is version 0.0.1'
finds "a clock that is wrong" '^note +mpi +the clock of b is 61.5 s behind that of a'
fake mpirun 'case "$1" in --version) echo "mpirun (Open MPI) 4.1.4" ;; *) echo "Host key verification failed." >&2; exit 1 ;; esac'
doctor 75 --hosts a,b
finds "a host that is not reached" '^error +mpi +Open MPI 4.1.4 does not start 2 workers: Host key verification failed'
doctor 64 --hosts 'a,$(touch x)'
finds_not "hosts that are none" .
SLURM_STEP_ID=0 doctor 0
finds "inside a step" '^note +mpi +this is a task of srun, in which no mpirun'
SLURM_STEP_ID=4294967290 doctor 0
finds "an interactive step is none" '^warning +mpi +Open MPI 4.1.4 does not start'
plain
fake srun 'printf "MPI plugin types are...\n\tnone\n\tpmi2\n"'
fake sbatch 'exit 0'
fake scontrol 'exit 0'
SLURM_JOB_ID=77 SLURM_GPUS_PER_TASK=1 doctor 0
finds "srun without PMIx" '^warning +slurm +srun --mpi=list knows no pmix'
finds "inside a job" '^note +slurm +this is inside Slurm job 77'
finds "--gpus-per-task" '^warning +slurm +the job has --gpus-per-task'
fake srun 'case "$1 $2" in *cpu-bind*) echo "{\"ranks\": 1}" ;; *) printf "MPI plugin types are...\n\tnone\n\tpmix\n" ;; esac'
SLURM_JOB_ID=77 SLURM_NTASKS=2 doctor 0
finds "srun whose workers are alone" '^warning +slurm +srun --mpi=pmix does not start 2 workers that find each other: each believes'
SLURM_JOB_ID=77 SLURM_NTASKS=2 SLURM_STEP_ID=0 doctor 0
finds_not "no srun in a task of srun" 'does not start 2 workers'
doctor 0
finds "srun with PMIx" '^ok +slurm +srun speaks PMIx'
fake srun 'echo "srun: fatal: no configuration" >&2; exit 1'
doctor 0
finds "Slurm is not set up" '^note +slurm +srun is here, and Slurm is not set up: srun: fatal'
plain

# ---- limits, environment, user ----
(ulimit -n 100 && ulimit -f 100000 && ulimit -t 5000 && ulimit -s unlimited && doctor 0 && cp "$scratch/out" "$scratch/limits")
cp "$scratch/limits" "$scratch/out"
finds "few open files" '^warning +limits +ulimit -n: open files limited to 100'
finds "the size of files" '^warning +limits +ulimit -f: '
finds "processor time" '^warning +limits +ulimit -t: processor time limited to 5000'
finds "an endless stack" '^note +limits +ulimit -s is unlimited'
if grep -q __asan_init "$bin/qlora"; then
  echo "left out: addresses cannot be limited under the address sanitizer"
else
  (ulimit -v 8000000 && doctor 0 && cp "$scratch/out" "$scratch/limits")
  cp "$scratch/limits" "$scratch/out"
  finds "addresses" '^warning +limits +ulimit -v: '
fi
long=$scratch/tmp/$(printf 'x%.0s' {1..60})
mkdir "$long"
OMP_NUM_THREADS=1 LD_LIBRARY_PATH=/x OMPI_MCA_btl=self,tcp LD_PRELOAD='' HDF5_PLUGIN_PATH=/x CUDA_LAUNCH_BLOCKING=1 TORCH_NCCL_BLOCKING_WAIT=1 TMPDIR=$long HOME=/no/where XDG_CACHE_HOME='' doctor 0
finds "what loads code" '^warning +environment +HDF5_PLUGIN_PATH loads code into the workers'
finds "where libraries are" '^note +environment +LD_LIBRARY_PATH loads code'
finds "what forces MPI" '^note +environment +OMPI_MCA_btl=self,tcp forces'
finds "what makes slow" '^warning +environment +CUDA_LAUNCH_BLOCKING=1 makes'
finds "what is PyTorch's" '^note +environment +TORCH_NCCL_BLOCKING_WAIT=1 is a setting of PyTorch'
finds "a long TMPDIR" '^warning +tmp +TMPDIR has [0-9]+ characters'
finds "no home" '^warning +user +HOME is /no/where, which cannot be entered'
finds "an unknown instruction set" '^ok +cpus +the CPU back end uses'
if [ "$(nproc)" -gt 1 ]; then finds "OMP_NUM_THREADS" '^note +cpus +OMP_NUM_THREADS=1'; fi
TMPDIR=$scratch/none QLORA_CPU=cray NCCL_SOCKET_IFNAME=nosuch0 doctor 64
finds "TMPDIR is not there" "^error +tmp +$scratch/none, where mpirun keeps its sockets, cannot be written"
finds "QLORA_CPU" '^error +cpus .*cray'
finds "an interface that is not there" '^error +network +NCCL_SOCKET_IFNAME=nosuch0'
mkdir -p "$scratch/cache/qlora"
chmod 777 "$scratch/cache/qlora"
doctor 0
finds "a cache that others may write" '^warning +cache .*it is not used'
XDG_CACHE_HOME=/dev/null/x doctor 0
finds "a cache that cannot be written" '^warning +cache .*cannot be written'
if [ "$(nproc)" -gt 1 ]; then
  PATH=$fakes:/usr/bin:/bin taskset -c "$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')" "$home/bin/qlora" doctor >"$scratch/out"
  finds "bound to one processor" '^warning +cpus +only 1 of [0-9]+ processors are allowed'
fi
if [ -d /proc/driver/nvidia ]; then :; else finds "no driver" '^(note|warning) +driver '; fi

# ---- JSON ----
doctor 0 --json
finds_not "nothing but JSON" '^(ok|note|warning|error) '
finds "an object" '^\{"findings": \[\{"check": "worker", "severity": "ok".*\], "errors": 0, "warnings": [0-9]+\}$'

# ---- the real worker ----
rm -f "$fakes"/*
true_worker
doctor 0
finds "the build" "^ok +worker .*/qlora-worker $version: "
if command -v mpirun >/dev/null; then
  finds "two workers meet" '^ok +mpi +.* started 2 workers that found each other'
  doctor 0 --hosts localhost:3
  finds "three workers meet" '^ok +mpi +.* started 3 workers on .* that found each other'
fi

# ---- the worker with GPUs that are emulated ----
plain
if [ -x "$bin/qlora-worker-emulated" ]; then
  ln -sf "$bin/qlora-worker-emulated" "$home/bin/qlora-worker"
  export QL_EMU_DEVICES=2 QL_EMU_CAPABILITY=90,60 QL_EMU_MEMORY=8GiB,8GiB QL_EMU_MEMORY_TAKEN=3GiB,0
  doctor 0
  finds "what is used of one" '^warning +gpus +GPU 0: only 5.00 GiB of its 8.00 GiB are free'
  finds "one that is too old" '^warning +gpus +GPU 1 cannot be used: device: cuda: GPU 1 .* has compute capability 6.0; 7.5'
  finds "NCCL of a build" '^ok +gpus +NCCL 2'
  finds "CUDA of a build" '^ok +worker .* CUDA 13'
  CUDA_VISIBLE_DEVICES=-1 doctor 0
  finds "none that is visible" '^warning +gpus +CUDA_VISIBLE_DEVICES="-1" begins with no number'
  for driver in old none; do
    QL_EMU_DRIVER=$driver doctor 0
    finds "a driver: $driver" '^(note|warning) +driver +'
    finds "and no GPU" 'no NVIDIA GPU|NVIDIA driver'
  done
  unset QL_EMU_DEVICES QL_EMU_CAPABILITY QL_EMU_MEMORY QL_EMU_MEMORY_TAKEN
else
  echo "left out: qlora-worker-emulated is not built"
fi

# ---- what takes a namespace of our own ----
inside() { # COMMANDS...: in namespaces of mounts and network, with the fakes
  PATH=$fakes:/usr/bin:/bin:/usr/sbin:/sbin unshare -mn sh -c "$1; exec \"\$0\" doctor" "$home/bin/qlora" >"$scratch/out" 2>"$scratch/err"
}
if ! unshare -mn true 2>/dev/null; then
  echo "left out: namespaces may not be made here (root is needed)"
else
  fake_worker "$(probe "$cpu" '')"
  inside 'mount -t tmpfs -o size=1m tmpfs /dev/shm; mount -t tmpfs -o size=1m tmpfs "$TMPDIR"'
  finds "a small /dev/shm" '^warning +/dev/shm +/dev/shm has 1.0 MiB of 1.0 MiB free; 2 ranks need 32 MiB'
  finds "a full TMPDIR" '^error +tmp .*less than 16 MiB free'
  finds "no loopback" '^error +network +the loopback interface is down'
  inside 'mount -t tmpfs -o size=60m tmpfs /dev/shm; ip link set lo up; ip link add docker0 type dummy && ip addr add 10.9.9.1/24 dev docker0 && ip link set docker0 up'
  finds "the /dev/shm of a container" '^warning +/dev/shm +/dev/shm has only 60.0 MiB'
  if ip link help 2>&1 | grep -q dummy; then finds "a trap" "^note +network +docker0 \(Docker's bridge\): up, and leads to no other machine"; fi
  inside 'ip link set lo up; umount -l /dev/shm; mount -t tmpfs -o ro tmpfs /dev/shm'
  finds "no /dev/shm" '^warning +/dev/shm +/dev/shm cannot be used'
  # Files of the control group that say what a test wants, where the real ones are.
  memory=/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)/memory.limit_in_bytes
  unified=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
  processors=/sys/fs/cgroup/cpu$(sed -n 's/^[0-9]*:cpu://p' /proc/self/cgroup)/cpu.cfs_quota_us
  echo 536870912 >"$scratch/limit"
  echo 50000 >"$scratch/quota"
  echo '50000 100000' >"$scratch/max"
  if [ -f "$memory" ] && [ -f "$processors" ]; then
    inside "ip link set lo up; mount --bind $scratch/limit '$memory'; mount --bind $scratch/quota '$processors'"
  elif [ -f "$unified/memory.max" ] && [ -f "$unified/cpu.max" ]; then
    inside "ip link set lo up; mount --bind $scratch/limit '$unified/memory.max'; mount --bind $scratch/max '$unified/cpu.max'"
  else
    echo "left out: this machine's control groups have no limits"
    memory=''
  fi
  if [ -n "$memory" ]; then
    finds "memory of a control group" '^note +memory +a control group limits memory to 512.0 MiB'
    finds "processors of a control group" "^warning +cpus +a control group allows 0.5 processors' time"
  fi
fi

wait "$silent"
cp "$scratch/silent/out" "$scratch/out"
finds "a program that does not answer" '^warning +slurm +srun --mpi=list: no answer within 10 s'
read -r first second <"$scratch/silent/pids"
lives() { [ -e "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status"; }
if lives "$first" || lives "$second"; then flunk "what did not answer is still there"; else pass "it was ended"; fi
finish
