#!/usr/bin/env bash
# qlora doctor with a configuration: each thing that can be wrong with a run is made wrong, and has to be found. Nothing may stay behind.
# usage: job.sh BIN_FOLDER
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/../support/shell.sh" "$1"
# shellcheck source=tests/doctor/fakes.sh
. "$(dirname "$0")/fakes.sh"
export TMPDIR=$scratch/tmp HOME=$home
unset CUDA_VISIBLE_DEVICES NVIDIA_VISIBLE_DEVICES OMPI_MCA_btl NCCL_SOCKET_IFNAME LD_PRELOAD
true_worker
for name in mpirun mpiexec mpirun.openmpi mpirun.mpich mpiexec.hydra srun; do fake "$name" 'exit 127'; done # they are for machine.sh
mkdir -p "$scratch/job/out"
cd "$scratch/job" || exit 1
cp "$top/examples/data/train.jsonl" "$top/examples/data/eval.jsonl" .
cat >good.yaml <<END
model_name_or_path: $top/examples/model
dataset: train.jsonl
max_length: 512
output_dir: out/run
END

# A disk that does not answer: a file system of its own, frozen; looked at when the rest is done.
frozen=$scratch/frozen
mkdir -p "$frozen/disk"
cat >"$frozen/examine" <<'END'
cd "$1" && truncate -s 16M image && mkfs.ext4 -q image && mount -o loop image disk || exit 99
trap 'fsfreeze --unfreeze disk; umount -l disk' EXIT
trap 'exit 1' TERM INT HUP
fsfreeze --freeze disk || exit 99
"$2" doctor "$3/good.yaml" model_name_or_path="$4" dataset="$3/train.jsonl" output_dir="$1/disk/out" >out 2>err
echo $? >status
fsfreeze --unfreeze disk
for i in 1 2 3 4 5 6 7 8 9 10; do
  ls -A disk | grep -v '^lost+found$' >left || break
  sleep 0.5
done
END
(PATH=$fakes:/usr/bin:/bin:/usr/sbin:/sbin exec unshare -m sh "$frozen/examine" "$frozen" "$home/bin/qlora" "$PWD" "$top/examples/model" >/dev/null 2>&1) &
freezer=$!

doctor 0 good.yaml
finds "the configuration" '^ok +config +good.yaml can be read'
finds "the model" '^ok +job +model: .*Llama, 1.87 million parameters'
finds "the data" '^ok +job +data: 2034 records'
finds "the plan" '^ok +plan +a rank needs 1[0-9][0-9].* MiB of '
finds "the disk" '^ok +output +out: files are written for sure \([0-9]+ ms\), renamed and locked'
finds "the space" '^ok +output +out has .* free; 4 checkpoints and logs take 32.* MiB'
[ -z "$(ls -A out)" ] && pass "no trace" || flunk "it left $(ls -A out)"

# ---- what the worker refuses ----
printf 'model_name_or_path: m\nlora_rr: 8\nmax_length: long\n' >bad.yaml
doctor 64 bad.yaml
finds "a key that is unknown" "^error +config +bad.yaml:2: unknown key 'lora_rr'"
finds "a value that is wrong" '^error +config +bad.yaml:3: max_length'
doctor 64 none.yaml
finds "no such file" '^error +config +none.yaml: cannot be opened'
doctor 65 good.yaml dataset=none.jsonl
finds "no such data" '^error +job +none.jsonl'
printf '{"prompt": "a", "completion": "b"}\n{"prompt": "a", \n' >broken.jsonl
doctor 65 good.yaml dataset=broken.jsonl
finds "a line that is no JSON" '^error +job +broken.jsonl:2: '
doctor 65 good.yaml model_name_or_path=none
finds "no such model" '^error +job +none: no such folder'
mkdir -p empty
cp "$top/examples/model/config.json" "$top/examples/model/model.safetensors" empty
doctor 65 good.yaml model_name_or_path=empty
finds "no tokenizer" '^error +job +.*tokenizer'
doctor 64 good.yaml max_memory=20MiB
finds "it does not fit" '^error +job +.*(memory|MiB)'
doctor 0 good.yaml max_memory=60MiB
finds "a rung is taken" '^note +plan +memory is short, so rung [1-9] of the ladder is taken'
doctor 64 good.yaml device=cuda
finds "no GPU for device cuda" '^error +(driver|job) +.*device.*cuda'
doctor 0 good.yaml num_epochs=2
finds "a note of the configuration" '^note +config '
doctor 64 good.yaml 'dataset=$(touch x)' seed
finds_not "usage" '.'
[ ! -e x ] && pass "nothing is run" || flunk "a value was run"
doctor 0 --json good.yaml
finds "JSON" '^\{"findings": \[\{"check": "config", .*"errors": 0, "warnings": [0-9]+\}$'
fake_worker "$(probe '{"kind": "cpu", "index": 0, "name": "A", "threads": 2, "bytes_total": 1000, "bytes_free": 1000}' '')"
sed -i 's/^--do/--plan) echo "{\\"device\\": \\"cpu\\", \\"total_bytes\\": 2000, \\"limit_bytes\\": 3000, \\"rung\\": 0}" ;;\n--check) echo bug >\&2; exit 70 ;;\n&/' "$home/bin/qlora-worker"
doctor 75 good.yaml
finds "the machine's memory" "^error +plan +1 rank need.* 2.0 KiB of the machine's memory|^error +plan +1 rank need"
finds "a check that breaks" '^error +job +qlora-worker --check ended with status 70: bug'
true_worker

# ---- the output folder ----
doctor 75 --hosts a,b good.yaml
finds "a disk that is not shared" '^warning +output .*/out lies on .*, which other machines do not share'
mkdir -p open
chmod 777 open
doctor 77 good.yaml output_dir=open
finds "open to others" '^error +output +open: anybody can write there'
ln -s out link
doctor 77 good.yaml output_dir=link
finds "a link" '^error +output +link: is a symbolic link'
echo x >file
doctor 75 good.yaml output_dir=file/out
finds "below a file" '^error +output +file: '
mkdir -p busy/run
chmod 700 busy busy/run
: >busy/run/lock
exec 9>busy/run/lock
flock -n 9
doctor 0 good.yaml output_dir=busy
if grep -q FLOCK /proc/locks; then finds "another run" '^warning +output +busy: another run is at work in this output_dir'; else echo "left out: /proc/locks is empty here"; fi
exec 9>&-

inside() { # STATUS COMMANDS WORD...
  local wanted=$1 commands=$2
  shift 2
  PATH=$fakes:/usr/bin:/bin:/usr/sbin:/sbin unshare -m sh -c "$commands"'; exec "$0" doctor good.yaml "$@"' "$home/bin/qlora" "$@" >"$scratch/out" 2>"$scratch/err"
  local got=$?
  [ "$got" = "$wanted" ] || flunk "qlora doctor inside '$commands': exit status $got instead of $wanted"
}
if ! unshare -m true 2>/dev/null; then
  echo "left out: namespaces may not be made here (root is needed)"
else
  mkdir -p small read_only layer
  inside 75 'mount -t tmpfs -o size=1m tmpfs small' output_dir=small/out
  finds "a file system in memory" '^warning +output +.*/small lies in memory'
  finds "no space" '^error +output +small has [0-9.]+ (MiB|KiB) free, and two checkpoints of 4.* MiB each have to fit'
  inside 0 'mount -t tmpfs -o size=15m tmpfs small' output_dir=small/out
  finds "little space" '^warning +output +small has .* free, and 4 checkpoints of .* each and logs take 32'
  inside 75 'mount -t tmpfs -o size=40k tmpfs small' output_dir=small
  finds "no room for a file" '^error +output +small: a file of 64 KiB: cannot be written: No space left'
  inside 75 'mount -t tmpfs -o ro tmpfs read_only' output_dir=read_only/out
  finds "read-only" '^error +output +read_only: no file can be made: Read-only file system'
  inside 0 'mount -t tmpfs -o nr_inodes=100 tmpfs small' output_dir=small
  finds "few files" '^warning +output +small has room for only [0-9]+ more files'
  if inside 0 'mkdir -p /tmp/$$ && mount -t tmpfs tmpfs /tmp/$$ && mkdir /tmp/$$/a /tmp/$$/b && mount -t overlay -o lowerdir=/usr/share,upperdir=/tmp/$$/a,workdir=/tmp/$$/b overlay layer; rmdir /tmp/$$ 2>/dev/null' output_dir=layer/out &&
    grep -q overlay "$scratch/out"; then
    finds "a container's layer" '^warning +output +.*/layer is a layer of a container'
  else
    echo "left out: there are no overlays here"
  fi
fi

# ---- asked to end at any moment ----
for i in 1 2 3 4 5 6 7 8; do
  PATH=$fakes:/usr/bin:/bin "$home/bin/qlora" doctor good.yaml output_dir=out >/dev/null 2>&1 &
  pid=$!
  sleep "0.$((i * 7 % 10))"
  kill -TERM "$pid" 2>/dev/null
  wait "$pid"
done 2>/dev/null
sleep 0.2
[ -z "$(ls -A out)" ] && pass "no trace after TERM" || flunk "it left $(ls -A out)"

wait "$freezer"
if [ -e "$frozen/status" ]; then
  cp "$frozen/out" "$scratch/out"
  finds "a disk that does not answer" "^error +output +$frozen/disk(/out)?: no answer within 15 s"
  [ "$(cat "$frozen/status")" = 75 ] && pass "its status" || flunk "its status is $(cat "$frozen/status")"
  [ ! -s "$frozen/left" ] && pass "no trace once it answers again" || flunk "it left $(cat "$frozen/left")"
else
  echo "left out: no file system can be mounted and frozen here (root and loop devices are needed)"
fi
finish
