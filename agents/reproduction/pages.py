"""The paper's tables in the documentation, rendered from committed records alone.

A mark says which table and of which records, the rest as on the command line of evaluate.py::

    <!-- reproduction: table1 records=results dataset=bioid scales=8 -->
    <!-- /reproduction -->
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from agents.records import RecordError
from agents.records.blocks import render_blocks
from agents.reproduction.collecting import collect
from agents.reproduction.latency import LatencyRequest, latency_page, read_latencies
from agents.reproduction.rendering import missing_commands, render
from agents.reproduction.request import Request

KIND: Final = "reproduction"
_LISTS: Final = ("records", "scales", "protocols", "rows")
_WORDS: Final = ("dataset", "split")
_FOLDERS: Final = ("overrides", "runs")  # of the commands that make what is missing
_OPTIONS: Final = (*_LISTS, *_WORDS, *_FOLDERS)


def render_page(page: Path, root: Path = Path(), *, check: bool = False) -> bool:
    """Render the marked tables of a page anew.

    Args:
        page: A Markdown file.
        root: Where the records' names start.
        check: Change nothing.

    Returns:
        Whether the page was up to date.

    Raises:
        ValueError: If there is no mark, or one asks for what no table has.
        FileNotFoundError: If there are no records at a place.
    """
    return render_blocks(page, KIND, lambda words: block(words.split(), root), check=check)


def block(words: list[str], root: Path = Path()) -> str:
    """What belongs under a mark, without a newline at its end.

    Args:
        words: Of the mark.
        root: Where the records' names start.

    Raises:
        ValueError: If the words ask for what no table has.
        FileNotFoundError: If there are no records at a place.
    """
    table, *said = words
    options: dict[str, Any] = {}
    for word in said:
        name, equals, value = word.partition("=")
        if not equals or name not in _OPTIONS:
            raise RecordError(f"{word!r} is none of {', '.join(f'{name}=...' for name in _OPTIONS)}")
        values = tuple(int(part) if part.isdecimal() else part for part in value.split(","))
        options[name] = values if name in _LISTS else value if name in _WORDS else Path(value)
    places = [root / str(place) for place in options.get("records", ())]
    if table == "table4":
        request = LatencyRequest(**options)
        times = read_latencies(places, must_exist=False)
        return _without_title(latency_page(times, request.wanted())[0])
    rendered = render(Request(table, **options), collect(places))
    if len(rendered.missing) == len(rendered.request.cells()):
        nothing = f"On {rendered.request.faces.name} nothing was measured yet.\n"
        return (nothing + missing_commands(rendered.request, rendered.missing)).strip()
    return rendered.markdown(level=0).strip()


def _without_title(page: str) -> str:
    return page.partition("\n")[2].strip()
