"""Pictures to look at: a grid of faces by methods, and the film strip of one episode (Fig. 5)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from facehall_env.metrics import psnr
from facehall_env.rendering import (
    BLUE,
    INK,
    PAPER,
    RED,
    Lettering,
    Pixels,
    lettering,
    magnify,
    outline,
    rgb,
)

OUTSIDE = 128  # zero in [-1, 1]: what the enhancer sees beyond the picture's border
GAP = 6  # pixels between neighbours


def picture_grid(
    columns: Mapping[str, Pixels | Sequence[Pixels]],
    *,
    reference: str | None = "HR",
    rows: Sequence[str] = (),
    enlarge: int = 1,
) -> Pixels:
    """One row a face, one column a method, names above and the PSNR of each picture below it.

    Pictures smaller than the largest, such as the low-resolution input, are blown up to its size by repeating
    their pixels; those of another size than the reference have their size below them instead of a PSNR.

    Args:
        columns: By name, from left to right, the pictures of one method: uint8, (N, h, w, C) or N pictures
            (h, w, C), C = 3 (RGB) or 1 (gray).
        reference: The column that the PSNR is measured against, which has no value itself; None for no
            values.
        rows: N names to stand left of the rows; none by default.
        enlarge: By how much the pictures are enlarged, pixel by pixel; a whole number from 1 up.

    Returns:
        The grid as one RGB picture, uint8, (height, width, 3).

    Raises:
        ValueError: If there are no pictures, the columns or names are not of one length, a column holds
            something else than pictures, or the reference is not among the columns.
    """
    _check_enlarge(enlarge)
    table = {name: _batch(f"the column {name!r}", pictures) for name, pictures in columns.items()}
    lengths = {name: len(pictures) for name, pictures in table.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"a grid needs columns with one picture a face, not {lengths}")
    n = next(iter(lengths.values()))
    if rows and len(rows) != n:
        raise ValueError(f"a grid of {n} faces needs {n} names of rows or none, not {len(rows)}")
    if reference is not None and reference not in table:
        raise ValueError(f"no column {reference!r} to measure against; there are {', '.join(table)}")

    # The largest picture fills a cell.
    height, width = (enlarge * max(pictures.shape[axis] for pictures in table.values()) for axis in (1, 2))
    style = _style(width)
    captions = {name: _captions(name, table, reference) for name in table}
    cell_width = max(
        [width, *(style.width(name) for name in table), *(style.width(c[0]) for c in captions.values())]
    )
    margin = max((style.width(name) for name in rows), default=-GAP) + 2 * GAP
    head = style.line + GAP
    step_x, step_y = cell_width + GAP, height + style.line + GAP
    size = (margin + len(table) * step_x, head + n * step_y)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, (name, pictures) in enumerate(table.items()):
        left = margin + column * step_x
        middle = left + cell_width // 2
        draw.text((middle, GAP), name, INK, style.font, anchor="ma")
        for row, picture in enumerate(pictures):
            top = head + row * step_y
            cell = Image.fromarray(rgb(picture)).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(cell, (left + (cell_width - width) // 2, top))
            draw.text((middle, top + height + 2), captions[name][row], INK, style.font, anchor="ma")
    for row, name in enumerate(rows):
        draw.text((margin - GAP, head + row * step_y + height // 2), name, INK, style.font, anchor="rm")
    return np.asarray(sheet)


def film_strip(
    pictures: Pixels,
    boxes: NDArray[np.integer],
    patches: Pixels,
    *,
    columns: int = 9,
    enlarge: int = 1,
) -> Pixels:
    """What one episode looked at, after the paper's Fig. 5.

    First I_0, then for every step t = 1 ... T the picture I_t with the box just perceived in red and all
    earlier ones in dashed blue, and below it the patch of that box, gray where it lies outside the picture.

    Args:
        pictures: I_0 ... I_T, uint8, (T + 1, H, W, C), C = 3 (RGB) or 1 (gray).
        boxes: Top, left, height and width of the box of every step, in pixels, (T, 4); a box may reach beyond
            the picture's border and is drawn as far as it lies within.
        patches: The patch of every step, uint8, (T, h, w, C).
        columns: How many pictures stand side by side before the strip goes on below.
        enlarge: By how much everything is enlarged, pixel by pixel; a whole number from 1 up.

    Returns:
        The strip as one RGB picture, uint8, (height, width, 3).

    Raises:
        ValueError: If the shapes do not fit together; the sentence names them.
    """
    _check_enlarge(enlarge)
    pictures, patches = _batch("the pictures", pictures), _batch("the patches", patches)
    boxes = np.asarray(boxes)
    steps = len(pictures) - 1
    if (
        boxes.shape != (steps, 4)
        or len(patches) != steps
        or not np.array_equal(boxes[:, 2:], _sizes(patches))
    ):
        raise ValueError(
            f"{len(pictures)} pictures go with {steps} boxes (top, left, height, width) and as many patches "
            f"of the boxes' size, not with boxes {boxes.shape} and patches {patches.shape}"
        )
    if columns < 1:
        raise ValueError(f"columns is {columns}; a strip has at least 1")

    height, width = (enlarge * length for length in pictures.shape[1:3])
    patch_height, patch_width = (enlarge * length for length in patches.shape[1:3])
    style = _style(width)
    cell_width = max(width, patch_width)
    step_x, step_y = cell_width + GAP, style.line + height + GAP + patch_height + GAP
    columns = min(columns, len(pictures))
    size = (GAP + columns * step_x, GAP + -(-len(pictures) // columns) * step_y)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for t, picture in enumerate(pictures):
        left, top = GAP + t % columns * step_x, GAP + t // columns * step_y
        draw.text((left + cell_width // 2, top), f"t = {t}", INK, style.font, anchor="ma")
        top += style.line
        frame = magnify(rgb(picture), enlarge)
        for box in boxes[: max(0, t - 1)]:
            outline(frame, box * enlarge, BLUE, enlarge, dash=4 * enlarge)
        if t > 0:
            outline(frame, boxes[t - 1] * enlarge, RED, enlarge)
            seen = _masked(patches[t - 1], boxes[t - 1], pictures.shape[1:3])
            place = (left + (cell_width - patch_width) // 2, top + height + GAP)
            sheet.paste(Image.fromarray(magnify(rgb(seen), enlarge)), place)
        sheet.paste(Image.fromarray(frame), (left + (cell_width - width) // 2, top))
    return np.asarray(sheet)


def save_png(path: str | Path, picture: Pixels) -> None:
    """Write a picture as PNG, making its folder.

    Args:
        path: The file, its name ending in .png.
        picture: uint8, (H, W, 3) or (H, W, 1).

    Raises:
        ValueError: If the name ends otherwise or it is not a picture.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path} does not end in .png, the only format written here")
    (picture,) = _batch("the picture", [picture])
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb(picture)).save(path)


def _style(width: int) -> Lettering:
    """Letters that grow with the pictures, within what can be read and what still looks like a caption."""
    return lettering(min(max(width // 9, 12), 28))


def _check_enlarge(enlarge: int) -> None:
    if enlarge != int(enlarge) or enlarge < 1:
        raise ValueError(f"enlarge is {enlarge}, not a whole number from 1 up")


def _batch(what: str, pictures: Pixels | Sequence[Pixels]) -> Pixels:
    try:
        batch = np.asarray(pictures)
    except ValueError:
        raise ValueError(f"{what}: the pictures are not all of one size") from None
    if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[3] not in (1, 3) or batch.size == 0:
        raise ValueError(
            f"{what}: pictures are uint8 (N, H, W, C) with C = 1 or 3, not {batch.dtype} {batch.shape}"
        )
    return batch


def _captions(name: str, table: Mapping[str, Pixels], reference: str | None) -> list[str]:
    """Below each picture of a column: its PSNR, its size if it differs from the reference's, or nothing."""
    pictures = table[name]
    if reference is None or name == reference:
        return [""] * len(pictures)
    truth = table[reference]
    if pictures.shape != truth.shape:
        return [f"{pictures.shape[2]} x {pictures.shape[1]}"] * len(pictures)
    values = psnr(
        *(torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))) for x in (pictures, truth))
    )
    return [f"{value:.2f} dB" for value in values.tolist()]


def _sizes(patches: Pixels) -> NDArray[np.integer]:
    return np.broadcast_to(np.array(patches.shape[1:3]), (len(patches), 2))


def _masked(patch: Pixels, box: NDArray[np.integer], size: tuple[int, ...]) -> Pixels:
    """The patch, gray where its box lies outside a picture of this size."""
    top, left, height, width = box.tolist()
    row, column = top + np.arange(height)[:, None], left + np.arange(width)[None, :]
    within = (row >= 0) & (row < size[0]) & (column >= 0) & (column < size[1])
    return np.where(within[:, :, None], patch, np.uint8(OUTSIDE))
