#!/usr/bin/env bash
# docs/faults.md, from matrix.tsv, the tests' sources and what they measured.
#   table.sh write RESULTS    prints it; RESULTS holds the .tsv files of the last runs
#   table.sh check            every row and number has a test or a reason, and docs/faults.md lists exactly the tests there are
set -euo pipefail
cd "$(dirname "$0")/../.."
matrix=tests/faults/matrix.tsv
document=docs/faults.md

# What the sources declare, a line each: test/name, rows, numbers of the plan, promise.
declared() {
  local file suite
  # The blank keeps grep from naming files itself.
  { grep -rlE '^ *record[ (]"' tests --include='*.sh' --include='*.c' || true; } | sort | while IFS= read -r file; do
    suite=$(basename "${file%.*}")
    case $file in tests/faults/* | tests/cuda_worker/* | tests/network/* | tests/slurm/*) suite=$(basename "$(dirname "$file")")_$suite ;; esac
    sed -nE "s|^ *record[ (]\"([^\"]*)\",? \"([^\"]*)\",? \"?([A-Za-z0-9_-]+)\"?,? \"([^\"]*)\".*|$suite/\3\t\1\t\2\t\4|p" "$file"
  done
}

# Lines of the matrix with the tests that cover them: key, fault, promise, reason, tests.
covered() {
  awk -F'\t' -v OFS='\t' '
    FNR == NR { n = split($2 " " $3, word, " "); for (i = 1; i <= n; i++) tests[word[i]] = tests[word[i]] (tests[word[i]] ? " " : "") $1; next }
    /^#/ { next }
    { print $1, $2, $3, $4, tests[$1]; delete tests[$1] }
    END { for (key in tests) if (tests[key]) print "?", key, "", "", tests[key] }' <(declared) "$matrix"
}

check() {
  local mistakes=0 line
  complain() {
    printf '%s\n' "$1"
    mistakes=$((mistakes + 1))
  }
  while IFS= read -r line; do complain "$line"; done < <(
    covered | awk -F'\t' '
      $1 == "?" { print $5 ": there is no row or number " $2; next }
      $4 == "" && $5 == "" { print $1 " (" $2 "): has neither a test nor a reason why there is none" }
      $4 != "" && $5 != "" { print $1 " (" $2 "): has a test (" $5 ") and a reason why there is none" }'
    declared | cut -f1 | sort | uniq -d | sed 's|$|: two tests have this name|'
  )
  local listed
  listed=$(sed -n '/^## The tests/,$s/^| `\([^`]*\)` |.*/\1/p' "$document" 2>/dev/null | sort || true)
  while IFS= read -r line; do complain "$line"; done < <(
    comm -23 <(declared | cut -f1 | sort -u) <(echo "$listed") | sed "s|\$|: is not in $document; run scripts/faults-table.sh|"
    comm -13 <(declared | cut -f1 | sort -u) <(echo "$listed") | grep . | sed "s|\$|: is in $document, but there is no such test|"
  )
  if [ "$mistakes" -gt 0 ]; then
    echo "$mistakes mistakes"
    return 1
  fi
  echo "$(declared | wc -l) tests cover $(grep -vc '^#' "$matrix") rows and numbers"
}

# Every result, a line each: test/name, figure, ok or failed.
results() {
  cat "$1"/*.tsv | awk -F'\t' -v OFS='\t' '{ print $3, $5, $6 }'
}

write() {
  local folder=$1
  cat <<END
# Faults

What can go wrong, what is promised, which test shows it, and what it measured. Made by \`scripts/faults-table.sh\` from the tests' output; only the
promises are written by hand (\`tests/faults/matrix.tsv\`). Names are \`TEST/CASE\`: \`ctest --test-dir build -R TEST\` runs them. W is the
deadline of an exchange, a few seconds in these tests. Measured on $(nproc) cores.
END
  table() { # FIRST-COLUMN PATTERN
    awk -F'\t' -v pattern="$1" '
      FNR == NR { figure[$1] = $2 ($3 == "ok" ? "" : " **failed**"); next }
      $1 !~ pattern { next }
      {
        cell = $4
        n = split($5, test, " ")
        for (i = 1; i <= n; i++) cell = cell (i > 1 ? "<br>" : "") "`" test[i] "`: " (test[i] in figure ? figure[test[i]] : "**no result**")
        print "| " $1 " | " $2 " | " $3 " | " cell " |"
      }' <(results "$folder") <(covered)
  }
  printf '\n## The matrix\n\n| # | fault | promise | tests and what they measured |\n|---|---|---|---|\n'
  table '^[0-9]+$'
  printf '\n## The plan of tests\n\n| # | test | passes when | tests and what they measured |\n|---|---|---|---|\n'
  table '^T'
  printf '\n## The tests\n\n| test | what it shows | measured | |\n|---|---|---|---|\n'
  awk -F'\t' '
    FNR == NR { figure[$1] = $2; result[$1] = $3; next }
    { print "| `" $1 "` | " $4 " | " figure[$1] " | " ($1 in result ? result[$1] : "no result") " |" }' <(results "$folder") <(declared)
}

"$@"
