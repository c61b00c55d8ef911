"""Render docs/benchmarks.md from results/benchmarks: ``python -m benchmarks.report [--check]``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
_HEAD = """# Benchmarks

Rendered from `results/benchmarks/` by `python -m benchmarks.report`; each record also holds the command, the
commit and the versions. To measure with other settings than those of a record, say `--output FOLDER`.
Ratios are medians over neighbouring runs, so that a busy machine slows both sides.

| benchmark | measured | goal | device |
| --- | --- | --- | --- |
"""


def render() -> str:
    """The page as it should be."""
    rows, details = [], []
    for path in sorted(RESULTS.glob("*.json")):
        record = json.loads(path.read_text())
        details += [_detail(record["benchmark"], name, table) for name, table in _tables(record)]
        figure = next(iter(key for key in record if key != "benchmark"))
        goal = record["goal"].replace("|", "/")
        rows.append(f"| {record['benchmark']} | {figure} {record[figure]:,} | {goal} | {record['device']} |")
    return _HEAD + "\n".join(rows) + "\n" + "".join(details)


def _tables(record: dict[str, Any]) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """What a record tells by two names: tables inside it."""
    for name, value in record.items():
        if isinstance(value, dict) and value and all(isinstance(row, dict) for row in value.values()):
            yield name, value


def _detail(benchmark: str, name: str, table: dict[str, dict[str, Any]]) -> str:
    columns = list(next(iter(table.values())))
    lines = [
        f"\n`{benchmark}`, {name}:\n",
        f"| | {' | '.join(columns)} |",
        f"| --- |{' ---: |' * len(columns)}",
        *(f"| {row} | {' | '.join(f'{cells[c]:,}' for c in columns)} |" for row, cells in table.items()),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page, or with --check say whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing: say whether it is up to date")
    if parser.parse_args().check:
        if PAGE.read_text() == render():
            return 0
        print(f"{PAGE} is not what the records say: run python -m benchmarks.report", file=sys.stderr)
        return 1
    PAGE.write_text(render())
    return 0


if __name__ == "__main__":
    sys.exit(main())
