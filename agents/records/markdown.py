"""Tables inside Markdown files, kept in step with the records between a pair of markers.

A marker stands alone on its line, outside fenced code; what lies between the two is replaced::

    <!-- table: results/lfw-x8.json protocol=aligned paper=yes columns=method,psnr,gain -->
    <!-- /table -->

The words without "=" are files of records, the others a filter of `make_table` (several values with commas
between them), `columns` or `paper`.
"""

import re
import shlex
from pathlib import Path
from typing import Any

from agents.records.files import load_records, write_atomically
from agents.records.record import Record, RecordError
from agents.records.tables import Table, make_table

_OPEN = re.compile(r"\s*<!--\s*table:(?P<arguments>.*?)-->\s*")
_CLOSE = re.compile(r"\s*<!--\s*/table\s*-->\s*")
_FENCE = re.compile(r" {0,3}(?P<fence>`{3,}|~{3,})(?P<info>.*)")


def table_of(words: list[str], root: str | Path = ".") -> Table:
    """The table that the words of a marker ask for.

    Args:
        words: Files of records and options, for instance ["results/lfw-x8.json", "protocol=aligned"].
        root: The folder that the files' names start from.

    Raises:
        FileNotFoundError: If a file of records is not there.
        RecordError: If no file is named, an option is unknown or repeated, or no record passes the filters.
    """
    records: list[Record] = []
    options: dict[str, Any] = {}
    files = [word for word in words if "=" not in word]
    for word in words:
        name, is_option, value = word.partition("=")
        if not is_option:
            records += load_records(Path(root) / word)
            continue
        if name in options:
            raise RecordError(f"{name} stands there twice; put commas between its values")
        options[name] = value.split(",")
    if not files:
        raise RecordError("no file of records is named")
    if (paper := options.pop("paper", ["no"])) not in (["yes"], ["no"]):
        raise RecordError(f"paper={','.join(paper)} is neither paper=yes nor paper=no")
    try:
        return make_table(records, paper=paper == ["yes"], **options)
    except RecordError as error:
        raise RecordError(f"{', '.join(files)}: {error}") from None


def render_text(text: str, root: str | Path = ".", name: str = "text") -> tuple[str, list[int]]:
    """A Markdown text with every marked table rendered anew.

    Args:
        text: The whole text.
        root: The folder that the names of the files of records start from.
        name: What an error calls the text.

    Returns:
        The new text, and the numbers (from 1) of the opening markers' lines whose tables changed.

    Raises:
        FileNotFoundError: If a file of records is not there.
        RecordError: If a marker is never closed, never opened, or asks for what is not there; the sentence
            names the line.
    """
    out: list[str] = []
    old: list[str] = []
    stale: list[int] = []
    opened, fence, new = 0, "", ""
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if not opened and (mark := _FENCE.fullmatch(line.rstrip("\r\n"))):
            if not fence:
                fence = mark["fence"]
            elif mark["fence"].startswith(fence) and not mark["info"].strip():
                fence = ""
        if not fence and (mark := _OPEN.fullmatch(line)):
            if opened:
                raise RecordError(
                    f"{name}, line {number}: the table of line {opened} is not closed before this one"
                )
            opened, old = number, []
            try:
                new = f"\n{table_of(shlex.split(mark['arguments']), root).markdown()}\n\n"
            except (ValueError, FileNotFoundError) as error:
                raise type(error)(f"{name}, line {number}: {error}") from None
            out.append(line)
        elif not fence and _CLOSE.fullmatch(line):
            if not opened:
                raise RecordError(f"{name}, line {number}: a table is closed here that was not opened")
            if new != "".join(old):
                stale.append(opened)
            out += [new, line]
            opened = 0
        else:
            (old if opened else out).append(line)
    if opened:
        raise RecordError(f"{name}, line {opened}: this table is never closed by <!-- /table -->")
    return "".join(out), stale


def render_file(path: str | Path, root: str | Path = ".", *, check: bool = False) -> list[int]:
    """Render the marked tables of a Markdown file anew, or only look whether they are up to date.

    Args:
        path: The file; it is replaced in one step, and not touched if nothing changed.
        root: The folder that the names of the files of records start from.
        check: Whether to leave the file as it is in any case.

    Returns:
        The numbers (from 1) of the opening markers' lines whose tables changed, or would change.

    Raises:
        FileNotFoundError, RecordError: As `render_text`, and if the file itself is not there.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No file {path} to render tables in")
    text, stale = render_text(path.read_text(encoding="utf-8"), root, str(path))
    if stale and not check:
        write_atomically(path, text)
    return stale
