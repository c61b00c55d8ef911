"""Looking at a state: one frame from one state, and the drawing that all pictures of episodes share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]

RED: Final[Colour] = (230, 30, 30)
"""The box that was just perceived, as in the paper's Fig. 5."""
BLUE: Final[Colour] = (40, 90, 255)
"""The boxes before it, dashed."""
INK: Final[Colour] = (30, 30, 30)
PAPER: Final[Colour] = (255, 255, 255)
ERROR_RANGE: Final = 64
"""Gray levels of absolute error that the colours span; what is above has the brightest one."""

_PANEL = 240  # pixels of a panel's longer side, at least
_GAP = 12
_BAR = 10  # height of the colour bar


class Lettering(NamedTuple):
    """A font and the height of its line, in pixels."""

    font: ImageFont.FreeTypeFont | ImageFont.ImageFont
    line: int

    def width(self, text: str) -> int:
        """How many pixels a line takes."""
        return round(self.font.getlength(text)) + 1


def lettering(size: int) -> Lettering:
    """Letters of a size in pixels."""
    return Lettering(ImageFont.load_default(size), size + 8)


def rgb(picture: Pixels) -> Pixels:
    """A copy of a picture (H, W, 3) or (H, W, 1) with three channels."""
    return np.array(np.broadcast_to(picture, (*picture.shape[:2], 3)))


def magnify(picture: Pixels, factor: int) -> Pixels:
    """A picture (H, W, C) with every pixel repeated, so that one can see it: (H * factor, W * factor, C)."""
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def outline(frame: Pixels, box: NDArray[np.integer], colour: Colour, thickness: int, dash: int = 0) -> None:
    """Draw a box's border, dashed or not, into a frame: just inside the box, as far as it lies in the frame.

    Dashes have their places in the frame, so that boxes upon each other do not fill each other's gaps.

    Args:
        frame: uint8, (H, W, 3).
        box: Top, left, height and width in the frame's pixels.
        colour: Red, green and blue.
        thickness: Of the line, in pixels.
        dash: Length of a dash, in pixels; 0 for a solid line.
    """
    top, left, height, width = box.tolist()
    rows = slice(max(top, 0), max(top + height, 0))
    columns = slice(max(left, 0), max(left + width, 0))
    inside = frame[rows, columns]
    border = np.ones(inside.shape[:2], dtype=bool)
    border[thickness:-thickness, thickness:-thickness] = False
    if dash:
        row, column = np.indices(border.shape)
        border &= (row + rows.start + column + columns.start) // dash % 2 == 0
    inside[border] = colour


def draw_boxes(picture: Pixels, boxes: NDArray[np.integer], enlarge: int) -> Pixels:
    """The picture enlarged, with its last box in red and all earlier ones in dashed blue.

    The blue lines are thin, so that the face stays visible behind many of them.

    Args:
        picture: uint8, (H, W, C).
        boxes: Top, left, height and width of every step so far, in the picture's pixels, (t, 4).
        enlarge: By how much, pixel by pixel.

    Returns:
        uint8, (H * enlarge, W * enlarge, 3).
    """
    frame = magnify(rgb(picture), enlarge)
    for box in boxes[:-1]:
        outline(frame, box * enlarge, BLUE, 1, dash=6)
    for box in boxes[-1:]:
        outline(frame, box * enlarge, RED, 2)
    return frame


def heat_colours(values: NDArray[np.floating]) -> Pixels:
    """Values in [0, 1], (H, W), as colours from black over violet to yellow: uint8, (H, W, 3)."""
    scaled = np.clip(np.round(values * 255.0), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(scaled, cv2.COLORMAP_INFERNO)[:, :, ::-1], dtype=np.uint8)


def error_colours(levels: NDArray[np.floating]) -> Pixels:
    """Absolute errors as colours, the same ones in every frame.

    Args:
        levels: Gray levels of error, (H, W); what exceeds `ERROR_RANGE` looks like it.

    Returns:
        uint8, (H, W, 3).
    """
    return heat_colours(levels / ERROR_RANGE)


def render_frame(
    pictures: Mapping[str, Pixels],
    boxes: NDArray[np.integer],
    *,
    horizon: int,
    psnr: float,
    psnr_input: float,
    coverage: float,
) -> Pixels:
    """One state as one picture: LR, current with its boxes, HR, absolute error, and where the episode stands.

    Its size depends on the picture's size only, so frames make a video. The error is the mean over the
    channels, on a scale that does not change.

    Args:
        pictures: ``low_resolution`` (H/s, W/s, C), ``current`` and ``high_resolution`` (H, W, C), uint8, as
            `FaceHallucinationEnv.pictures` gives them.
        boxes: Top, left, height and width of the patch of every step so far, in pixels, (t, 4), the last one
            just perceived; see `PatchGeometry.boxes`.
        horizon: Steps of the episode, T.
        psnr: Of the current picture, dB.
        psnr_input: Of I_0, dB.
        coverage: Share of the picture that has been under a patch, in [0, 1].

    Returns:
        The frame as RGB, uint8, (rows, columns, 3), both even, as video codecs want them.

    Raises:
        ValueError: If the pictures or boxes are not as described.
    """
    low, current, high = (_checked(pictures, n) for n in ("low_resolution", "current", "high_resolution"))
    height, width = high.shape[:2]
    scale, rest = divmod(height, low.shape[0])
    if current.shape != high.shape or rest or (low.shape[0] * scale, low.shape[1] * scale) != high.shape[:2]:
        raise ValueError(
            f"current {current.shape}, high_resolution {high.shape} and low_resolution {low.shape} are not "
            "of one face: the first two must agree, the third be smaller by a whole factor"
        )
    boxes = np.asarray(boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.issubdtype(boxes.dtype, np.integer):
        raise ValueError(
            f"boxes are integers (t, 4): top, left, height, width; not {boxes.dtype} {boxes.shape}"
        )

    enlarge = enlargement(height, width)
    error = np.abs(current.astype(np.int16) - high).mean(axis=2)
    panels = {
        f"Low resolution, {low.shape[1]} x {low.shape[0]}": magnify(rgb(low), scale * enlarge),
        "Current picture": draw_boxes(current, boxes, enlarge),
        f"High resolution, {width} x {height}": magnify(rgb(high), enlarge),
        "Absolute error": magnify(error_colours(error), enlarge),
    }
    status = (
        f"step {len(boxes)} of {horizon}      PSNR {psnr:.2f} dB  (input {psnr_input:.2f} dB)"
        f"      covered {coverage:.0%}"
    )
    return panel_row(panels, status, {"Absolute error": ("0", f"{ERROR_RANGE // 2}", f"{ERROR_RANGE}+")})


def panel_row(
    panels: Mapping[str, Pixels], status: str, bars: Mapping[str, tuple[str, str, str]] | None = None
) -> Pixels:
    """Pictures side by side with their names above and a line of text below.

    Args:
        panels: By name, pictures of one size, uint8, (h, w, 3).
        status: The line.
        bars: For the panels in `heat_colours`, by name, what the lower end, the middle and the upper end of
            the colours mean.

    Returns:
        uint8, (rows, columns, 3), both even; they depend on the panels' number and size, and on whether there
        are bars.
    """
    letters = lettering(14)
    height, width = next(iter(panels.values())).shape[:2]
    cell = max(width, _PANEL)
    top = letters.line + _GAP // 2
    below = top + height + _GAP // 2
    columns = len(panels) * (cell + _GAP) + _GAP
    line = below + (_BAR + letters.line if bars else 0)
    rows = line + lettering(16).line + _GAP // 2
    sheet = Image.new("RGB", (columns + columns % 2, rows + rows % 2), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, line), status, INK, lettering(16).font)
    for column, (name, panel) in enumerate(panels.items()):
        left = _GAP + column * (cell + _GAP)
        draw.text((left + cell // 2, _GAP // 2), name, INK, letters.font, anchor="ma")
        sheet.paste(Image.fromarray(panel), (left + (cell - width) // 2, top))
        if bars and name in bars:
            _colour_bar(sheet, draw, letters, left, below, cell, bars[name])
    return np.asarray(sheet)


def enlargement(height: int, width: int) -> int:
    """By how much a picture is enlarged so that a person sees it well: its longer side reaches 240 pixels."""
    return max(1, -(-_PANEL // max(height, width)))


def _checked(pictures: Mapping[str, Pixels], name: str) -> Pixels:
    if name not in pictures:
        raise ValueError(f"a frame needs the picture {name!r}; there are {', '.join(map(repr, pictures))}")
    picture = np.asarray(pictures[name])
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (1, 3) or not picture.size:
        raise ValueError(
            f"{name} must be uint8 (H, W, C) with C = 1 or 3, not {picture.dtype} {picture.shape}"
        )
    return picture


def _colour_bar(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    letters: Lettering,
    left: int,
    top: int,
    width: int,
    labels: tuple[str, str, str],
) -> None:
    """What the colours mean."""
    ramp = np.broadcast_to(np.linspace(0.0, 1.0, width), (_BAR, width))
    sheet.paste(Image.fromarray(heat_colours(ramp)), (left, top))
    for x, text, anchor in zip((0, width // 2, width), labels, ("la", "ma", "ra"), strict=True):
        draw.text((left + x, top + _BAR + 2), text, INK, letters.font, anchor=anchor)
