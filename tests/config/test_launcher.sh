#!/usr/bin/env bash
# qlora, beside a worker and an mpirun that only print what they were given.
# usage: test_launcher.sh QLORA
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/bin" "$folder/tools"
cp "$1" "$folder/bin/qlora"
cat > "$folder/bin/qlora-worker" <<'END'
#!/bin/sh
case $1 in --probe) cat "$QL_PROBE"; exit 0 ;; esac
printf 'worker%s' "${CUDA_VISIBLE_DEVICES+ sees $CUDA_VISIBLE_DEVICES}"
for word in "$@"; do printf ' <%s>' "$word"; done
printf '\n'
exit 7
END
cat > "$folder/tools/mpirun" <<'END'
#!/bin/sh
[ "$1" != --version ] || exec echo 'mpirun (Open MPI) 4.1.4'
printf 'mpirun binding=%s root=%s' "$OMPI_MCA_hwloc_base_binding_policy" "$OMPI_ALLOW_RUN_AS_ROOT"
for word in "$@"; do printf ' <%s>' "${word##*/}"; done
printf '\n'
exit 0
END
export QL_PROBE="$folder/probe.json"
echo '{"devices": []}' >"$QL_PROBE"
chmod +x "$folder/bin/qlora-worker" "$folder/tools/mpirun"
printf 'model_name_or_path: m\ndataset: d\noutput_dir: o\n' > "$folder/good.yaml"
printf 'model_name_or_path: m\nlora_rr: 8\n' > "$folder/bad.yaml"
cd "$folder"
export PATH="$folder/tools:/usr/bin:/bin" OMPI_MCA_hwloc_base_binding_policy=none
unset OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM CUDA_VISIBLE_DEVICES
failures=0

# expect STATUS OUTPUT-PATTERN ARGUMENT... (standard output and error together)
expect() {
    local status=$1 pattern=$2 said rc=0
    shift 2
    said=$(bin/qlora "$@" 2>&1) || rc=$?
    # shellcheck disable=SC2053 # a pattern is what it is
    if [[ $rc -ne $status || $said != $pattern ]]; then
        printf 'qlora %s\n  expected %s: %s\n  got %s: %s\n' "$*" "$status" "$pattern" "$rc" "$said"
        failures=$((failures + 1))
    fi
}

expect 0 'qlora [0-9]*' --version
expect 0 '*usage: qlora COMMAND*inspect*' --help
expect 0 'usage: qlora inspect*--rows A:B*' inspect --help
expect 64 '*usage: qlora COMMAND*'
expect 64 "qlora: error: unknown command 'insepct'; did you mean inspect?; see qlora --help" insepct
expect 64 "*unknown option '--jsno'; did you mean --json?; see qlora plan --help" plan --jsno good.yaml
expect 64 '*qlora run: the config file is missing; usage: qlora run *' run
expect 64 "*qlora inspect: 'x' is not KEY=VALUE; usage: *" inspect good.yaml x
expect 64 "*--rows is '3-5'; expected A:B: *" inspect --rows 3-5 good.yaml
expect 64 '*qlora tokenize: --model DIR is missing; usage: *' tokenize
expect 64 "*--type is 'int8'; expected nf4|fp4: *" quantize --model a --out b --type int8
expect 64 '*--json takes no value' plan --json=1 good.yaml
expect 64 '*--model needs a value: DIR' tokenize --model
expect 64 '*--jsno*; did you mean --json?*' doctor --jsno

expect 7 'worker <--plan> <--json> <good.yaml> <seed=1>' plan good.yaml seed=1 --json
probe=$(cat "$QL_PROBE")
echo '{"devices": [{"kind": "cpu", "index": 0}, {"kind": "cuda", "index": 0}, {"kind": "cuda", "index": 1, "problem": "lost"}, {"kind": "cuda", "index": 2}]}' >"$QL_PROBE"
expect 7 '*warning: cuda 1: lost*worker sees 0,2 <--plan> <-n> <2> <good.yaml>' plan good.yaml
expect 7 'worker <--plan> <-n> <3> <good.yaml>' plan -n 3 good.yaml
expect 7 'worker <--plan> <--gpu> <T4> <good.yaml>' plan --gpu T4 good.yaml
expect 7 'worker <--plan> <good.yaml> <device=cpu>' plan good.yaml device=cpu
expect 7 'worker <--plan> <bad.yaml>' plan bad.yaml
echo "$probe" >"$QL_PROBE"
expect 7 'worker <--plan> <--gpu> <T4; x> <-n> <8> <good.yaml>' plan '--gpu=T4; x' -n 8 good.yaml
expect 64 "*unknown option '--gpus'; did you mean --gpu?*" plan --gpus T4 good.yaml
expect 7 'worker <--do> <inspect> <--rows> <2:5> <--json> <good.yaml>' inspect --rows=2:5 good.yaml --json
expect 7 'worker <--do> <inspect> <--html> <a b.html> <--tokens> <good.yaml>' inspect --html 'a b.html' --tokens good.yaml
expect 7 'worker <--do> <tokenize> <--model> <a b> <--no-special>' tokenize --model 'a b' --no-special
expect 7 'worker <--do> <quantize> <--model> <a> <--out> <b>' quantize --model a --out b
# shellcheck disable=SC2016 # nothing is to be expanded, here and in qlora
expect 7 'worker <--do> <generate> <--model> <m> <--seed> <3> <load_in_4bit=no> <$(touch x); "y">' \
    generate --model m --seed 3 load_in_4bit=no '$(touch x); "y"'
expect 7 'worker <--do> <generate> <--model> <m> <--> <-5 + 3 =>' generate --model m -- '-5 + 3 ='
expect 7 'worker <--check> <good.yaml> <lora_r=4>' run --check good.yaml lora_r=4
expect 7 'worker <--threads> <2> <--check> <good.yaml>' run -n 1 --threads 2 --check good.yaml
expect 64 "*bad.yaml:2: unknown key 'lora_rr'*bad.yaml: dataset is missing*" run bad.yaml
expect 64 "*none.yaml: cannot be opened*" run none.yaml
expect 64 "*command line: lora_r=0: lora_r is '0'*" run good.yaml lora_r=0
expect 64 "*-n is '0'; expected N: *" run -n 0 good.yaml
expect 0 "*worker --threads 2 good.yaml 'dataset=it'[\\\\]''s a b'" run --dry-run --threads 2 good.yaml "dataset=it's a b"
expect 0 "environment *mpirun -np 3 *worker good.yaml" run --dry-run -n 3 --allow-root good.yaml
expect 64 "*--jobs is '0'; expected N: *" run --jobs 0 good.yaml ./good.yaml
expect 64 "*good.yaml and ./good.yaml have the same output_dir, o; give each its own" run good.yaml ./good.yaml
expect 64 "*qlora run: 'seed=1' stands before a config file; KEY=VALUE comes after them" run seed=1 good.yaml
expect 64 "*bad.yaml:2: unknown key*none.yaml: cannot be opened*" run good.yaml bad.yaml none.yaml
expect 64 "*qlora run: the config file is missing*" run seed=1
expect 64 "*qlora checkpoints: expected one folder; usage: *" checkpoints
expect 7 'worker <--do> <checkpoints> <--newest> <o>' checkpoints o --newest
expect 0 'environment *OMPI_MCA_btl=self,vader *mpirun binding=none root=* <-np> <2> *<qlora-worker> <--check> <good.yaml> <seed=3>' run -n 2 --allow-root --check good.yaml seed=3
expect 0 '*mpirun * <-np> <4000> <--map-by> <:OVERSUBSCRIBE> <qlora-worker> <--check> <good.yaml>' run -n 4000 --allow-root --check good.yaml

# Hosts.
expect 0 '*OMPI_MCA_btl=self,vader,tcp *mpirun * <-np> <4> <--host> <a:1,b.c:3> *<-x> <QLORA_RUN_ID> *<qlora-worker> <--check> <good.yaml>' \
    run --check --hosts a,b.c:3 --allow-root good.yaml
expect 0 '*<-np> <1> <--host> <a:1>*' run --check --hosts a --allow-root good.yaml
expect 0 '*<-np> <4> <--host> <a:1,b.c:3> *<qlora-worker> <--plan> <--json> <--threads> <2> <good.yaml> <seed=3>' \
    plan --hosts a,b.c:3 --json --threads 2 --allow-root good.yaml seed=3
expect 64 '*-n is 5, but the hosts have 4 slots*' plan -n 5 --hosts a,b:3 --allow-root good.yaml
expect 64 '*qlora plan: --gpu plans for a card that is nowhere; leave it or --hosts out' plan --gpu T4 --hosts a,b good.yaml
expect 64 "*--hosts: '0' is no number of slots*" plan --hosts a:0 good.yaml
expect 64 '*-n is 5, but the hosts have 4 slots; name more, as HOST:N' run --check -n 5 --hosts a,b:3 --allow-root good.yaml
printf '# machines\n\n  one slots=2 max_slots=4   # the first\ntwo\r\n' > machines
expect 0 '*<-np> <3> <--host> <one:2,two:1>*' run --check --hostfile machines --allow-root good.yaml
expect 64 '*--hosts and --hostfile exclude each other' run --check --hostfile machines --hosts a good.yaml
# shellcheck disable=SC2016 # nothing is to be expanded
for name in 'a;touch x' '$(touch x)' 'a b' '-x' '' 'a,,b' 'a,' 'me@a' '`x`' 'a"b' "a'b" $'a\nb' 'ä'; do
    expect 64 '*--hosts*' run --hosts="$name" good.yaml
    printf 'ok\n%s slots=1\n' "$name" > machines
    case $name in '' | 'a;touch x' | '$(touch x)' | 'a b' | *$'\n'*) ;; *) expect 64 '*machines:2: *is no name of a host; *' run --hostfile machines good.yaml ;; esac
done
expect 64 "*--hosts: '0' is no number of slots; expected 1 to 4096" run --check --hosts a:0 good.yaml
expect 64 "*--hosts: '1e3' is no number of slots*" run --check --hosts a:1e3 good.yaml
expect 64 "*--hosts: '99999999999999999999' is no number of slots*" run --check --hosts a:99999999999999999999 good.yaml
expect 64 '*--hosts: the host A is there twice; *' run --check --hosts a,b,A good.yaml
expect 64 '*--hosts: more than 4096 hosts or slots' run --check --hosts a:4000,b:4000 good.yaml
printf 'a slots=1\nb slots=0\n' > machines
expect 64 "*machines:2: '0' is no number of slots*" run --check --hostfile machines good.yaml
printf 'a slots=1\nb slot=2\n' > machines
expect 64 "*machines:2: 'slot=2' is not understood; expected: NAME slots=N" run --check --hostfile machines good.yaml
printf 'a\n\na\n' > machines
expect 64 '*machines:3: the host a is there twice*' run --check --hostfile machines good.yaml
printf '# nobody\n' > machines
expect 64 '*machines: names no host' run --check --hostfile machines good.yaml
printf 'a\0b\n' > machines
expect 64 '*machines: is no text' run --check --hostfile machines good.yaml
expect 64 '*nowhere: *' run --check --hostfile nowhere good.yaml
[[ ! -e x ]] || { echo 'a name of a host was run'; failures=$((failures + 1)); }

# What loads code is said, and what may be a secret is not.
export HDF5_PLUGIN_PATH=/some/where NCCL_TUNER_PLUGIN=x.so NCCL_API_TOKEN=hush PMIX_MCA_psec=none
expect 7 '*warning: environment: HDF5_PLUGIN_PATH=/some/where loads code into the workers*' run --check good.yaml
expect 7 '*warning: environment: PMIX_MCA_psec=none loads code*' run --check good.yaml
expect 0 '*warning: environment: NCCL_TUNER_PLUGIN=x.so loads code* NCCL_API_TOKEN=(not shown)*' run -n 2 --allow-root --check good.yaml
if bin/qlora run -n 2 --allow-root --check good.yaml 2>&1 | grep -q hush; then
    echo 'a secret was shown'
    failures=$((failures + 1))
fi
unset HDF5_PLUGIN_PATH NCCL_TUNER_PLUGIN NCCL_API_TOKEN PMIX_MCA_psec

rm bin/qlora-worker
expect 74 '*qlora-worker lies neither beside qlora nor in PATH; build it with scripts/build.sh' plan good.yaml

if [[ $failures -ne 0 ]]; then
    echo "$failures failed"
    exit 1
fi
