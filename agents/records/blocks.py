"""Blocks of a Markdown page that are rendered from files, between a pair of marks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from agents.records.files import write_atomically


def render_blocks(page: Path, kind: str, block: Callable[[str], str], *, check: bool = False) -> bool:
    """Render what lies between ``<!-- KIND: NAME -->`` and ``<!-- /KIND -->`` anew.

    Args:
        page: A Markdown file; it is replaced in one step, and not touched if nothing changed.
        kind: Of the marks.
        block: What belongs between them, by the name in the first one.
        check: Change nothing.

    Returns:
        Whether the page was up to date.

    Raises:
        ValueError: If there is no such pair of marks.
    """
    marks = re.compile(rf"(<!-- {kind}: ([^\n]+?) -->\n).*?(<!-- /{kind} -->)", re.DOTALL)
    text = page.read_text(encoding="utf-8")
    if not marks.search(text):
        raise ValueError(f"{page} has no mark <!-- {kind}: NAME --> ... <!-- /{kind} -->")
    fresh = marks.sub(lambda found: f"{found[1]}\n{block(found[2])}\n\n{found[3]}", text)
    if fresh != text and not check:
        write_atomically(page, fresh)
    return fresh == text
