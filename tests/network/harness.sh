# shellcheck shell=bash disable=SC2034,SC2154
# For the tests with several hosts: `. harness.sh BIN_FOLDER [all]`. tests/faults/harness.sh, and two hosts a and b; the launcher is on a.
# shellcheck source=tests/faults/harness.sh
. "$(dirname "${BASH_SOURCE[0]}")/../faults/harness.sh" "$@"
# shellcheck source=tests/support/hosts.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/hosts.sh"
need_hosts
hosts_up a b
trap 'hosts_down; rm -rf "$shared"' EXIT
# What qlora run sets by itself is what is tested; hosts have a /dev/shm of their own.
unset OMPI_MCA_rmaps_base_oversubscribe PRTE_MCA_rmaps_default_mapping_policy OMPI_MCA_hwloc_base_binding_policy OMPI_MCA_odls_base_sigkill_timeout
unset OMPI_MCA_btl_vader_single_copy_mechanism OMPI_MCA_btl_vader_backing_directory
both=$host_a,$host_b

# as_hosts NAME [KEY=VALUE...]: the command of a run on both hosts, from a, in $scratch/NAME
as_hosts() {
  local name=$1
  shift
  job=("$scratch/bin/qlora" run --hosts "$both" --threads 1 examples/demo.yaml "${common[@]}" output_dir="$scratch/$name" "$@")
}

# on_hosts NAME [KEY=VALUE...]: and its run; $status, $seconds
on_hosts() {
  as_hosts "$@"
  run_bounded on a "${job[@]}"
}

same_bytes() { # NAME: of the run with keys as the last of undisturbed
  if [ "$(digest "$1")" = "$wanted" ]; then pass "$1: the bytes of an undisturbed run on one host"; else flunk "$1: other bytes, or none: $(tail -n 3 "$scratch/err")"; fi
}

# no_one_left NAME: of the last run, on either host
no_one_left() {
  if [ -z "$(survivors)" ]; then
    pass "$1: no process is left"
  else
    flunk "$1: processes are left: $(survivors | tr '\n' ' ')"
    survivors | xargs -r kill -KILL
  fi
}
