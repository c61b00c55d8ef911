"""Render the paper's tables in the documentation: ``python -m agents.reproduction FILE.md ... [--check]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from agents.reproduction.pages import render_page


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and return the exit status: 1 if a page is out of date, 2 after an error."""
    parser = argparse.ArgumentParser(
        prog="python -m agents.reproduction",
        description="Render the marked tables of the paper in Markdown files from committed records.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.md")
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a page is out of date")
    parser.add_argument("--root", type=Path, default=Path(), help="where the records' names start")
    options = parser.parse_args(arguments)
    try:
        fresh = [render_page(file, options.root, check=options.check) for file in options.files]
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for file, is_fresh in zip(options.files, fresh, strict=True):
        print(f"{file}: {'up to date' if is_fresh else 'out of date' if options.check else 'rendered'}")
    return int(options.check and not all(fresh))


if __name__ == "__main__":
    sys.exit(main())
