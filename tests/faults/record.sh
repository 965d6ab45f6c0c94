# shellcheck shell=bash disable=SC2154
# After tests/support/shell.sh: `record`, for docs/faults.md (README.md beside this file).
record_suite=$(basename "$0" .sh)
case $(realpath "$0") in # as ctest calls them
  */tests/faults/* | */tests/cuda_worker/* | */tests/network/* | */tests/slurm/*) record_suite=$(basename "$(dirname "$(realpath "$0")")")_$record_suite ;;
esac
record_file=${QL_RECORDS:-$(cd "$bin/.." && pwd)/faults}/$record_suite.tsv
record_failures=0
mkdir -p "${record_file%/*}"
: >"$record_file"

# record ROWS TESTS NAME PROMISE FIGURE
record() {
  local result=ok
  if [ "$failures" != "$record_failures" ]; then result=failed; fi
  record_failures=$failures
  printf '%s\t%s\t%s/%s\t%s\t%s\t%s\n' "$1" "$2" "$record_suite" "$3" "$4" "$5" "$result" >>"$record_file"
}
