"""What an episode was: every picture, where the agent looked, how sure it was, and what it came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.gaussian import GaussianPolicyNetwork
from agents.pictures import OUTSIDE
from agents.policies import RecurrentPolicyNetwork
from agents.rollout import PolicyAgent
from agents.scripted import CoreAgent
from facehall_env.core import HallucinationCore, to_uint8, to_unit
from facehall_env.metrics import psnr
from facehall_env.patches import AffineLocations
from facehall_env.rendering import Pixels


@dataclass(frozen=True)
class EpisodeTrace:
    """One episode of T steps.

    Attributes:
        index: Of the face in its split.
        low_resolution: uint8, (H/s, W/s, C).
        high_resolution: uint8, (H, W, C).
        pictures: I_0 ... I_T, uint8, (T + 1, H, W, C).
        locations: Of every step, int64, (T,).
        boxes: Top, left, height and width of the patch of every step, in pixels, int64, (T, 4).
        probabilities: Of every pixel to be the next location, float32, (T, H, W), each summing to 1; None for
            agents without probabilities.
        psnr: Of I_0 ... I_T, dB, float64, (T + 1,).
        coverage: Share of the picture that has been under a patch, in [0, 1], float64, (T + 1,).
    """

    index: int
    low_resolution: Pixels
    high_resolution: Pixels
    pictures: Pixels
    locations: NDArray[np.int64]
    boxes: NDArray[np.int64]
    probabilities: NDArray[np.float32] | None
    psnr: NDArray[np.float64]
    coverage: NDArray[np.float64]

    @property
    def steps(self) -> int:
        """T."""
        return len(self.boxes)

    def patch(self, picture: Pixels, step: int) -> Pixels:
        """What a picture (H, W, C) shows in the box of a step (1 ... T), gray outside: uint8, (h, w, C)."""
        top, left, height, width = self.boxes[step - 1].tolist()
        margin = ((height, height), (width, width), (0, 0))
        padded = np.pad(picture, margin, constant_values=OUTSIDE)
        return padded[top + height : top + 2 * height, left + width : left + 2 * width]


class TraceRecorder:
    """Collects the traces of episodes side by side, whoever steps them.

    Call `begin` after the core's reset, `note` and `follow` at every step, `traces` at the end.
    """

    def begin(self, core: HallucinationCore) -> None:
        """Note I_0."""
        self._core = core
        self._locations: list[Tensor] = []
        self._boxes: list[Tensor] = []
        self._probabilities: list[Tensor | None] = []
        self._pictures: list[Tensor] = []
        self._psnr: list[Tensor] = []
        self._coverage: list[Tensor] = []
        self.follow()

    def note(self, location: Tensor, probabilities: Tensor | None) -> None:
        """Note a choice.

        Args:
            location: int64, (N,).
            probabilities: Of every pixel, (N, H, W); None where there are none.
        """
        self._locations.append(location.cpu())
        self._boxes.append(self._core.geometry.boxes(location).cpu())
        self._probabilities.append(None if probabilities is None else probabilities.float().cpu())

    def follow(self) -> None:
        """Note what the pictures are now."""
        self._pictures.append(to_uint8(self._core.current).cpu())
        self._psnr.append(psnr(to_unit(self._core.current), to_unit(self._core.target)).cpu())
        self._coverage.append(self._core.coverage.cpu())

    def traces(self, indices: Sequence[int]) -> list[EpisodeTrace]:
        """The episodes.

        Args:
            indices: Of the faces, N of them.
        """
        shown = {name: picture.cpu().numpy() for name, picture in self._core.pictures().items()}
        locations, boxes, pictures = (
            torch.stack(x, 1).numpy() for x in (self._locations, self._boxes, self._pictures)
        )
        maps = [part for part in self._probabilities if part is not None]
        probabilities = torch.stack(maps, 1).numpy() if len(maps) == len(self._boxes) else None
        values, coverage = (torch.stack(x, 1).double().numpy() for x in (self._psnr, self._coverage))
        return [
            EpisodeTrace(
                index=index,
                low_resolution=shown["low_resolution"][row],
                high_resolution=shown["high_resolution"][row],
                pictures=pictures[row],
                locations=locations[row],
                boxes=boxes[row],
                probabilities=None if probabilities is None else probabilities[row],
                psnr=values[row],
                coverage=coverage[row],
            )
            for row, index in enumerate(indices)
        ]


def record_traces(
    core: HallucinationCore, agent: CoreAgent, faces: Tensor, indices: Sequence[int]
) -> list[EpisodeTrace]:
    """Run one episode a face and record it.

    Args:
        core: Where the episodes run.
        agent: Who chooses the locations.
        faces: uint8, (N, C, H, W).
        indices: Of the faces, N of them.
    """
    recorder = TraceRecorder()
    core.reset(faces)
    agent.begin(core)
    recorder.begin(core)
    while not core.terminated:
        location = agent.select(core)
        recorder.note(location, pixel_probabilities(agent))
        core.step(location)
        recorder.follow()
    return recorder.traces(indices)


def pixel_probabilities(agent: CoreAgent) -> Tensor | None:
    """What the agent's last choice was drawn from, as probabilities of pixels, (N, H, W)."""
    if not isinstance(agent, PolicyAgent) or agent.parameters is None:
        return None
    network, config = agent.network, agent.network.config
    if isinstance(network, RecurrentPolicyNetwork):
        return over_pixels(
            agent.parameters.softmax(dim=1).view(-1, *config.grid), config.height, config.width
        )
    if isinstance(network, GaussianPolicyNetwork):
        std = torch.full_like(agent.parameters, config.location_std)
        return gaussian_over_pixels(agent.parameters, std, network.locations)
    return None


def over_pixels(places: Tensor, height: int, width: int) -> Tensor:
    """Probabilities of the places of a grid, (N, rows, columns), spread over their cells: (N, H, W)."""
    rows, columns = height // places.shape[1], width // places.shape[2]
    return places.repeat_interleave(rows, 1).repeat_interleave(columns, 2) / (rows * columns)


def gaussian_over_pixels(
    mean: Tensor, std: Tensor, locations: AffineLocations, quantiles: int = 1024
) -> Tensor:
    """Gaussians over points (y, x) as probabilities of the locations that the points mean.

    Each axis is counted at evenly spread quantiles, so what lies beyond the square is found at its border.

    Args:
        mean: (N, 2).
        std: (N, 2).
        locations: What points mean.
        quantiles: How many.

    Returns:
        (N, H, W), each summing to 1.
    """
    share = (torch.arange(quantiles, device=mean.device) + 0.5) / quantiles
    offset = torch.special.ndtri(share)
    points = mean[:, None] + std[:, None] * offset[None, :, None]  # (N, quantiles, 2)
    found = locations.location(points)  # a row and a column by themselves: the axes are independent
    axes = []
    for index, size in (
        (found // locations.width, locations.height),
        (found % locations.width, locations.width),
    ):
        counts = torch.zeros(len(mean), size, device=mean.device)
        axes.append(counts.scatter_add_(1, index, torch.full_like(index, 1, dtype=counts.dtype)) / quantiles)
    return axes[0][:, :, None] * axes[1][:, None, :]
