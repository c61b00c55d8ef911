"""How far found points lie from the true ones: records, and the table that the documentation shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from agents.landmarks.points import Points, relative_errors
from agents.landmarks.sources import Annotated
from agents.records import provenance
from agents.records.blocks import render_blocks
from agents.records.files import write_atomically

FAILURE: Final = 0.1
"""A face counts as failed if its mean error is more than this share of the eyes' distance."""
KEY: Final = ("dataset", "truth", "points", "scale", "protocol", "method", "trained_on")


def blank_record(method: str, faces: Annotated, **words: Any) -> dict[str, Any]:
    """The record of `error_record` without what is to be measured."""
    return {
        "method": method,
        "dataset": faces.dataset,
        "truth": faces.truth,
        "points": faces.points.shape[1],
        **words,
        "n": len(faces.points),
    }


def error_record(method: str, found: Points, faces: Annotated, **words: Any) -> dict[str, Any]:
    """What one method's points are worth, as a share of the distance of the eyes.

    Args:
        method: ``mean_shape``, ``sdm`` or ``dlib``.
        found: Its points, (N, K, 2).
        faces: The test faces.
        **words: More of the record, at least ``scale``, ``protocol`` and ``trained_on``.

    Returns:
        JSON-able: ``error`` is the mean over the faces, ``median`` the median; with 68 points ``inner`` is
        the mean without those of the jaw; ``failures`` is the share of faces beyond `FAILURE`.
    """
    errors = relative_errors(found, faces.points)
    record = blank_record(method, faces, **words) | {
        "error": float(errors.mean()),
        "median": float(np.median(errors)),
        "failures": float((errors > FAILURE).mean()),
    }
    if found.shape[1] == 68:
        distances = np.linalg.norm(found - faces.points, axis=-1)
        record["inner"] = float((distances[:, 17:].mean(1) * errors / distances.mean(1).clip(1e-9)).mean())
    return record | provenance()


def check_replaceable(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Refuse records that could not be put into a file, or would replace those of more faces.

    Args:
        path: The file; it need not be there.
        records: Of `blank_record` or `error_record`.

    Raises:
        ValueError: If the file holds something else, or more faces; the message names the way out.
    """
    old = {_key(record): record["n"] for record in read_landmark_records(path)} if path.exists() else {}
    for record in records:
        if (more := old.get(_key(record), 0)) > record["n"]:
            raise ValueError(
                f"{path} has a record of {record['method']} on {more:,} faces, which one on {record['n']:,} "
                "would replace: name another file by --records, or measure as many"
            )


def update_landmark_records(path: Path, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Put records into a file; one with the key (`KEY`) of an old one replaces it.

    Raises:
        ValueError: As `check_replaceable`.
    """
    check_replaceable(path, records)
    old = read_landmark_records(path) if path.exists() else []
    kept = {_key(record): dict(record) for record in (*old, *records)}
    ordered = [kept[key] for key in sorted(kept)]
    write_atomically(path, json.dumps(ordered, indent=2) + "\n")
    return ordered


def read_landmark_records(path: Path) -> list[dict[str, Any]]:
    """The records of a file.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it holds something else.
    """
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        for record in records:
            _key(record), record["error"], record["n"]
    except (json.JSONDecodeError, TypeError, KeyError) as error:
        raise ValueError(f"{path} holds no records of landmarks: {error!r}") from error
    return list(records)


def landmark_table(records: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table."""
    lines = [
        "| faces | truth | picture | method | trained on | error | without jaw | median | beyond 10 % | n |",
        "| --- | --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for record in records:
        picture = f"I_0, x{record['scale']}, {record['protocol']}" if record["scale"] > 1 else "original"
        inner = f"{record['inner']:.1%}" if "inner" in record else "-"
        lines.append(
            f"| {record['dataset']} | {record['truth']} ({record['points']} points) | {picture} "
            f"| {record['method'].replace('_', ' ')} | {record['trained_on']} | {record['error']:.1%} "
            f"| {inner} | {record['median']:.1%} | {record['failures']:.1%} | {record['n']} |"
        )
    return "\n".join(lines)


def render_page(page: Path, root: Path = Path(), *, check: bool = False) -> bool:
    """Render the marked table of a page anew, from the records that its mark names.

    Args:
        page: A Markdown file with ``<!-- landmarks: FILE.json -->`` and ``<!-- /landmarks -->``.
        root: Where the name starts.
        check: Change nothing.

    Returns:
        Whether the page was up to date.

    Raises:
        ValueError: If there is no such mark.
    """
    return render_blocks(
        page, "landmarks", lambda name: landmark_table(read_landmark_records(root / name)), check=check
    )


def _key(record: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(record[name]) for name in KEY)
