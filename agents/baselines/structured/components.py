"""Mouth, brows, eyes and nose: each is taken whole from the exemplar whose own is most like it when small."""

from __future__ import annotations

from typing import Final, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.baselines.structured.exemplars import Window, similarities, warp
from agents.baselines.structured.gradients import gradients
from agents.landmarks.points import eyes_of
from facehall_env.resample import Resampler

COMPONENTS: Final[dict[str, tuple[slice, ...]]] = {
    "mouth": (slice(48, 68),),
    "brows": (slice(17, 22), slice(22, 27)),
    "eyes": (slice(36, 42), slice(42, 48)),
    "nose": (slice(27, 36),),
}
"""Points of each component, counted from 0, one slice a connected part."""
_MARGIN: Final = 0.11  # around the points, as a share of the distance of the eyes
_SOFTNESS: Final = 0.03  # standard deviation of the mask's blur, likewise
_BATCH: Final = 16  # exemplars whose gradients fit into a processor's cache


class Match(NamedTuple):
    """The exemplar of one component.

    Attributes:
        exemplar: Its index.
        mask: Where its gradients are taken, (H, W) in [0, 1].
        gradients: Of the exemplar laid over the face, (4, H, W).
    """

    exemplar: int
    mask: Tensor
    gradients: Tensor


def component_mask(points: NDArray[np.float64], component: str, height: int, width: int) -> Tensor:
    """One inside the hull of a component's points and a margin, soft at the rim, (H, W).

    Args:
        points: The 68 points of the face, (68, 2).
        component: A key of `COMPONENTS`.
        height: H.
        width: W.
    """
    first, second = eyes_of(points[None])[0]
    between = float(np.linalg.norm(second - first))
    mask: NDArray[np.uint8] = np.zeros((height, width), np.uint8)
    for part in COMPONENTS[component]:
        outline = (16 * points[part]).round().astype(np.int32)
        cv2.fillConvexPoly(mask, cv2.convexHull(outline), 255, cv2.LINE_8, 4)
        cv2.polylines(mask, [outline], False, 255, 1, cv2.LINE_8, 4)
    reach = max(1, round(_MARGIN * between))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    soft = max(1, round(3 * _SOFTNESS * between))
    blurred = cv2.GaussianBlur(cv2.dilate(mask, disc), (2 * soft + 1, 2 * soft + 1), 0)
    return torch.from_numpy(np.asarray(blurred, np.float32) / 255)


def match_component(
    low: Tensor,
    points: NDArray[np.float64],
    component: str,
    exemplars: NDArray[np.uint8],
    exemplar_points: NDArray[np.float64],
    scale: int,
) -> Match | None:
    """Find the exemplar of a component.

    Each exemplar is laid over the face by the component's points alone, shrunk and enlarged as the face was,
    and compared by the gradients inside the mask.

    Args:
        low: Luminance of the low-resolution face, (h, w).
        points: The 68 points of the face, (68, 2).
        component: A key of `COMPONENTS`.
        exemplars: Luminance, uint8 (M, H, W).
        exemplar_points: Their points, (M, 68, 2).
        scale: s.

    Returns:
        The nearest one; None if the component lies outside the picture.
    """
    height, width = exemplars.shape[1:]
    mask = component_mask(points, component, height, width)
    window = _window(mask, scale)
    if window is None:
        return None
    parts = np.concatenate([np.arange(part.start, part.stop) for part in COMPONENTS[component]])
    matrices = similarities(exemplar_points[:, parts], points[parts])
    # Test face and exemplars go through the same maps, those of the window.
    shape = [side.stop - side.start for side in window]
    resampler = Resampler(shape[0], shape[1], scale)
    rows, columns = (slice(side.start // scale, side.stop // scale) for side in window)
    wanted, weight = gradients(resampler.enlarge(low[None, None, rows, columns])[:, 0]), mask[window]
    distances = []
    for i in range(0, len(exemplars), _BATCH):
        pieces = torch.from_numpy(warp(exemplars[i : i + _BATCH], matrices[i : i + _BATCH], window))
        offered = gradients(resampler(pieces[:, None])[:, 0])
        distances.append(((offered - wanted).square() * weight).sum((1, 2, 3)))
    distance = torch.cat(distances)
    nearest = int(distance.argmin())
    whole = (slice(0, height), slice(0, width))
    laid = warp(exemplars[nearest : nearest + 1], matrices[nearest : nearest + 1], whole)
    return Match(nearest, mask, gradients(torch.from_numpy(laid))[0])


def _window(mask: Tensor, scale: int) -> Window | None:
    """The rectangle of whole low-resolution pixels around a mask, two more on each side where there are."""
    window = []
    for axis in (1, 0):
        used = torch.nonzero(mask.amax(axis))[:, 0]
        if not len(used):
            return None
        first, last = int(used[0]) // scale - 2, int(used[-1]) // scale + 3
        window.append(slice(max(first, 0) * scale, min(last * scale, mask.shape[1 - axis])))
    return window[0], window[1]
