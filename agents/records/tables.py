"""Tables in Markdown and LaTeX, rendered from records."""

import math
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np

from agents.paper import paper_row
from agents.records.record import Record, RecordError

LABELS = {
    "bicubic": "Bicubic",
    "sfh": "SFH",
    "bccnn": "BCCNN",
    "mzq": "MZQ",
    "srcnn": "SRCNN",
    "vdsr": "VDSR",
    "gln": "GLN",
    "edsr": "EDSR (the prior alone)",
    "attention_fh": "Attention-FH",
    "attention_fh_t5": "Attention-FH, T = 5",
    "attention_fh_t15": "Attention-FH, T = 15",
    "attention_fh_t25": "Attention-FH, T = 25",
    "attention_fh_t35": "Attention-FH, T = 35",
    "cnn16": "CNN-16",
    "whole_image": "Whole image",
    "random_patch": "Random patch",
    "initial_input": "I_0 as input",
    "spatial_transformer": "Spatial transformer",
    "patch_30x22": "Patch of 30x22",
    "patch_90x67": "Patch of 90x67",
    "no_global_branch": "Without the global branch",
    "raster_scan": "Raster scan",
    "planned_scan": "Planned scan",
    "greedy_oracle": "Greedy oracle (sees HR)",
}
_DATASETS = {"lfw-deepfunneled": "LFW (deep-funneled)", "lfw-funneled": "LFW (funneled)", "bioid": "BioID"}
NOTHING = "-"


class Row(NamedTuple):
    """One line of a table: records that differ only in the seed, and the bicubic ones that they rival."""

    records: tuple[Record, ...]
    bicubic: tuple[Record, ...]
    label: str

    def mean(self, name: str) -> float | None:
        """Mean over the seeds of a field; None if a record has none."""
        return _mean(self.records, name)


class Column(NamedTuple):
    """One column: its heading, whether it holds numbers (set flush right), and the text of a row's cell."""

    heading: str
    numeric: bool
    cell: Callable[[Row], str]


def _mean(records: Sequence[Record], name: str) -> float | None:
    values = [getattr(record, name) for record in records]
    return None if None in values or not values else float(np.mean(values))


def _number(name: str, decimals: int) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        value = row.mean(name)
        return NOTHING if value is None else f"{value:.{decimals}f}"

    return cell


def _psnr(row: Row) -> str:
    text = f"{row.mean('psnr'):.2f}"
    if len(row.records) > 1:
        text += f" ± {np.std([record.psnr for record in row.records], ddof=1):.2f}"
    return text


def _gain(row: Row) -> str:
    ours, theirs = row.mean("psnr"), _mean(row.bicubic, "psnr")
    return NOTHING if ours is None or theirs is None else f"{ours - theirs:+.2f}"


def _seconds(row: Row) -> str:
    """Two significant digits, without an exponent: 0.081, 1.2, 140."""
    value = row.mean("seconds_per_image")
    if not value:
        return "0"
    return f"{value:.{max(0, 1 - math.floor(math.log10(value)))}f}"


def _paper(row: Row) -> str:
    """The paper's PSNR and, in brackets, its gain over the paper's own bicubic row."""
    record = row.records[0]
    theirs = paper_row(record.method, record.dataset, record.scale)
    bicubic = paper_row("bicubic", record.dataset, record.scale)
    return (
        NOTHING
        if theirs is None or bicubic is None
        else f"{theirs.psnr:.2f} ({theirs.psnr - bicubic.psnr:+.2f})"
    )


def _each(name: str, show: Callable[[object], str] = str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        values = [getattr(record, name) for record in row.records]
        return "; ".join(dict.fromkeys(NOTHING if value is None else show(value) for value in values))

    return cell


COLUMNS = {
    "dataset": Column(
        "data set", False, _each("dataset", lambda value: _DATASETS.get(str(value), str(value)))
    ),
    "split": Column("split", False, _each("split")),
    "scale": Column("scale", False, _each("scale", lambda value: f"x{value}")),
    "protocol": Column("protocol", False, _each("protocol")),
    "method": Column("method", False, lambda row: row.label),
    "psnr": Column("PSNR", True, _psnr),
    "gain": Column("gain", True, _gain),
    "psnr_y": Column("PSNR-Y", True, _number("psnr_y", 2)),
    "ssim": Column("SSIM", True, _number("ssim", 4)),
    "fsim": Column("FSIM", True, _number("fsim", 4)),
    "coverage": Column("coverage", True, _number("coverage", 2)),
    "distinct_places": Column("places", True, _number("distinct_places", 1)),
    "n": Column("n", True, _each("n", lambda value: f"{value:,}")),
    "seconds": Column("s/face", True, _seconds),
    "device": Column("device", False, _each("device")),
    "preset": Column("preset", False, _each("preset")),
    "precision": Column("precision", False, _each("precision")),
    "seeds": Column("seeds", True, _each("seed")),
    "budget": Column("training", False, _each("budget")),
    "commit": Column("commit", False, _each("commit", lambda value: str(value)[:12])),
    "date": Column("date", False, _each("date", lambda value: str(value)[:10])),
    "paper": Column("paper", True, _paper),
}
"""Every column that a table can have, by the name under which it is asked for."""

DEFAULT_COLUMNS = ("method", "psnr", "gain", "psnr_y", "ssim", "fsim", "n", "seconds", "budget")
FILTERS = ("dataset", "split", "scale", "protocol", "method", "mode", "preset", "precision", "seed", "device")


class Table(NamedTuple):
    """Headings and cells as plain text, not yet escaped for any format."""

    headings: list[str]
    numeric: list[bool]
    rows: list[list[str]]

    def markdown(self) -> str:
        """A table of GitHub-flavoured Markdown, without a newline at its end."""
        rule = ["---:" if numeric else "---" for numeric in self.numeric]
        lines = [self.headings, rule, *self.rows]
        return "\n".join(f"| {' | '.join(map(_escape_markdown, line))} |" for line in lines)

    def latex(self) -> str:
        """A tabular for the package booktabs, without a newline at its end."""
        head, *body = [" & ".join(map(_escape_latex, line)) + r" \\" for line in (self.headings, *self.rows)]
        columns = "".join("r" if numeric else "l" for numeric in self.numeric)
        lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body]
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def make_table(
    records: Iterable[Record],
    *,
    columns: Sequence[str] | None = None,
    paper: bool = False,
    **filters: str | Sequence[str],
) -> Table:
    """A table of those records that pass every filter, one row for all seeds of one thing.

    Over several seeds PSNR is shown as mean ± sample standard deviation, everything else as the mean. The
    gain is in dB over the bicubic record of the same data set, split, scale, protocol and number of images,
    "-" where there is none; that record need not pass the filters. Data set, split, scale and protocol get a
    column where the rows differ in them; so do a method's rows get their preset and precision in brackets.

    Args:
        records: From one file or several.
        columns: Names from `COLUMNS`; by default `DEFAULT_COLUMNS`.
        paper: Whether to add the column "paper", what Cao et al. print (see `agents.paper`).
        filters: By field of `FILTERS` a pattern or several, of which one has to match ("attention_fh*").

    Raises:
        RecordError: If a column or filter is unknown, or nothing passes the filters.
    """
    if unknown := sorted(filters.keys() - set(FILTERS)):
        raise RecordError(f"no filter {', '.join(unknown)}; there are {', '.join(FILTERS)}")
    names = list(columns or DEFAULT_COLUMNS) + ["paper"] * (paper and "paper" not in (columns or ()))
    if unknown := [name for name in names if name not in COLUMNS]:
        raise RecordError(f"no column {', '.join(unknown)}; there are {', '.join(COLUMNS)}")
    everything = sorted(records, key=lambda record: record.order)
    chosen = [record for record in everything if all(_passes(record, *item) for item in filters.items())]
    if not chosen:
        said = " ".join(f"{name}={_joined(value)}" for name, value in filters.items()) or "at all"
        raise RecordError(f"no record {said}")
    varying = [name for name in ("dataset", "split", "scale", "protocol") if _differ(chosen, name)]
    names = [name for name in varying if name not in names] + names
    groups: dict[tuple[object, ...], list[Record]] = {}
    for record in chosen:
        groups.setdefault(record.key[:-1], []).append(record)
    rows = [
        Row(tuple(group), _bicubic(group[0], everything), _label(group[0], chosen))
        for group in groups.values()
    ]
    shown = [COLUMNS[name] for name in names]
    return Table(
        [column.heading for column in shown],
        [column.numeric for column in shown],
        [[column.cell(row) for column in shown] for row in rows],
    )


def _joined(patterns: str | Sequence[str]) -> str:
    return patterns if isinstance(patterns, str) else ",".join(patterns)


def _passes(record: Record, name: str, patterns: str | Sequence[str]) -> bool:
    value = str(getattr(record, name))
    return any(
        fnmatchcase(value, pattern) for pattern in ([patterns] if isinstance(patterns, str) else patterns)
    )


def _differ(records: Sequence[Record], name: str) -> bool:
    return len({getattr(record, name) for record in records}) > 1


def _bicubic(record: Record, records: Sequence[Record]) -> tuple[Record, ...]:
    """Its rivals: over other images, or fewer, a difference would not be a gain."""
    return tuple(
        other
        for other in records
        if other.method == "bicubic" and other.key[:4] == record.key[:4] and other.n == record.n
    )


def _label(record: Record, chosen: Sequence[Record]) -> str:
    """The method's name with, in brackets, what tells its rows apart."""
    same = [other for other in chosen if other.method == record.method]
    notes = [record.mode] if record.mode else []
    notes += [getattr(record, name) for name in ("preset", "precision") if _differ(same, name)]
    label = LABELS.get(record.method, record.method)
    return f"{label} ({', '.join(notes)})" if notes else label


def _escape_markdown(text: str) -> str:
    for character in "\\|*_<`":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())


_LATEX = {character: "\\" + character for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
}


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))
