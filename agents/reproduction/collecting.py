"""Records from many files, and which of them stands for a number of a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from agents.evaluation import only_pretrained
from agents.records import Record, RecordError, images_path, load_records
from agents.reproduction.cells import Cell

_CHOOSERS: Final = {"random_patch": "random", "raster_scan": "raster", "greedy_oracle": "oracle"}
"""Agents that do not learn where to look; as rows of a table their enhancer learns from their episodes."""


class Found(NamedTuple):
    """A record, and the file with the values of its images (which need not be there)."""

    record: Record
    images: Path


def collect(places: Iterable[str | Path], *, must_exist: bool = True) -> list[Found]:
    """All records of these places.

    Args:
        places: Files of records, folders of such files, and patterns such as ``results/lfw-*.json``.
        must_exist: Refuse a place where there is nothing.

    Raises:
        FileNotFoundError: If there is nothing at a place.
        RecordError: If a file holds something else.
    """
    found = []
    for place in places:
        path = Path(place)
        if path.is_dir():
            files = sorted(path.glob("*.json"))
        else:
            files = [path] if path.is_file() else sorted(_matching(path))
        if not files and must_exist:
            raise FileNotFoundError(f"there are no records at {place}")
        found += [Found(record, images_path(file, record)) for file in files for record in load_records(file)]
    return found


def _matching(pattern: Path) -> list[Path]:
    """The files that a pattern stands for."""
    return list(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))


def choose(
    cell: Cell, found: Sequence[Found], split: str, n: int | None = None, preset: str | None = None
) -> Found | None:
    """The record of a number.

    Several may be: of other configurations of the method, in other arithmetic, measured again. Then that of
    the run folder's name goes first, then that of most images, then the newest one: never the best one.

    Args:
        cell: Which number.
        found: All records.
        split: Of which faces.
        n: Of how many images; None: of any number.
        preset: The run folder's name.

    Returns:
        None if there is none.

    Raises:
        RecordError: If there are records of two variants of the data set.
    """
    fitting = [each for each in found if _fits(cell, each.record, split) and n in (None, each.record.n)]
    fitting = [each for each in fitting if not _borrows(each.record, found)]
    if len(names := {each.record.dataset for each in fitting}) > 1:
        raise RecordError(
            f"{cell} was measured on {' and on '.join(sorted(names))}: name the records of one of them"
        )
    return max(
        fitting,
        key=lambda each: (each.record.preset == preset, each.record.n, each.record.date),
        default=None,
    )


def _fits(cell: Cell, record: Record, split: str) -> bool:
    row = cell.row
    return (
        record.method in (row.method, *row.also)
        and record.mode == row.mode
        and record.dataset.split("-")[0] == cell.dataset
        and (record.split, record.scale, record.protocol) == (split, cell.scale, cell.protocol)
        and record.seed == cell.seed
    )


def _borrows(record: Record, found: Sequence[Found]) -> bool:
    """Whether a scripted agent was measured with an enhancer that learned from others: another question."""
    if record.method not in _CHOOSERS:
        return record.method == "planned_scan"  # for which no enhancer is trained
    return not only_pretrained(record.budget, _CHOOSERS[record.method]) or any(
        other.record.preset == record.preset and other.record.method.startswith("attention_fh")
        for other in found
    )
