#!/bin/sh
# What CMake starts instead of nvcc: it keeps ptxas's report of registers, spills and memory beside the object (tests/cuda/resources.sh
# reads it), and shows everything else.
#   keep_report.sh nvcc ARGUMENT...
object=
before=
for word in "$@"; do
    [ "$before" = -o ] && object=$word
    before=$word
done
"$@" 2> "$object.report"
status=$?
grep -Ev '^ptxas info|^ +[0-9]+ bytes stack frame|^$' "$object.report" >&2
exit $status
