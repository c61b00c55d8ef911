"""Render docs/benchmarks.md from results/benchmarks: ``python -m benchmarks.report [--check]``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.common import RESULTS

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
_HEAD = """# Benchmarks

Rendered from `results/benchmarks/` by `python -m benchmarks.report`; each record also holds the command, the
commit and the versions. Ratios are medians over neighbouring runs, so that a busy machine slows both sides.

| benchmark | measured | goal | device |
| --- | --- | --- | --- |
"""


def render() -> str:
    """The page as it should be."""
    rows = []
    for path in sorted(RESULTS.glob("*.json")):
        record = json.loads(path.read_text())
        figure = next(iter(key for key in record if key != "benchmark"))
        goal = record["goal"].replace("|", "/")
        rows.append(f"| {record['benchmark']} | {figure} {record[figure]:,} | {goal} | {record['device']} |")
    return _HEAD + "\n".join(rows) + "\n"


def main() -> int:
    """Write the page, or with --check say whether it is up to date."""
    if "--check" in sys.argv[1:]:
        if PAGE.read_text() == render():
            return 0
        print(f"{PAGE} is not what the records say: run python -m benchmarks.report", file=sys.stderr)
        return 1
    PAGE.write_text(render())
    return 0


if __name__ == "__main__":
    sys.exit(main())
