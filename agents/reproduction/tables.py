"""Making a table: row by row, so that a killed run goes on at the first row that is missing."""

from __future__ import annotations

from tqdm.auto import tqdm

from agents.records.files import write_atomically
from agents.reproduction.collecting import Found, choose, collect
from agents.reproduction.rendering import Rendered, render
from agents.reproduction.request import Request


def make_table(request: Request) -> Rendered:
    """Train and measure what is missing, and write ``TABLE.md`` and ``TABLE.tex``.

    Both are written anew after every row, so that they show how far it is.

    Args:
        request: Which table, of what.

    Returns:
        The table.

    Raises:
        ValueError: If something does not fit, before anything is trained.
        FileNotFoundError: If data, records or configurations are not there, likewise.
        DivergenceError: If learning came apart.
    """
    found, n = gather(request), None
    if request.train:
        n = _faces(request)
        _make_missing(request, found, n)
    rendered = render(request, gather(request), n or request.limit)
    _write(rendered)
    return rendered


def gather(request: Request) -> list[Found]:
    """All records that may stand in the table: those that were named, and what was measured for it."""
    return collect(request.records) + collect([request.new_records], must_exist=False)


def _faces(request: Request) -> int:
    """How many faces are measured, once it is sure that all faces are there."""
    faces = request.faces
    if any(cell.row.kind != "input" for cell in request.cells()):
        faces.load("train")
    size = len(faces.load())
    return min(size, request.maker.limit or size)


def _make_missing(request: Request, found: list[Found], n: int) -> None:
    maker = request.maker
    missing = [cell for cell in request.cells() if choose(cell, found, request.split, n) is None]
    for cell in missing:
        maker.check(cell)
    bar = tqdm(missing, desc=request.table, unit="row", disable=not request.progress_bar, dynamic_ncols=True)
    for cell in bar:
        bar.set_postfix_str(str(cell))
        # What does not read I_0 was measured under both protocols at once
        if choose(cell, gather(request), request.split, n) is None:
            maker.make(cell)
            _write(render(request, gather(request), n))


def _write(rendered: Rendered) -> None:
    request = rendered.request
    write_atomically(request.folder / f"{request.table}.md", rendered.markdown())
    write_atomically(request.folder / f"{request.table}.tex", rendered.latex())
