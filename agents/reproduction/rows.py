"""What stands in which table: the rows of the paper and those that it leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from agents.ablations import VARIANTS
from agents.records.tables import LABELS

Kind = Literal["input", "method", "agent"]


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        method: Its name in records.
        mode: How a policy chooses, ``"argmax"`` or ``"sampled"``; None where there is no policy.
        seeds: Of its runs; the row is the mean over them.
        label: What the table calls it; empty: as every other table does.
        also: Other names in records of the very same thing.
    """

    method: str
    mode: str | None = None
    seeds: tuple[int, ...] = (0,)
    label: str = ""
    also: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """By which the row is asked for."""
        return self.method + "_sampled" * (self.mode == "sampled")

    @property
    def kind(self) -> Kind:
        """Who makes it: nobody, ``python -m agents.baselines`` or ``train_agent.py``."""
        if self.method == "bicubic":
            return "input"
        return "agent" if self.method in VARIANTS else "method"

    @property
    def heading(self) -> str:
        """What the table calls it."""
        notes = [self.mode] if self.mode == "sampled" else []
        notes += [f"{len(self.seeds)} seeds"] if len(self.seeds) > 1 else []
        return (self.label or LABELS[self.method]) + (f" ({', '.join(notes)})" if notes else "")


@dataclass(frozen=True)
class TableRows:
    """One table of the paper.

    Attributes:
        title: What it shows.
        rows: From top to bottom.
        datasets: Which faces it can be made of; the first one is the paper's.
        reference: The row that all others are compared with, on the same images.
    """

    title: str
    rows: tuple[Row, ...]
    datasets: tuple[str, ...]
    reference: str

    def row(self, name: str) -> Row:
        """The row of that name.

        Raises:
            ValueError: If there is none.
        """
        for row in self.rows:
            if row.name == name:
                return row
        raise ValueError(
            f"there is no row {name!r} in this table; its rows are {', '.join(row.name for row in self.rows)}"
        )

    def named(self, names: Sequence[str]) -> tuple[Row, ...]:
        """These rows in the table's order; all if no name is given.

        Raises:
            ValueError: If there is none of that name.
        """
        wanted = {self.row(name).name for name in names}
        return tuple(row for row in self.rows if not names or row.name in wanted)


_ATTENTION: Final = Row("attention_fh", "argmax", also=("attention_fh_t25",))
# One run serves all tables
_STEPS: Final = Row("attention_fh", "argmax", label="Attention-FH, T = 25", also=("attention_fh_t25",))
_SYSTEMS: Final = (
    *(Row(method) for method in ("bicubic", "sfh", "bccnn", "mzq", "srcnn", "vdsr", "gln")),
    _ATTENTION,
)

TABLES: Final[Mapping[str, TableRows]] = {
    "table1": TableRows(
        "Table 1: the systems that the paper compares",
        # Below the paper's rows what a plain residual network at low resolution makes of the same faces
        (*_SYSTEMS, Row("attention_fh", "sampled", also=("attention_fh_t25",)), Row("edsr", label="EDSR")),
        ("lfw", "bioid", "synthetic"),
        "attention_fh",
    ),
    "table2": TableRows(
        "Table 2: the number of steps, T",
        (
            Row("bicubic"),
            Row("attention_fh_t5", "argmax"),
            Row("attention_fh_t15", "argmax"),
            _STEPS,
            Row("attention_fh_t35", "argmax"),
        ),
        ("lfw", "synthetic"),
        "attention_fh",
    ),
    "table3": TableRows(
        "Table 3: what each part is worth, and below the paper's rows some more",
        (
            Row("bicubic"),
            Row("cnn16"),
            Row("whole_image", label="Whole image (w/o attention)"),
            Row("random_patch", seeds=(0, 1, 2)),
            Row("initial_input", "argmax"),
            Row("spatial_transformer"),
            _ATTENTION,
            Row("raster_scan"),
            Row("greedy_oracle"),
            Row("patch_30x22", "argmax"),
            Row("patch_90x67", "argmax"),
            Row("no_global_branch", "argmax"),
        ),
        ("lfw", "synthetic"),
        "attention_fh",
    ),
    "figure3": TableRows(
        "Figure 3: the systems on some faces", _SYSTEMS, ("lfw", "bioid", "synthetic"), "attention_fh"
    ),
    "figure5": TableRows(
        "Figure 5: where the policy looks, and what becomes of the picture",
        (_ATTENTION,),
        ("lfw", "bioid", "synthetic"),
        "attention_fh",
    ),
}
"""The tables of measured quality and the figures, all of the same runs.

Table 4 is about time: `agents.reproduction.latency`.
"""
