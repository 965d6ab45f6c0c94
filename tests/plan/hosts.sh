#!/usr/bin/env bash
# A plan on two machines: this one twice, under two names, and a script that stands for ssh.
#   hosts.sh BIN_FOLDER
# shellcheck source=tests/plan/outlines.sh
. "$(dirname "$0")/outlines.sh" "$1"
need_mpirun
if ! unshare --uts true 2>/dev/null; then
  echo "skipped: this user may not give a process another host's name (unshare --uts)"
  exit 77
fi
outline 135m 135m && config 135m
cat >ssh <<'END'
#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
host=$1
shift
exec unshare --uts sh -c 'hostname "$0"; exec sh -c "$1"' "$host" "$*"
END
chmod +x ssh
export OMPI_MCA_plm_rsh_agent=$scratch/ssh PRTE_MCA_plm_ssh_agent=$scratch/ssh HYDRA_LAUNCHER_EXEC=$scratch/ssh TMPDIR=$scratch
at=(--allow-root --device cpu --max-memory 6GiB 135m.yaml)

plan --hosts first:2,second:2 "${at[@]}"
is "a plan on two machines" "0 true 4" "$? $(value fits) $(value ranks)"
is "which are named, for each rank" '["first", "first", "second", "second"]' "$(grep -o '"hosts": \[[^]]*\]' out | sed 's/"hosts": //')"
sed 's/, "hosts": .*//' out >there
plan -n 4 "${at[@]:1}"
is "is the plan of as many ranks on one" "$(sed 's/}$//' out)" "$(cat there)"
expect_status "in words" 0 "$qlora" plan --hosts first:2,second "${at[@]}"
if grep -q '^memory of each of 3 ranks (0 to 1 on first; 2 on second), cpu, products in float32$' out; then pass "with the names"; else flunk "with the names: $(head -n 1 out)"; fi
expect_status "too small on both" 64 "$qlora" plan --hosts first,second "${at[@]}" max_memory=100MiB
expect_line "and said" 'memory: at least [0-9.]+ MiB is needed and 100.0 MiB is allowed'
expect_status "no such model there" 65 "$qlora" plan --hosts first,second "${at[@]}" model_name_or_path=nowhere
finish
