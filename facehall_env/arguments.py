"""Checks of arguments: one sentence that names the argument and the way out, before anything is changed."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, get_args


def one_of(name: str, value: object, literal: Any) -> None:
    """Refuse what is not one of the words of a ``Literal``.

    Raises:
        ValueError: If it is not.
    """
    words = get_args(literal)
    if value not in words:
        raise ValueError(f"{name} is {value!r}, but it must be one of {', '.join(map(repr, words))}")


def truth(name: str, value: Any) -> None:
    """Refuse what is neither True nor False, such as the text ``"no"``, which would count as True.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}, but it must be True or False")


def whole(name: str, value: Any, least: int = 1) -> int:
    """The value as an int, if it is a whole number and large enough.

    Raises:
        ValueError: If it is not.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}, but it must be an integer from {least} on")
    return number


def colours(channels: int) -> None:
    """Refuse another number of channels than pictures have.

    Raises:
        ValueError: If it is neither 1 nor 3.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels is {channels}, but a picture has 1 (gray) or 3 (RGB)")


def size_of_patch(patch_size: Iterable[int]) -> tuple[int, int]:
    """Rows and columns of a patch, if these are two positive whole numbers.

    Raises:
        ValueError: If they are not.
    """
    try:
        rows, columns = patch_size
    except (TypeError, ValueError):
        raise ValueError(f"patch_size is {patch_size!r}, but it must be two integers, as (60, 45)") from None
    return whole("patch_size[0]", rows), whole("patch_size[1]", columns)
