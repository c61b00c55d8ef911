"""Where a policy looks over a whole split, step by step."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from agents.visualisation.heat import heat_over
from facehall_env.patches import PatchGeometry
from facehall_env.rendering import INK, PAPER, RED, Pixels, lettering, magnify, outline

_GAP = 8
_NEAR = 8  # pixels


def location_density(locations: NDArray[np.int64], size: tuple[int, int], blur: float) -> NDArray[np.float64]:
    """How often episodes looked where, at every step.

    Args:
        locations: Of every step and episode, in [0, H*W), (T, N).
        size: H and W of the picture.
        blur: Standard deviation, in pixels, of the Gaussian that every look is spread to.

    Returns:
        (T, H, W); a step sums to 1, less what its Gaussians have outside the picture.
    """
    density = np.zeros((len(locations), *size))
    for step, places in enumerate(locations):
        np.add.at(density[step].reshape(-1), places, 1.0 / locations.shape[1])
        density[step] = cv2.GaussianBlur(density[step], (0, 0), blur, borderType=cv2.BORDER_CONSTANT)
    return density


def attention_sheet(
    locations: NDArray[np.int64], mean_face: Pixels, geometry: PatchGeometry, *, columns: int = 9
) -> Pixels:
    """Small multiples: for every step, where the looks of all episodes fell, over the mean face.

    The colours are relative to each step's highest density; the red box is the patch there, and the share is
    that of the episodes that looked within 8 pixels of its centre. The last picture has all steps.

    Args:
        locations: Of every step and episode, (T, N).
        mean_face: uint8, (H, W, C).
        geometry: Where patches lie.
        columns: How many steps stand side by side.

    Returns:
        One RGB picture, uint8, (rows, columns, 3).
    """
    height, width = mean_face.shape[:2]
    blur = max(height, width) / 32
    density = location_density(locations, (height, width), blur)
    cells = [
        _cell(f"t = {t + 1}", density[t], locations[t], mean_face, geometry) for t in range(len(locations))
    ]
    cells.append(_cell("all", density.mean(axis=0), None, mean_face, geometry))

    letters = lettering(max(10, 7 + height // 16))
    enlarge = max(1, 96 // max(height, width))
    columns = min(columns, len(cells))
    step_x, step_y = width * enlarge + _GAP, letters.line + height * enlarge + _GAP
    bottom = _GAP + -(-len(cells) // columns) * step_y
    note = (
        f"{locations.shape[1]} episodes; % of them that looked within {_NEAR} pixels of the red box's centre"
    )
    size = (max(_GAP + columns * step_x, letters.width(note) + 2 * _GAP), bottom + letters.line)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (name, cell) in enumerate(cells):
        left, top = _GAP + number % columns * step_x, _GAP + number // columns * step_y
        draw.text((left, top), name, INK, letters.font)
        sheet.paste(Image.fromarray(magnify(cell, enlarge)), (left, top + letters.line))
    draw.text((_GAP, bottom), note, INK, letters.font)
    return np.asarray(sheet)


def _cell(
    name: str,
    density: NDArray[np.float64],
    locations: NDArray[np.int64] | None,
    mean_face: Pixels,
    geometry: PatchGeometry,
) -> tuple[str, Pixels]:
    """One small picture and what stands above it."""
    picture = heat_over(mean_face, density)
    if locations is None:
        return name, picture
    peak = int(density.argmax())
    outline(picture, geometry.boxes(torch.tensor([peak]))[0].numpy(), RED, 1)
    (row, column), (rows, columns) = divmod(peak, geometry.width), divmod(locations, geometry.width)
    near = (rows - row) ** 2 + (columns - column) ** 2 <= _NEAR**2
    return f"{name}   {near.mean():.0%}", picture
