"""A table of paired differences inside a Markdown page, from a list of what is compared with what."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from agents.records.blocks import render_blocks
from agents.records.comparison import paired_difference
from agents.records.record import RecordError

KIND: Final = "differences"
_RESAMPLES: Final = 2000
_FIELDS: Final = {"what", "first", "second"}


def difference_table(path: Path, root: Path = Path()) -> str:
    """The table that a YAML list asks for.

    Args:
        path: The list; each entry has ``what`` (the row's words) and ``first`` and ``second``, CSV files of
            `agents.records.save_images` of the same images, named from `root`; where the second may have
            more images than the first, ``within: true``.
        root: Where the names of files start.

    Returns:
        Markdown: for each entry the mean of first minus second in dB of PSNR, and its paired bootstrap
        interval.

    Raises:
        FileNotFoundError: If the list, or a file in it, is not there.
        RecordError: If an entry has other fields, or its files are not of the same images.
    """
    entries: Any = yaml.safe_load((root / path).read_text(encoding="utf-8"))
    if not isinstance(entries, list) or not entries:
        raise RecordError(f"{path} holds no list of comparisons")
    lines = ["| what | dB | 95 % interval | faces |", "| --- | ---: | :---: | ---: |"]
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) - {"within"} != _FIELDS:
            raise RecordError(f"{path}: an entry must have {', '.join(sorted(_FIELDS))}, but one is {entry}")
        found = paired_difference(
            root / entry["first"],
            root / entry["second"],
            within=bool(entry.get("within")),
            resamples=_RESAMPLES,
        )
        digits = 2 if abs(found.mean) >= 0.1 else 4
        interval = f"[{found.low:+.{digits}f}, {found.high:+.{digits}f}]"
        lines.append(f"| {entry['what']} | {found.mean:+.{digits}f} | {interval} | {found.n:,} |")
    return "\n".join(lines)


def render_differences(page: Path, *, check: bool = False) -> bool:
    """Render the tables between ``<!-- differences: LIST -->`` and ``<!-- /differences -->`` anew.

    Args:
        page: A Markdown file; its lists and their files are named from the current folder.
        check: Change nothing.

    Returns:
        Whether the page was up to date.
    """
    return render_blocks(page, KIND, lambda name: difference_table(Path(name)), check=check)
