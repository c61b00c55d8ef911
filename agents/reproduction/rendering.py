"""A table of the paper from records: ours, the paper's, the difference, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agents.paper import paper_row
from agents.records import Table, paired_difference
from agents.records.tables import COLUMNS, NOTHING
from agents.records.tables import Row as RecordRow
from agents.reproduction.cells import Cell
from agents.reproduction.collecting import Found, choose
from agents.reproduction.request import Request
from agents.reproduction.rows import TABLES, Row

_RESAMPLES: Final = 999


@dataclass(frozen=True)
class Rendered:
    """A table and what it lacks.

    Attributes:
        request: What was asked for.
        table: Headings and cells.
        missing: The numbers without a record.
    """

    request: Request
    table: Table
    missing: tuple[Cell, ...]

    def markdown(self, level: int = 1) -> str:
        """A page: title, table, what its columns say, and the commands that make what is missing."""
        title = f"{'#' * level} {TABLES[self.request.table].title}\n\n" if level else ""
        return (
            f"{title}{self.table.markdown()}\n\n{self.notes()}{missing_commands(self.request, self.missing)}"
        )

    def latex(self) -> str:
        """A tabular for booktabs, after a comment that says what it is."""
        lines = [TABLES[self.request.table].title]
        lines += [f"missing: {cell}" for cell in self.missing]
        return "".join(f"% {line}\n" for line in lines) + self.table.latex() + "\n"

    def notes(self) -> str:
        """What the columns say."""
        reference = TABLES[self.request.table].row(TABLES[self.request.table].reference).heading
        return (
            f"In brackets: 95 % bootstrap intervals of the mean difference on the same faces. "
            f'"over reference" is over {reference}. The last column is PSNR minus the paper\'s, under the '
            "paper's protocol (torch7) alone, as aligned inputs are better ones.\n"
        )


def missing_commands(request: Request, missing: Sequence[Cell]) -> str:
    """The commands that make what is missing, as a list in Markdown; nothing where nothing is."""
    rows: dict[str, list[Cell]] = {}
    for cell in missing:
        rows.setdefault(cell.row.name, []).append(cell)
    lines = [f"- {cells[0].row.heading}: `{request.command(cells)}`" for cells in rows.values()]
    return "\nMissing, and what makes it:\n\n" + "\n".join(lines) + "\n" if lines else ""


_HEADINGS: Final = (
    ("scale", False),
    ("protocol", False),
    ("method", False),
    ("PSNR", True),
    ("SSIM", True),
    ("FSIM", True),
    ("over bicubic", True),
    ("over reference", True),
    ("n", True),
    ("training", False),
    ("paper: PSNR / SSIM / FSIM", True),
    ("ours - paper", True),
)


def render(request: Request, found: Sequence[Found], n: int | None = None) -> Rendered:
    """The table of these records.

    Args:
        request: Which table, of what.
        found: All records that may stand in it.
        n: Of how many images they must be; None: of any number.

    Raises:
        RecordError: If a file of single images does not fit its record.
    """
    cells = request.cells()
    runs = request.maker.recipe.runs
    chosen = {cell: choose(cell, found, request.split, n, cell.folder(runs).name) for cell in cells}
    lines = []
    for cell in cells:
        if cell.seed != cell.row.seeds[0]:
            continue  # the seeds of a row share a line
        own = [chosen[other] for other in cells if _same_line(cell, other)]
        lines.append(_line(request, cell, [each for each in own if each is not None], found))
    missing = tuple(cell for cell in cells if chosen[cell] is None)
    headings, numeric = zip(*_HEADINGS, strict=True)
    return Rendered(request, Table(list(headings), list(numeric), lines), missing)


def _same_line(cell: Cell, other: Cell) -> bool:
    return (cell.row, cell.scale, cell.protocol) == (other.row, other.scale, other.protocol)


def _line(request: Request, cell: Cell, own: Sequence[Found], found: Sequence[Found]) -> list[str]:
    head = [f"x{cell.scale}", cell.protocol, cell.row.heading]
    theirs = paper_row(cell.row.method, cell.dataset, cell.scale)
    printed = NOTHING
    if theirs is not None:
        values = [f"{theirs.psnr:.2f}", *(f"{v:.4f}" for v in (theirs.ssim, theirs.fsim) if v is not None)]
        printed = " / ".join(values)
    if not own:
        return [*head, *([NOTHING] * 6), "missing", printed, NOTHING]
    row = RecordRow(tuple(each.record for each in own), (), cell.row.heading)
    ours = row.mean("psnr")
    gap = NOTHING
    if theirs is not None and ours is not None and cell.protocol == "torch7":
        gap = f"{ours - theirs.psnr:+.2f}"
    training = COLUMNS["budget"].cell(row)
    if len(own) < len(cell.row.seeds):
        training = f"{len(own)} of {len(cell.row.seeds)} seeds: {training}"
    reference = TABLES[request.table].row(TABLES[request.table].reference)
    return [
        *head,
        *(COLUMNS[name].cell(row) for name in ("psnr", "ssim", "fsim")),
        _over(request, cell, own, Row("bicubic"), found),
        _over(request, cell, own, reference, found),
        COLUMNS["n"].cell(row),
        training,
        printed,
        gap,
    ]


def _over(request: Request, cell: Cell, own: Sequence[Found], rival: Row, found: Sequence[Found]) -> str:
    """PSNR minus that of another row on the same faces, with its interval; "-" where it cannot be told."""
    if cell.row.name == rival.name:
        return NOTHING
    other = Cell(rival, cell.dataset, cell.scale, cell.protocol)
    n = own[0].record.n
    name = other.folder(request.maker.recipe.runs).name
    against = choose(other, found, request.split, n, name) or choose(other, found, request.split, None, name)
    if against is None or against.record.n < n or any(each.record.n != n for each in own):
        return NOTHING
    whole = against.record.n == n  # else it was measured on more faces, of which the first ones are these
    if n < 2 or not all(each.images.is_file() for each in (*own, against)):
        if not whole:
            return NOTHING
        mean = sum(each.record.psnr for each in own) / len(own)
        return f"{mean - against.record.psnr:+.2f}"
    gap = paired_difference(
        [each.images for each in own], against.images, within=not whole, resamples=_RESAMPLES
    )
    return f"{gap.mean:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]"
