#!/usr/bin/env bash
# docs/troubleshooting.md quotes messages. Those of ours stand in the sources, word for word; those of mpirun in the files that it takes
# them from, where it is installed. "…" stands for what is filled in.
# usage: troubleshooting.sh
set -uo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
page=$top/docs/troubleshooting.md
scratch=$(mktemp -d "${TMPDIR:-/tmp}/qlora-test.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# texts FILE: a text a line; those that are written in pieces are put together. Each file by itself, so that one with quotes that are no texts
# (in comments, in raw strings) spoils no other.
texts() {
  tr '\n' ' ' <"$1" | sed -E "s/\\\\\\\\/\\x02/g; s/'\\\\?\"'//g" | # no quotes but those of texts
    sed -E 's:/\*([^*]|\*[^/])*\*/::g; s/\\"/\x01/g; s/" *(PRI[diu]64|CURE) *"/…/g; s/([^\\])" *"/\1/g' |
    grep -oE '"[^"]*"' | tr '\001' '"'
}
find "$top/base" "$top/kernels" "$top/collective" "$top/checkpoint" "$top/worker" "$top/launcher" -name '*.c' | while IFS= read -r file; do texts "$file"; done >"$scratch/ours"
cat /usr/share/openmpi/help-*.txt >"$scratch/mpirun" 2>/dev/null || true

quoted=0 missing=0
# look FILE HEADING: each part of it, up to what is to be done, has to be there; what is filled in may be anything
look() {
  local file=$1 heading=$2 part pattern
  quoted=$((quoted + 1))
  while IFS= read -r part; do
    pattern=$(sed -E 's/^ +//; s/ +$//; s/[][(){}.*+?^$|\\]/\\&/g; s/ *… */.*/g' <<<"$part")
    if [ "${#part}" -ge 8 ] && ! grep -qE -- "$pattern" "$file"; then
      printf 'docs/troubleshooting.md: "%s": nothing says "%s" any more\n' "$heading" "$part"
      missing=$((missing + 1))
    fi
  done < <(sed 's/; /\n/g' <<<"$heading") # the cure may be put together apart
}

while IFS= read -r heading; do look "$scratch/ours" "$heading"; done < <(sed -n '/^## What qlora says/,/^## What others say/ s/^#### `\(.*\)`$/\1/p' "$page")
[ "$quoted" -ge 50 ] || { echo "only $quoted messages of ours were found in the page"; missing=$((missing + 1)); }
ours=$quoted
if [ -s "$scratch/mpirun" ]; then
  while IFS= read -r heading; do look "$scratch/mpirun" "$heading"; done < <(sed -n 's/^#### `\(.*\)` (mpirun)$/\1/p' "$page")
else
  echo "left out: Open MPI's texts are not installed"
fi
printf '%d messages of ours and %d of mpirun looked for, %d missing\n' "$ours" $((quoted - ours)) "$missing"
[ "$missing" = 0 ]
