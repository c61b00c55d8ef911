"""Bytes of a picture file to pixels, strictly: what is cut off is an error, never half a picture.

Pillow decodes, because it refuses truncated files, which OpenCV fills up in silence.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, ImageFile, UnidentifiedImageError

from facehall_env.datasets.errors import BadPictureError
from facehall_env.datasets.sources import Content


def open_picture(content: Content) -> Image.Image:
    """Decodes a picture file completely.

    Args:
        content: What the file holds, in any format that Pillow reads, or why it cannot be read.

    Returns:
        The first frame, loaded, in the mode of the file.

    Raises:
        BadPictureError: If the file is unreadable, no picture, or only the beginning of one.
    """
    if isinstance(content, OSError):
        raise BadPictureError(f"cannot be read ({content.strerror})") from content
    if not content:
        raise BadPictureError("the file is empty")
    try:
        picture = Image.open(io.BytesIO(content))
        picture.load()
    except UnidentifiedImageError as error:
        raise BadPictureError("not a picture that Pillow can read") from error
    except (
        Exception
    ) as error:  # Pillow's parsers raise whatever the broken bytes lead them to, SyntaxError included
        raise BadPictureError(f"cannot be decoded ({error})") from error
    return picture


@contextmanager
def strict_decoding() -> Iterator[None]:
    """Makes Pillow refuse truncated files inside the block, even where it was told to accept them."""
    lenient, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient
