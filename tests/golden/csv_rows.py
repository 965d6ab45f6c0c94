"""What Python's csv module reads in CSV and TSV: tests/golden/data/data/csv.json. Needs nothing but Python.

    python3 tests/golden/csv_rows.py

Texts are made of the pieces that matter (quotes, separators, line ends, blank lines, umlauts) by a seed, and both as the module
writes them and as people do. Kept are those that it reads without complaint into rows as long as the header, which is
what ours accepts; and those that it refuses, which ours must refuse, too (rows: null).
"""
import csv
import io
import json
import platform
import random
from pathlib import Path

PIECES = ["a", "bc", "\u00e9", "\U0001f600", " ", "'", "\\", "\\n", "0", "-1.5", "null", "#"]
SPECIAL = ['"', "\n", "\r\n", ",", "\t", '""', ",,"]


def field(r):
    return "".join(r.choice(PIECES if r.random() < 0.7 else SPECIAL) for _ in range(r.randrange(6)))


def written(r, delimiter):
    out = io.StringIO()
    rule = r.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
    writer = csv.writer(out, delimiter=delimiter, quoting=rule, lineterminator=r.choice(["\n", "\r\n"]))
    columns = r.randrange(2, 5)
    writer.writerow([f"c{i}" for i in range(columns)])
    for _ in range(r.randrange(1, 6)):
        writer.writerow([field(r) for _ in range(columns)])
    text = out.getvalue()
    return text.rstrip("\r\n") if r.random() < 0.3 else text


def typed(r, delimiter):
    text = delimiter.join(["x", '"y z"']) + "\n"
    for _ in range(r.randrange(1, 5)):
        row = []
        for _ in range(2):
            plain = "".join(r.choice(PIECES + ['"']) for _ in range(r.randrange(4)))
            quoted = '"' + "".join(r.choice(PIECES + ['""', "\n", delimiter]) for _ in range(r.randrange(4))) + '"'
            row.append(r.choice([plain, quoted]))
        text += delimiter.join(row) + r.choice(["\n", "\r\n", "\n\n"])
    return text


def read(text, delimiter):
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    rows = [row for row in rows if row]
    if any(len(row) != len(rows[0]) for row in rows) or len(rows) < 2:
        raise ValueError
    return [dict(zip(rows[0], row)) for row in rows[1:]]


def main():
    r = random.Random(7)
    cases = []
    for i in range(160):
        delimiter = r.choice(",\t")
        text = (written if i % 2 else typed)(r, delimiter)
        try:
            rows = read(text, delimiter)
        except (csv.Error, ValueError):
            rows = None
        cases.append({"name": "a.csv" if delimiter == "," else "a.tsv", "text": text, "rows": rows})
    path = Path(__file__).parent / "data" / "data" / "csv.json"
    body = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    path.write_text(f'{{"python": "{platform.python_version()}", "cases": [\n{body}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
