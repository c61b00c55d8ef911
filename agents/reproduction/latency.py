"""Table 4: how long every method takes for one 128x128 face, all on one device."""

from __future__ import annotations

import gc
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tqdm.auto import tqdm

from agents.baselines import Degradation
from agents.baselines.latency import PRECISIONS, measure_latency, untrained
from agents.evaluation import device_in_words
from agents.paper import SECONDS
from agents.records import RecordError, Table, provenance
from agents.records.files import write_atomically
from agents.records.tables import LABELS, NOTHING
from agents.reproduction.cells import SCALES
from facehall_env.task import choose_device

METHODS: Final = (
    "bicubic",
    "sfh",
    "bccnn",
    "mzq",
    "srcnn",
    "vdsr",
    "gln",
    "cnn16",
    "edsr",
    "spatial_transformer",
    "raster_scan",
    "attention_fh",
)
_SETTINGS: Final = ("device", "preset", "calls", "batch")
"""What all rows of one table share."""
_KEY: Final = ("method", "scale", *_SETTINGS)
_QUICK: Final[dict[str, Any]] = {
    "output": Path("runs/quick"),
    "preset": "tiny",
    "calls": 5,
    "batch": 2,
    "batches": 1,
}
_USUAL: Final[dict[str, Any]] = {
    "output": Path("runs/reproduction"),
    "preset": "full",
    "calls": 50,
    "batch": 64,
    "batches": 5,
}
_SMALL: Final[dict[str, dict[str, Any]]] = {
    "sfh": {"exemplars": 16, "nearest": 4, "starts": 2, "stages": 2, "iterations": 10},
    "spatial_transformer": {"preset": "tiny"},
}
"""What ``quick`` makes smaller."""


@dataclass(frozen=True)
class LatencyRequest:
    """The table of times to be made.

    Attributes:
        scales: 8 (default), 4 or both.
        rows: Only these methods; by default all.
        records: Files of times that were measured before, or folders of such files, whose rows count as made.
        output: The folder for new times and the table; by default runs/reproduction.
        train: Measure what is missing; false: only show what is there.
        preset: Of the agents' enhancer; by default full.
        calls: Counted calls on one face, at least 3; by default 50.
        batch: Faces in a batch; by default 64.
        batches: Counted batches; by default 5.
        most_seconds: For the calls of one kind of a method: slow ones are called less often.
        quick: Few calls of small networks, to see that it works; the numbers mean nothing.
        device: Where to compute; auto takes an accelerator if there is one.
        progress_bar: Show one.
    """

    scales: tuple[int, ...] = (8,)
    rows: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    output: Path | None = None
    train: bool = True
    preset: str | None = None
    calls: int | None = None
    batch: int | None = None
    batches: int | None = None
    most_seconds: float = 120.0
    quick: bool = False
    device: str = "auto"
    progress_bar: bool = True

    def options(self) -> list[str]:
        """What a command needs beside rows, scales and settings to make more of this table."""
        words = ["--quick"] if self.quick else []
        words += ["--output", str(self.output)] if self.output is not None else []
        return words + (["--records", *map(str, self.records)] if self.records else [])

    def __post_init__(self) -> None:
        """Refuse what cannot be timed."""
        if strangers := [name for name in self.rows if name not in METHODS]:
            raise ValueError(
                f"there is no row {strangers[0]!r} in this table; its rows are {', '.join(METHODS)}"
            )
        if not self.scales or not set(self.scales) <= set(SCALES):
            raise ValueError(
                f"scales is {' '.join(map(str, self.scales)) or 'empty'}, but the tables have 4 and 8"
            )
        for name, least in (("calls", 3), ("batch", 1), ("batches", 1)):
            if self.value(name) < least:
                raise ValueError(f"{name} is {self.value(name)}, but it must be at least {least}")

    def value(self, name: str) -> Any:
        """What was said, or else what is usual."""
        said = getattr(self, name)
        return (_QUICK if self.quick else _USUAL)[name] if said is None else said

    @property
    def folder(self) -> Path:
        """Where to write."""
        return Path(self.value("output"))

    @property
    def new_records(self) -> Path:
        """The file for what is measured."""
        return self.folder / "latency" / "latency.json"

    def wanted(self) -> list[tuple[str, int]]:
        """Methods and scales, in the table's order."""
        names = [name for name in METHODS if not self.rows or name in self.rows]
        return [(name, scale) for scale in sorted(set(self.scales)) for name in names]


def make_latency_table(request: LatencyRequest) -> str:
    """Time what was not timed on this device, row by row, and write ``table4.md`` and ``table4.tex``.

    Returns:
        The page.

    Raises:
        FileNotFoundError, RecordError: If records are not there or are none.
    """
    device = choose_device(request.device)
    known = [*read_latencies(request.records), *read_latencies([request.new_records], must_exist=False)]
    said = {name: request.value(name) for name in ("preset", "calls", "batch")}
    said["device"] = device_in_words(device)
    missing = [
        (name, scale)
        for name, scale in request.wanted()
        if not any(_key(record) == _key({"method": name, "scale": scale, **said}) for record in known)
    ]
    bar = tqdm(
        missing if request.train else [],
        desc="table4",
        unit="row",
        disable=not request.progress_bar,
        dynamic_ncols=True,
    )
    for name, scale in bar:
        bar.set_postfix_str(f"{name} x{scale}")
        preset, smaller = said["preset"], _SMALL.get(name, {}) if request.quick else {}
        method = untrained(name, Degradation(scale=scale), preset, smaller).to(device)
        values = measure_latency(
            method,
            calls=said["calls"],
            batch=said["batch"],
            batches=request.value("batches"),
            most_seconds=request.most_seconds,
        )
        known.append({"method": name, "scale": scale, **said, **values, **provenance()})
        own = [*read_latencies([request.new_records], must_exist=False), known[-1]]
        write_atomically(request.new_records, json.dumps(own, indent=2) + "\n")
        del method
        gc.collect()  # the matrices of one method need not lie beside the next one's
    if not request.train:  # what is there was perhaps made elsewhere and otherwise
        said = {name: getattr(request, name) for name in ("preset", "calls", "batch")}
        said = {name: value for name, value in said.items() if value is not None}
    page, tabular = latency_page(known, request.wanted(), said, request.options())
    write_atomically(request.folder / "table4.md", page)
    write_atomically(request.folder / "table4.tex", tabular)
    return page


def read_latencies(places: Iterable[str | Path], *, must_exist: bool = True) -> list[dict[str, Any]]:
    """The times of these files, or of all files in these folders that hold times.

    Raises:
        FileNotFoundError: If there are none at a place.
        RecordError: If a file that is named holds something else, or one that holds times is broken.
    """
    records: list[dict[str, Any]] = []
    for place in map(Path, places):
        there = len(records)
        for file in sorted(place.glob("*.json")) if place.is_dir() else [place]:
            if not file.is_file():
                continue
            try:
                read = json.loads(file.read_text(encoding="utf-8"))
                if place.is_dir() and not _holds_times(read):
                    continue  # folders of results hold other records too
                for record in read:
                    _key(record), record["parameters"], [record[name]["ms_a_face"] for name in PRECISIONS]
            except (ValueError, TypeError, KeyError) as error:
                raise RecordError(f"{file} holds no times of methods: {error!r}") from error
            records += read
        if must_exist and len(records) == there:
            raise FileNotFoundError(f"there are no times at {place}; evaluate.py table4 writes them")
    return records


def _holds_times(read: Any) -> bool:
    """Whether a file's content looks like times, whole or broken."""
    return isinstance(read, list) and any(isinstance(one, dict) and PRECISIONS[0] in one for one in read)


def latency_page(
    records: Sequence[Mapping[str, Any]],
    wanted: Sequence[tuple[str, int]],
    settings: Mapping[str, Any] | None = None,
    options: Sequence[str] = (),
) -> tuple[str, str]:
    """The table in Markdown, with what it lacks, and in LaTeX.

    Rows of one table are of one device, and of one preset and as many calls and faces in a batch.

    Args:
        records: Times.
        wanted: Methods and scales.
        settings: Of device, preset, calls and batch what is to be shown; of the others that of most records.
        options: More of the command that makes what is missing.
    """
    settings = dict(settings or {})
    records = [r for r in records if all(r[name] == value for name, value in settings.items())]
    several = [tuple(record[name] for name in _SETTINGS) for record in records]
    most = max(several, key=several.count, default=("no device", None, None, None))
    settings = dict(zip(_SETTINGS, most, strict=True)) | settings
    newest = {
        (record["method"], record["scale"]): record
        for record in records
        if all(record[name] == value for name, value in settings.items())
    }
    device = settings["device"]
    rows = [_cells(name, scale, newest.get((name, scale))) for name, scale in wanted]
    table = Table([name for name, _ in _HEADINGS], [numeric for _, numeric in _HEADINGS], rows)
    title = "Table 4: the time for one face of 128x128 pixels"
    note = "Nothing was timed yet.\n"
    if newest:
        commits = {str(record["commit"])[:12] for record in newest.values()}
        note = (
            f"On {device}, batches of {settings['batch']}, enhancers of the preset {settings['preset']}, "
            f"commit {', '.join(sorted(commits))}. Times are medians with quartiles, of "
            f"{_calls(newest.values())} calls after warm-up; the paper's are of a Titan X, so the difference "
            "is one of devices too.\n"
        )
    lacking = [(name, scale) for name, scale in wanted if (name, scale) not in newest]
    if lacking:
        words = ["python", "evaluate.py", "table4", "--scales", *sorted({str(scale) for _, scale in lacking})]
        words += ["--rows", *dict.fromkeys(name for name, _ in lacking)]
        for name in ("preset", "calls", "batch"):
            if settings[name] not in (None, _USUAL[name]):
                words += [f"--{name}", str(settings[name])]
        words += options
        note += f"\nMissing, and what makes it: `{shlex.join(words)}`\n"
    return f"# {title}\n\n{table.markdown()}\n\n{note}", f"% {title}, {device}\n{table.latex()}\n"


_HEADINGS: Final = (
    ("scale", False),
    ("method", False),
    ("weights (M)", True),
    ("GMAC", True),
    ("ms, float32", True),
    ("faces/s, float32", True),
    ("ms, bfloat16", True),
    ("faces/s, bfloat16", True),
    ("paper, ms", True),
    ("ours - paper, ms", True),
)


def _cells(name: str, scale: int, record: Mapping[str, Any] | None) -> list[str]:
    paper = SECONDS.get(name)
    printed = NOTHING if paper is None else f"{1e3 * paper:.0f}"
    head = [f"x{scale}", LABELS[name]]
    if record is None:
        return [*head, "missing", *([NOTHING] * 5), printed, NOTHING]
    cells = [*head, f"{record['parameters'] / 1e6:.3f}", f"{record['giga_multiply_adds']:.3f}"]
    for precision in PRECISIONS:
        times = record[precision]
        low, high = times["ms_quartiles"]
        cells.append(f"{times['ms_a_face']:.1f} [{low:.1f}, {high:.1f}]")
        cells.append(f"{times['faces_a_second_in_batches']:.1f}")
    gap = NOTHING if paper is None else f"{record['float32']['ms_a_face'] - 1e3 * paper:+.1f}"
    return [*cells, printed, gap]


def _key(record: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(record[name] for name in _KEY)


def _calls(records: Iterable[Mapping[str, Any]]) -> str:
    """How many calls the medians are of: slow methods are called less often, see ``most_seconds``."""
    counts = {record[precision]["calls"] for record in records for precision in PRECISIONS}
    fewest, most = min(counts), max(counts)
    return str(most) if fewest == most else f"{fewest} (slow methods) to {most}"
