"""Opens the tables of runs in pandas, polars and DuckDB, by the programs of docs/how-to/read-results.md, and holds what they read
against the lines themselves. Called by .ci/parts/tables.

    check.py RESULTS DOCUMENT

RESULTS holds folders of runs, with rows and without, and *.json, which commands have printed.
"""

import json
import math
import re
import sys
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl

TABLES = ["frames", "faults", "logs", "outputs", "swaps", "models"]


def programs(document):
    """The function `table` of each program in the document, by the name of what it uses."""
    blocks = re.findall(r"```python\n(.*?)```", Path(document).read_text(encoding="utf-8"), re.DOTALL)
    found = {}
    for block in blocks:
        scope = {}
        exec(compile(block, document, "exec"), scope)
        found[re.search(r"import (pandas|polars|duckdb)", block).group(1)] = scope["table"]
    assert set(found) == {"pandas", "polars", "duckdb"}, found.keys()
    return found


def rows(table):
    """The rows of what any of them has read, as dictionaries."""
    if isinstance(table, pd.DataFrame):
        return list(table.columns), table.astype(object).to_dict("records")
    if isinstance(table, pl.DataFrame):
        return table.columns, table.to_dicts()
    return table.columns, [dict(zip(table.columns, row)) for row in table.fetchall()]


def same(found, line):
    """Whether a cell holds what the line says: as it is, as text, as JSON, or as the fields that were asked for."""
    if line is None:
        return found is None or (isinstance(found, float) and math.isnan(found))
    if isinstance(line, dict) and isinstance(found, dict):
        return all(found[key] == line[key] for key in found)
    if found == line or found == str(line):
        return True
    try:
        return isinstance(found, str) and json.loads(found) == line
    except ValueError:
        return False


def main(results, document):
    reads = programs(document)
    seen = {name: [0, 0] for name in TABLES}
    runs = sorted(path for path in Path(results).iterdir() if path.is_dir())
    assert len(runs) >= 3, runs
    for run in runs:
        for name in TABLES:
            lines = [json.loads(line) for line in (run / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
            seen[name][bool(lines)] += 1
            for tool, table in reads.items():
                columns, read = rows(table(str(run), name))
                what = f"{run.name}: {name}: {tool}"
                assert columns[0] == "frame" and len(columns) >= 3, f"{what}: {columns}"
                assert len(read) == len(lines), f"{what}: {len(read)} rows of {len(lines)}"
                for line, row in zip(lines, read):
                    wrong = {key for key in row if not same(row[key], line.get(key))}
                    assert not wrong, f"{what}: {wrong}: {row} of {line}"
                    lost = set(line) - set(row) - {"lanes"}
                    assert not lost, f"{what}: {lost} isn't a column"
    for path in [*Path(results).glob("*.json"), *(run / "summary.json" for run in runs)]:
        whole = json.loads(path.read_text(encoding="utf-8"))
        assert len(pd.json_normalize(whole)) == 1, path
        assert len(pl.read_ndjson(path)) == 1, path
        assert len(duckdb.sql(f"SELECT * FROM read_json('{path}')").fetchall()) == 1, path
    # Each table was seen with rows and without, but for that of frames: a run has at least one.
    assert all(without and with_rows for name, (without, with_rows) in seen.items() if name != "frames"), seen
    print(f"{len(runs)} runs, tables without rows and with: {seen}")


if __name__ == "__main__":
    main(*sys.argv[1:])
