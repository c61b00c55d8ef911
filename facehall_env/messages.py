"""What users shall know without having asked: one line each, once."""

from __future__ import annotations

import logging
import sys
from typing import Final

_SAID: Final[set[str]] = set()


def say(message: str) -> None:
    """A line to the logger ``facehall_env`` (INFO), where logging was set up, else to standard error.

    The same line appears once in a process.
    """
    if message in _SAID:
        return
    _SAID.add(message)
    logger = logging.getLogger("facehall_env")
    if logger.hasHandlers():
        logger.info(message)
    else:
        print(f"facehall: {message}", file=sys.stderr)
