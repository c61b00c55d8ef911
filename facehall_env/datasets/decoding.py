"""Bytes of a picture file to pixels, strictly: what is cut off or not a picture is an error, never half a picture.

Pillow decodes, because it refuses truncated files, which OpenCV fills up in silence.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, ImageFile

from facehall_env.datasets.errors import BadPictureError


def open_picture(blob: bytes) -> Image.Image:
    """Decodes a picture file completely.

    Args:
        blob: The content of the file, any format that Pillow reads.

    Returns:
        The first frame, loaded, in the mode of the file.

    Raises:
        BadPictureError: If the bytes are no picture, or only the beginning of one.
    """
    if not blob:
        raise BadPictureError("the file is empty")
    try:
        picture = Image.open(io.BytesIO(blob))
        picture.load()
    except Image.UnidentifiedImageError as error:
        raise BadPictureError("not a picture that Pillow can read") from error
    except (
        Exception
    ) as error:  # Pillow's parsers raise whatever the broken bytes lead them to, SyntaxError included
        raise BadPictureError(f"cannot be decoded ({error})") from error
    return picture


@contextmanager
def strict_decoding() -> Iterator[None]:
    """Makes Pillow refuse truncated files inside the block, even where a program has asked it to accept them."""
    lenient, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient
