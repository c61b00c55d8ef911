"""The rows of learning curves on disk, one a measurement."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from agents.records.files import write_atomically

Mode = Literal["argmax", "sampled", "scripted"]


@dataclass(frozen=True)
class CurveRow:
    """One measurement of one variant on the validation faces.

    Attributes:
        variant: Its name, or that of an agent that does not learn.
        seed: Of its learning, or of what it draws.
        timesteps: Environment steps of learning before.
        seconds: Wall-clock time of learning before, without measuring.
        mode: ``argmax`` or ``sampled``; ``scripted`` of agents that do not learn.
        psnr_gain: Mean gain over I_0 in dB.
        coverage: Mean share of the picture that was covered, in [0, 1].
        distinct_places: Mean number of places further than 8 pixels apart.
        commit: Of the code.
    """

    variant: str
    seed: int
    timesteps: int
    seconds: float
    mode: Mode
    psnr_gain: float
    coverage: float
    distinct_places: float
    commit: str


_COLUMNS = tuple(field.name for field in fields(CurveRow))


class CurveFile:
    """A CSV file of `CurveRow`; several processes may write to it in turns.

    Args:
        path: The file; made when the first row is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[CurveRow]:
        """All rows, in their order; none where there is no file.

        Raises:
            ValueError: If the file is none of these.
        """
        if not self.path.is_file():
            return []
        with self.path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != _COLUMNS:
                raise ValueError(f"{self.path} has not the columns {', '.join(_COLUMNS)}")
            return [self._row(values) for values in reader]

    def append(self, rows: Iterable[CurveRow]) -> None:
        """Add rows."""
        with self._lock():
            self._write([*self.rows(), *rows])

    def replace(self, rows: Iterable[CurveRow]) -> None:
        """Hold these rows and no others; for a file that no other process writes to."""
        self._write(rows)

    def drop(self, variant: str, seed: int) -> None:
        """Take out all that was measured of a variant with one seed."""
        with self._lock():
            self._write([row for row in self.rows() if (row.variant, row.seed) != (variant, seed)])

    def _lock(self) -> FileLock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self.path.with_suffix(".lock"))

    def _write(self, rows: Iterable[CurveRow]) -> None:
        out = io.StringIO()
        writer = csv.DictWriter(out, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _text(value) for name, value in asdict(row).items()} for row in rows)
        write_atomically(self.path, out.getvalue())

    def _row(self, values: dict[str, Any]) -> CurveRow:
        try:
            numbers = {name: float(values[name]) for name in _COLUMNS[5:8]}
            return CurveRow(
                variant=values["variant"],
                seed=int(values["seed"]),
                timesteps=int(values["timesteps"]),
                seconds=float(values["seconds"]),
                mode=values["mode"],
                commit=values["commit"],
                **numbers,
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.path} holds a row that cannot be read, {values}: {error}") from error


def _text(value: object) -> str:
    return f"{value:.6f}" if isinstance(value, float) else str(value)
