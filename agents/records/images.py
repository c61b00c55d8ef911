"""The measurements of every single image, in a CSV file beside the records."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.records.files import write_atomically
from agents.records.record import Record, RecordError

COLUMNS = ("index", "id", "psnr", "psnr_y", "ssim", "fsim")


def images_path(records_path: str | Path, record: Record) -> Path:
    """The file with the images of a record: named after its key, in a folder named after the records' file.

    For instance results/lfw-x8/lfw-deepfunneled.test.x8.aligned.attention_fh.argmax.default.float32.seed0.csv
    beside results/lfw-x8.json.
    """
    records_path = Path(records_path)
    parts = [record.dataset, record.split, f"x{record.scale}", record.protocol, record.method]
    parts += [record.mode or "-", record.preset, record.precision, f"seed{record.seed}", "csv"]
    return records_path.with_suffix("") / ".".join(parts)


def save_images(path: str | Path, columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> None:
    """Write one line an image.

    Args:
        path: The CSV file, see `images_path`.
        columns: `COLUMNS` and any others, all of one length: `index` whole numbers, `id` printable texts, the
            rest numbers, of which six decimals are kept. Infinity is written as inf (the PSNR of a perfect
            picture).

    Raises:
        RecordError: If a column is missing, of another length, or holds what is not a number, before anything
            is written.
    """
    if missing := [name for name in COLUMNS if name not in columns]:
        raise RecordError(f"{path} needs the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}")
    n = len(columns["id"])
    extra = [name for name in columns if name not in COLUMNS]
    texts: list[list[str]] = []
    for name in (*COLUMNS, *extra):
        if len(columns[name]) != n:
            raise RecordError(f"{path}: the column {name} has {len(columns[name])} values for {n} images")
        texts.append([_text(path, name, row, value) for row, value in enumerate(columns[name])])
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*COLUMNS, *extra])
    writer.writerows(zip(*texts, strict=True))
    write_atomically(path, out.getvalue())


def load_images(path: str | Path) -> dict[str, NDArray[Any]]:
    """The columns of a CSV file that `save_images` wrote: `index` int64, `id` of texts, the others float64.

    Raises:
        FileNotFoundError: If there is no such file.
        RecordError: If a column is missing, a line is too short or too long, or a value is not a number; the
            sentence names it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No measurements at {path}; evaluate.py writes them")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        rows = list(reader)
    if missing := [name for name in COLUMNS if name not in header]:
        raise RecordError(f"{path} has no column {', '.join(missing)}")
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise RecordError(f"{path}, line {line}: {len(row)} values under {len(header)} column names")
    columns: dict[str, NDArray[Any]] = {}
    for place, name in enumerate(header):
        cells = [row[place] for row in rows]
        if name == "id":
            columns[name] = np.array(cells, dtype=np.str_)
            continue
        try:
            columns[name] = np.array(cells, dtype=np.int64 if name == "index" else np.float64)
        except ValueError as error:
            raise RecordError(f"{path}, column {name}: {error}") from None
    return columns


def averages(columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> dict[str, Any]:
    """The fields of a record that are means over the images, and n.

    Args:
        columns: As for `save_images`; of the extra ones `coverage` and `distinct_places` count.

    Returns:
        psnr, psnr_y, ssim, fsim, n, and coverage and distinct_places if they are there, for
        `Record(**averages(...), ...)`.
    """
    names = [*COLUMNS[2:], *(name for name in ("coverage", "distinct_places") if name in columns)]
    return {name: float(np.mean(columns[name])) for name in names} | {"n": len(columns["id"])}


def _text(path: str | Path, name: str, row: int, value: Any) -> str:
    if name == "id":
        if not isinstance(value, str) or not value.isprintable():
            raise RecordError(f"{path}: the id of image {row} is {value!r}, not a printable text")
        return str(value)
    if name == "index":
        return str(int(value))
    if math.isnan(value):
        raise RecordError(f"{path}: {name} of image {row} is not a number")
    return f"{float(value):.6f}"
