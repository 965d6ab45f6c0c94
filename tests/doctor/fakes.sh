# shellcheck shell=bash disable=SC2034
# For the tests of qlora doctor: a qlora beside a worker of our own making, and other programs that say what a test wants them to.
# shellcheck disable=SC2154 # scratch, bin, failures: of tests/support/shell.sh
bin=$(cd "$bin" && pwd)
home=$scratch/home
fakes=$scratch/fakes
mkdir -p "$home/bin" "$fakes" "$scratch/tmp"
cp "$bin/qlora" "$home/bin/qlora"
version=$("$bin/qlora" --version)
version=${version#qlora }
cpu='{"kind": "cpu", "index": 0, "name": "A processor", "threads": 2, "bytes_total": 8589934592, "bytes_free": 8000000000}'
absent='"the driver is absent"'

# fake NAME SCRIPT: a program in the PATH of a test
fake() {
  printf '#!/bin/sh\n%s\n' "$2" >"$fakes/$1"
  chmod +x "$fakes/$1"
}

# gpu INDEX BYTES_FREE MORE: one of 16 GiB in a probe
gpu() {
  printf '{"kind": "cuda", "index": %s, "name": "A card", "threads": 0, "bytes_total": 17179869184, "bytes_free": %s, "capability": "9.0", "id": "GPU-%s", "driver": "driver for CUDA 13.0, runtime 13.0", %s}' "$1" "$2" "$1" "$3"
}

# probe DEVICES LIBRARIES [VERSION [MPI]]
probe() {
  printf '{"devices": [%s], "absent": {%s}, "libraries": [%s], "mpi": "%s", "driven_by": "CUDA 13.0", "version": "%s"}' \
    "$1" "\"cuda\": $absent" "$2" "${4-Open MPI 4.1.4}" "${3-$version}"
}

# fake_worker PROBE: says it when it is asked, and does nothing else
fake_worker() {
  printf '%s\n' "$1" >"$home/probe.json"
  rm -f "$home/bin/qlora-worker" # it may be a link to the real one
  cat >"$home/bin/qlora-worker" <<END
#!/bin/sh
case "\$1" in
--probe) cat '$home/probe.json' ;;
--version) printf 'qlora-worker $version\nOpen MPI 4.1.4\n' ;;
--do) echo '{"ranks": 1}' ;;
esac
END
  chmod +x "$home/bin/qlora-worker"
}

true_worker() {
  rm -f "$home/bin/qlora-worker"
  ln -s "$bin/qlora-worker" "$home/bin/qlora-worker"
}

# doctor STATUS WORD...: with the fakes before everything else; its words in $scratch/out
doctor() {
  local wanted=$1 got
  shift
  PATH=$fakes:/usr/bin:/bin:/usr/sbin:/sbin "$home/bin/qlora" doctor "$@" >"$scratch/out" 2>"$scratch/err"
  got=$?
  [ "$got" = "$wanted" ] || flunk "qlora doctor $*: exit status $got instead of $wanted: $(tail -n 4 "$scratch/out" "$scratch/err")"
}

# finds NAME PATTERN: a line of the last answer is so
finds() {
  if grep -Eq -- "$2" "$scratch/out"; then pass "$1"; else flunk "$1: no line like '$2' in: $(grep -Ev '^ok' "$scratch/out")"; fi
}

finds_not() {
  if grep -Eq -- "$2" "$scratch/out"; then flunk "$1: $(grep -E -- "$2" "$scratch/out")"; else pass "$1"; fi
}
