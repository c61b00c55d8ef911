"""A scan planned for the average face: what looking in the right order wins without seeing the face."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import torch
from torch import Tensor
from tqdm.auto import trange

from agents.distributed import ALONE, Ranks
from agents.faces import evenly_spread, face_batch
from agents.policies import Inhibition, PolicyConfig
from facehall_env.core import HallucinationCore
from facehall_env.datasets import FaceDataset

PLAN_FACES: Final = 32
"""Faces that a scan is planned for, where nothing else is said."""
_COARSE: Final = 36
"""At least so many places, evenly spread, are tried before the best ones' neighbours are."""
_KEPT: Final = 3
"""The neighbours of so many of them."""


_NOTHING: Final = 1e-9
"""An error as small as this, 90 dB, is none: pictures of one colour start there."""


class PlannedScan:
    """Walks along the same locations in every episode, whatever the picture shows.

    Args:
        locations: One a step; after the last one the first one again.

    Raises:
        ValueError: If there is none.
    """

    def __init__(self, locations: Sequence[int]) -> None:
        if not locations:
            raise ValueError("a planned scan needs at least one location")
        self.locations = [int(location) for location in locations]

    def begin(self, core: HallucinationCore) -> None:
        """Nothing to remember."""

    def select(self, core: HallucinationCore) -> Tensor:
        """The next location of the scan, the same in all rows."""
        location = self.locations[core.t % len(self.locations)]
        return torch.full((core.rows,), location, device=core.device)


def plan_scan(
    core: HallucinationCore,
    config: PolicyConfig,
    dataset: FaceDataset,
    count: int,
    ranks: Ranks = ALONE,
    *,
    progress_bar: bool = False,
) -> list[int]:
    """Plan a scan for evenly spread faces of a data set.

    Args:
        core: Gives the task and the enhancer.
        config: The grid of places, and the inhibition of return.
        dataset: The faces, usually the training faces.
        count: How many of them.
        ranks: The processes that share them.
        progress_bar: Show one, a step of the episode at a time.

    Returns:
        Places of the grid, one a step.
    """
    chosen = evenly_spread(len(dataset), count)
    # Every process has as many, so that the mean over the processes is that over the faces; a rest there is
    # only where the data set has fewer faces than were asked for
    own = chosen[ranks.rank : len(chosen) // ranks.size * ranks.size : ranks.size] or chosen
    return Planner(core, config, ranks).plan(face_batch(dataset, own), progress_bar=progress_bar)


class Planner:
    """Plans a scan step by step: each time the place that wins most in the mean over some faces.

    Won is what PSNR gains: the mean over the faces of log(MSE before) - log(MSE after), found by trying. All
    faces stand in the same places before, so a few dozen of them average out what is peculiar to each.

    Args:
        core: Gives the task and the enhancer; its own episodes are over.
        config: The grid of places, and the inhibition of return, which the plan heeds.
        ranks: The processes that share the faces.
    """

    def __init__(self, core: HallucinationCore, config: PolicyConfig, ranks: Ranks = ALONE) -> None:
        self.core, self.config, self.ranks = core, config, ranks
        self._inhibition = Inhibition(config).to(core.device) if config.inhibition else None

    @property
    def least_patches(self) -> int:
        """How many patches a plan enhances for every face, at least.

        Those of the coarse grid once, then one place a step, as the others may be forbidden; and every step.
        """
        return len(self._grid(self._coarsest())) - 1 + 2 * self.core.horizon

    def plan(self, faces: Tensor, *, progress_bar: bool = False) -> list[int]:
        """Places of the grid, one a step of an episode.

        Args:
            faces: This process's, uint8, (N, C, H, W).
            progress_bar: Show one.
        """
        core, places = self.core, []
        core.reset(faces)
        visits = torch.zeros(1, self.config.places, device=core.device)
        for _ in trange(core.horizon, desc="planning", unit="step", disable=not progress_bar):
            allowed = [True] * self.config.places
            if self._inhibition is not None:
                allowed = (~self._inhibition(visits)[0]).tolist()
            place = self._best(allowed)
            places.append(place)
            visits[0, place] += 1.0
            core.step(self._locations(place))
        return places

    def _best(self, allowed: Sequence[bool]) -> int:
        """The place that wins most, of a coarse grid at first, and then around the best ones ever finer."""
        won: dict[int, float] = {}
        pitch = self._coarsest()
        tried = self._grid(pitch)
        while True:
            for place in tried:
                if allowed[place] and place not in won:
                    won[place] = self._won(place)
            if pitch == 1 and won:
                return max(won, key=lambda place: won[place])
            pitch = max(1, pitch // 2)
            best = sorted(won, key=lambda place: won[place], reverse=True)[:_KEPT]
            # Where all places of a grid are forbidden, a finer one has others
            tried = [each for place in best for each in self._around(place, pitch)] or self._grid(pitch)

    def _coarsest(self) -> int:
        rows, columns = self.config.grid
        pitch = 1
        while (rows // (2 * pitch)) * (columns // (2 * pitch)) >= _COARSE:
            pitch *= 2
        return pitch

    def _grid(self, pitch: int) -> list[int]:
        rows, columns = self.config.grid
        half = pitch // 2
        return [
            row * columns + column
            for row in range(half, rows, pitch)
            for column in range(half, columns, pitch)
        ]

    def _around(self, place: int, pitch: int) -> Iterator[int]:
        rows, columns = self.config.grid
        row, column = divmod(place, columns)
        for down in (-pitch, 0, pitch):
            for right in (-pitch, 0, pitch):
                if 0 <= row + down < rows and 0 <= column + right < columns:
                    yield (row + down) * columns + column + right

    def _won(self, place: int) -> float:
        core = self.core
        before, after = core.mse, core.preview(self._locations(place))
        won = before.clamp_min(_NOTHING).log() - after.clamp_min(_NOTHING).log()
        return float(self.ranks.mean(won.mean()))

    def _locations(self, place: int) -> Tensor:
        location = int(self.config.location(torch.tensor(place)))
        return torch.full((self.core.rows,), location, device=self.core.device)
