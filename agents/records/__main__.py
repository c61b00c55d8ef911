"""The command line: python -m agents.records render | table | compare | differences."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from agents.records.comparison import paired_difference
from agents.records.differences import render_differences
from agents.records.markdown import render_file, table_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands and return the exit status: 1 if a table is out of date, 2 after an error."""
    parser = argparse.ArgumentParser(
        prog="python -m agents.records", description="Tables from records of results."
    )
    commands = parser.add_subparsers(required=True)

    render = commands.add_parser("render", help="render the marked tables of Markdown files anew")
    render.add_argument("files", nargs="+", type=Path, metavar="FILE.md")
    render.add_argument("--check", action="store_true", help="change nothing; fail if a table is out of date")
    render.add_argument(
        "--root", type=Path, default=Path(), help="where the records' names start (default: here)"
    )
    render.set_defaults(run=_render)

    table = commands.add_parser("table", help="print one table")
    table.add_argument(
        "words", nargs="+", metavar="WORD", help="files of records, and filters such as scale=8"
    )
    table.add_argument("--latex", action="store_true", help="LaTeX with booktabs instead of Markdown")
    table.set_defaults(run=_table)

    compare = commands.add_parser(
        "compare", help="mean difference of two methods on the same images, with a 95 %% CI"
    )
    compare.add_argument("first", type=Path, metavar="FIRST.csv")
    compare.add_argument("second", type=Path, metavar="SECOND.csv")
    compare.add_argument("--column", default="psnr")
    compare.set_defaults(run=_compare)

    differences = commands.add_parser(
        "differences", help="render the marked lists of paired differences of Markdown files anew"
    )
    differences.add_argument("files", nargs="+", type=Path, metavar="FILE.md")
    differences.add_argument(
        "--check", action="store_true", help="change nothing; fail if one is out of date"
    )
    differences.set_defaults(run=_differences)

    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _render(options: argparse.Namespace) -> int:
    stale = [
        (file, line)
        for file in options.files
        for line in render_file(file, options.root, check=options.check)
    ]
    for file, line in stale:
        print(f"{file}:{line}: {'out of date' if options.check else 'rendered'}")
    if stale and options.check:
        names = " ".join(str(file) for file in options.files)
        print(f"To mend: python -m agents.records render {names}")
    return int(bool(stale) and options.check)


def _table(options: argparse.Namespace) -> int:
    table = table_of(options.words)
    print(table.latex() if options.latex else table.markdown())
    return 0


def _differences(options: argparse.Namespace) -> int:
    stale = [file for file in options.files if not render_differences(file, check=options.check)]
    for file in stale:
        print(f"{file}: {'out of date' if options.check else 'rendered'}")
    return int(bool(stale) and options.check)


def _compare(options: argparse.Namespace) -> int:
    print(paired_difference(options.first, options.second, options.column))
    return 0


if __name__ == "__main__":
    sys.exit(main())
