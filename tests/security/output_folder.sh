#!/usr/bin/env bash
# What a run writes is its user's alone, and goes nowhere else (distributed rules, section 5.5; T45): modes of what is made,
# and refusals of links and of folders that others can change.   output_folder.sh BIN_FOLDER
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/../support/shell.sh" "$1"
# shellcheck source=tests/faults/record.sh
. "$(dirname "$0")/../faults/record.sh"
cd "$top" || exit 1

out=$scratch/out-dir
elsewhere=$scratch/elsewhere
head -n 8 examples/data/train.jsonl >"$scratch/data.jsonl"

place=$out
train() { # two steps of the example, into $place
  timeout 120 "$worker" --threads 1 examples/demo.yaml output_dir="$place" dataset="$scratch/data.jsonl" eval_dataset=null eval_strategy=no \
    max_steps=2
}

# refused NAME PATTERN: 77, one line that says so, and nothing written elsewhere
refused() {
  local name=$1 pattern=$2
  find "$elsewhere" -type f -printf '%p %s %T@\n' | sort >"$scratch/before"
  expect_status "$name: exit status" 77 train
  expect_line "$name: message" "^qlora: error: .*$pattern"
  if [ "$(grep -c '^qlora: error: ' "$scratch/err")" -ne 1 ]; then flunk "$name: more than one error line"; fi
  find "$elsewhere" -type f -printf '%p %s %T@\n' | sort >"$scratch/after"
  if cmp -s "$scratch/before" "$scratch/after"; then pass "$name: nothing was written elsewhere"; else flunk "$name: wrote elsewhere"; fi
}

fresh() {
  rm -rf "$out" "$elsewhere"
  mkdir -p "$out" "$elsewhere"
}

# ---- modes, whatever the umask is ----
fresh
rm -rf "$out"
(umask 000; train) >/dev/null 2>"$scratch/err"
if [ -e "$out/adapter_model.safetensors" ]; then pass "a run under umask 000"; else flunk "no run: $(tail -n 1 "$scratch/err")"; fi
open=$(find "$out" -perm /077 | head -n 3)
if [ -z "$open" ]; then pass "others can read nothing of it"; else flunk "others can read $open"; fi

# ---- links in place of what is written ----
fresh
rmdir "$out"
ln -s elsewhere "$out"
refused "output_dir is a link" 'out-dir: is a symbolic link'
place=$out/
refused "output_dir is a link, with a slash" 'out-dir: is a symbolic link'
place=$out
for name in metrics.jsonl run.log config.yaml adapter_model.safetensors adapter_config.json checkpoint-00000001; do
  fresh
  echo precious >"$elsewhere/file"
  ln -s "$elsewhere/file" "$out/$name"
  refused "$name is a link" "$name: is a symbolic link"
done
for name in run.log metrics.jsonl; do
  fresh
  ln -s "$elsewhere/new" "$out/$name"
  refused "$name is a dangling link" "$name: is a symbolic link"
done
fresh
ln -s "$elsewhere" "$out/run"
refused "run is a link" 'run: is a symbolic link'
for name in lock DONE-2 generation rank-0.ring; do
  fresh
  mkdir "$out/run"
  ln -s "$elsewhere/file" "$out/run/$name"
  refused "run/$name is a link" "$name: is a symbolic link"
done
fresh
ln -s "$elsewhere" "$out/notes-of-the-user"
expect_status "a link of the user's own is nobody's business" 0 train
fresh
mkdir "$out/run.log"
expect_status "run.log is a folder: said, and no reason to stop" 0 train
fresh
mkfifo "$out/metrics.jsonl"
refused "metrics.jsonl is a pipe" "metrics.jsonl: is not a regular file"

record "" "T45" links "77, nothing is written elsewhere" "files 0600, folders 0700; $checks checks of links"

# ---- folders that others can change ----
fresh
chmod 777 "$out"
refused "anybody can write there" 'anybody can write there; say chmod o-w'
chmod 1777 "$out"
expect_status "anybody can, but the sticky bit is set" 0 train
fresh
chmod 775 "$out"
expect_status "the user's own group can write there" 0 train
if [ "$(id -u)" = 0 ]; then
  fresh
  chgrp 54321 "$out"
  chmod 2770 "$out"
  refused "another group can write there" 'its group \(gid 54321\) can write there; say chmod g-w'
  # As another user, who may use what lies here but owns none of it.
  fresh
  chmod 755 "$scratch" "$out"
  chmod 644 "$scratch/data.jsonl"
  as_stranger() { env XDG_CACHE_HOME=/nowhere setpriv --reuid 54321 --regid 54321 --clear-groups timeout 120 "$worker" --threads 1 \
    examples/demo.yaml output_dir="$out" dataset="$scratch/data.jsonl" eval_dataset=null eval_strategy=no max_steps=2; }
  chmod 777 "$out"
  expect_status "the folder of another user" 77 as_stranger
  expect_line "and that is said" 'out-dir: belongs to another user \(uid 0\)'
  chmod 755 "$out"
  chown 54321:54321 "$out"
  expect_status "the user's own folder" 0 as_stranger
else
  echo "not root: folders of other users and groups are not tried"
fi
record "" "T45" folders "77, nothing is written" "anybody's, another group's, another user's: 77"
finish
