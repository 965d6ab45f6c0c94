# shellcheck shell=bash
# inspect_page.sh BIN_FOLDER: the page of `qlora inspect` in a real browser. What it shows there, after its script has run, is compared with
# --json; no pixels are. Skipped where there is no Chromium, which is a package of that name in Debian.
# shellcheck source=tests/support/shell.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/shell.sh" "$1"
cd "$top" || exit 1
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
  echo "skipped: there is no Chromium on this machine (apt-get install chromium)"
  exit 77
}
command -v python3 >/dev/null || { echo "skipped: there is no python3 on this machine" && exit 77; }
keys=(output_dir="$scratch/out" eval_dataset=null eval_strategy=no)

cat >"$scratch/hostile.jsonl" <<'END'
{"question": "<script>document.title='taken'</script></article></section>", "answer": "\" onload=x <!-- & <b>"}
{"question": "\u202eturned \u0000\u0007 \u2066", "answer": "\ud83d\udc69\u200d\ud83d\udc69 \u5979\u8bf4\n\n\tx"}
END

# In the browser, what a mouse would do, when the page is complete.
cat >"$scratch/point.html" <<'END'
<script>
var tokens = document.querySelectorAll(".doc .text i");
tokens[1].dispatchEvent(new MouseEvent("mouseover", { bubbles: true }));
document.dispatchEvent(new KeyboardEvent("keydown", { key: "b" }));
document.dispatchEvent(new KeyboardEvent("keydown", { key: "j" }));
</script>
END

# Counts of the page as the browser has it, and whether the tokens are those of --json.
cat >"$scratch/compare.py" <<'END'
import html.parser, json, sys

class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.rows = self.documents = self.scripts = self.here = 0
        self.ids, self.targets, self.marks, self.tip, self.in_tip, self.title, self.body = [], 0, 0, "", False, "", ""
    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        self.rows += a.get("class") == "row"
        self.documents += (a.get("class") or "").split(" ")[0] == "doc"
        self.here += "here" in (a.get("class") or "").split(" ") and tag == "article"
        self.scripts += tag == "script"
        self.marks += tag == "mark"
        if tag == "body": self.body = a.get("class")
        if a.get("id") == "tip": self.in_tip = True
        if "data-i" in a:
            ids = [int(i) for i in a["data-i"].split()]
            self.ids += ids
            self.targets += len(ids) * (self.marks > 0)
    def handle_endtag(self, tag):
        self.marks -= tag == "mark"
        if tag == "div": self.in_tip = False
    def handle_data(self, text):
        if self.in_tip: self.tip += text

page = Page()
page.feed(open(sys.argv[1], encoding="utf-8").read())
rows = [json.loads(line) for line in open(sys.argv[2])]
pointed = len(sys.argv) > 3
facts = [("rows", page.rows, len(rows)), ("documents", page.documents, sum(len(r["documents"]) for r in rows)),
         ("tokens", page.ids, [i for r in rows for i in r["input_ids"]]),
         ("targets", page.targets, sum(l != -100 for r in rows for l in r["labels"])), ("scripts", page.scripts, 1 + pointed)]
if pointed:
    facts += [("shades after b", page.body, ""), ("documents that j chose", page.here, 1), ("id in the tip", f"id {page.ids[1]} " in page.tip, True),
              ("place in the tip", "token 1 of" in page.tip, True)]
wrong = [f"{name}: {str(got)[:80]} instead of {str(want)[:80]}" for name, got, want in facts if got != want]
print("; ".join(wrong) or "the same")
sys.exit(bool(wrong))
END

# dump NAME: $scratch/NAME.html as the browser has it, to NAME.dom
dump() {
  timeout 120 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$scratch/profile" --virtual-time-budget=2000 --dump-dom "file://$scratch/$1.html" \
    >"$scratch/$1.dom" 2>"$scratch/err"
}

compare() { # NAME WHAT [pointed]
  dump "$1"
  if said=$(python3 "$scratch/compare.py" "$scratch/$1.dom" "$scratch/$2.json" ${3:+"$3"}); then pass "$1 in a browser"; else flunk "$1 in a browser: $said"; fi
}

expect_status "page" 0 "$bin/qlora" inspect examples/demo.yaml "${keys[@]}" --rows 0:4 --html "$scratch/demo.html"
expect_status "rows" 0 "$bin/qlora" inspect examples/demo.yaml "${keys[@]}" --rows 0:4 --json
cp "$scratch/out" "$scratch/demo.json"
compare demo demo
sed "/<\/body>/e cat '$scratch/point.html'" "$scratch/demo.html" >"$scratch/pointed.html"
compare pointed demo pointed

expect_status "page of hostile texts" 0 "$bin/qlora" inspect examples/demo.yaml "${keys[@]}" dataset="$scratch/hostile.jsonl" --html "$scratch/hostile.html"
expect_status "rows of hostile texts" 0 "$bin/qlora" inspect examples/demo.yaml "${keys[@]}" dataset="$scratch/hostile.jsonl" --json
cp "$scratch/out" "$scratch/hostile.json"
compare hostile hostile
if grep -q '<title>What this run will train on</title>' "$scratch/hostile.dom"; then pass "no text acts"; else flunk "a text acts: $(grep '<title>' "$scratch/hostile.dom")"; fi
finish
