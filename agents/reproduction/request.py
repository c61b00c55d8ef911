"""What the command line asks for: which table, of which faces, and where everything lies."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agents.reproduction.cells import CONFIGS, SCALES, Cell, Faces, Recipe
from agents.reproduction.making import Maker
from agents.reproduction.rows import TABLES, Row
from facehall_env.resample import PROTOCOLS, ProtocolName

QUICK: Final[dict[str, Any]] = {
    "dataset": "synthetic",
    "data": {"size": 64},
    "runs": Path("runs/quick"),
    "output": Path("runs/quick"),
    "overrides": CONFIGS / "quick",
    "limit": 16,
}
"""What ``quick`` fills in where nothing else is said."""
_USUAL: Final[dict[str, Any]] = {
    "data": {},
    "runs": Path("runs"),
    "output": Path("runs/reproduction"),
    "overrides": None,
    "limit": None,
}


@dataclass(frozen=True)
class Request:
    """A table to be made.

    Attributes:
        table: Its name, a key of `agents.reproduction.rows.TABLES`.
        root: Where the pictures lie.
        dataset: lfw, bioid or synthetic, as far as the paper's table has them; by default the paper's.
        data: More options of the data set, by name.
        scales: 4, 8 or both (default).
        protocols: aligned, torch7 or both (default).
        rows: Only these; by default all of the table.
        records: Files of records, folders of such files and patterns (results/lfw-*.json) whose rows count as
            made.
        output: The folder for new records, tables and pictures; by default runs/reproduction.
        runs: The folder of the run folders; by default runs.
        overrides: A folder of configurations that change the runs: agent.yaml is given after what all agents
            share, such as agent-lfw-x8-torch7.yaml after it for those of one scale and protocol, METHOD.yaml
            after a row's own, and such as METHOD-lfw-x8-torch7.yaml for one run alone.
        train: Train and measure what is missing; false: only show what is there, which needs no data.
        split: train, val or test.
        limit: Measure only the first faces of the split.
        batch_size: Faces side by side when measuring.
        quick: Everything in tiny size on drawn faces, to see that it works; the numbers mean nothing.
        device: Where to compute; auto takes an accelerator if there is one.
        progress_bar: Show one.
    """

    table: str
    root: str | None = None
    dataset: str | None = None
    data: dict[str, Any] | None = None
    scales: tuple[int, ...] = SCALES
    protocols: tuple[ProtocolName, ...] = PROTOCOLS
    rows: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    output: Path | None = None
    runs: Path | None = None
    overrides: Path | None = None
    train: bool = True
    split: str = "test"
    limit: int | None = None
    batch_size: int = 64
    quick: bool = False
    device: str = "auto"
    progress_bar: bool = True

    def __post_init__(self) -> None:
        """Refuse what no table has, before anything is looked for."""
        table = TABLES[self.table]
        table.named(self.rows)
        for name, values, known in (
            ("scales", self.scales, SCALES),
            ("protocols", self.protocols, PROTOCOLS),
        ):
            if not values or not set(values) <= set(known):
                raise ValueError(
                    f"{name} is {' '.join(map(str, values)) or 'empty'}, but the tables have "
                    f"{' and '.join(map(str, known))}"
                )
        if self.quick and (self.dataset not in (None, "synthetic") or self.root is not None):
            raise ValueError("quick draws its own faces: leave dataset and root out")
        if self.faces.name not in table.datasets:
            raise ValueError(
                f"dataset is {self.faces.name!r}, but {self.table} can be made of {', '.join(table.datasets)}"
            )
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit is {self.limit}, but at least one face has to be measured")
        if self.overrides is not None and not self.overrides.is_dir():
            raise FileNotFoundError(f"overrides is {self.overrides}, but there is no such folder")

    def value(self, name: str) -> Any:
        """What was said, or else what is usual."""
        said = getattr(self, name)
        return (QUICK if self.quick else _USUAL)[name] if said is None else said

    @property
    def faces(self) -> Faces:
        """Which faces."""
        named = self.dataset or ("synthetic" if self.quick else TABLES[self.table].datasets[0])
        return Faces(named, self.root, self.value("data"), self.split)

    @property
    def named_rows(self) -> tuple[Row, ...]:
        """Which rows, in the table's order."""
        return TABLES[self.table].named(self.rows)

    @property
    def folder(self) -> Path:
        """Where to write."""
        return Path(self.value("output"))

    @property
    def new_records(self) -> Path:
        """The file for what is measured; one for all tables, which share runs, and for as many faces."""
        return self.folder / ("records.json" if self.limit is None else f"records-first-{self.limit}.json")

    @property
    def maker(self) -> Maker:
        """Who trains and measures."""
        recipe = Recipe(
            self.faces, self.value("runs"), self.value("overrides"), self.device, self.progress_bar
        )
        return Maker(recipe, self.new_records, self.value("limit"), self.batch_size)

    def cells(self) -> list[Cell]:
        """Every number of the table, in its order."""
        return [
            Cell(row, self.faces.name, scale, protocol, seed)
            for scale in sorted(set(self.scales))
            for protocol in PROTOCOLS
            if protocol in self.protocols
            for row in self.named_rows
            for seed in row.seeds
        ]

    def command(self, cells: list[Cell]) -> str:
        """The command line that makes these numbers of one row."""
        words = ["python", "evaluate.py", self.table]
        if self.quick:
            words += ["--quick"]
        else:
            words += ["--dataset", self.faces.name]
            if self.faces.name != "synthetic":
                words += ["--root", self.root or f"data/{self.faces.name}"]
        words += ["--rows", cells[0].row.name]
        words += ["--scales", *(str(scale) for scale in sorted({cell.scale for cell in cells}))]
        words += ["--protocols", *sorted({cell.protocol for cell in cells})]
        return shlex.join([*words, *self._elsewhere()])

    def _elsewhere(self) -> list[str]:
        """The words that change where and how rows are made, as far as they were said."""
        words = ["--data", json.dumps(self.data)] if self.data is not None else []
        words += ["--records", *self.records] if self.records else []
        for name in ("runs", "output", "overrides", "limit"):
            if (said := getattr(self, name)) is not None:
                words += [f"--{name}", str(said)]
        return [*words, "--split", self.split] if self.split != "test" else words
