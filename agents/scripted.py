"""Agents that do not learn: what a policy has to beat, and the one that sees the answer."""

from __future__ import annotations

from typing import Literal, Protocol, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from agents.distributed import ALONE, Ranks
from facehall_env.arguments import one_of
from facehall_env.core import HallucinationCore


class CoreAgent(Protocol):
    """Chooses locations for all rows of a core at once."""

    def begin(self, core: HallucinationCore) -> None:
        """A batch of episodes was reset."""

    def select(self, core: HallucinationCore) -> Tensor:
        """Locations for the next step: int64, (N,), on the core's device."""


class RandomPatch:
    """Uniform over all H*W locations (the paper's "random patch").

    Args:
        seed: Of the locations.
        ranks: The processes that share the rows; the draws are those of all of them.
    """

    def __init__(self, seed: int = 0, ranks: Ranks = ALONE) -> None:
        self.generator, self.ranks = torch.Generator().manual_seed(seed), ranks

    def begin(self, core: HallucinationCore) -> None:
        """Nothing to remember."""

    def select(self, core: HallucinationCore) -> Tensor:
        """Draw one location a row."""
        draws = self.ranks.randint(core.geometry.locations, core.rows, self.generator)
        return draws.to(core.device, non_blocking=True)


def covering_locations(core: HallucinationCore) -> Tensor:
    """The fewest patches, evenly spread and all inside, that cover the picture, row by row: int64, (M,)."""
    geometry = core.geometry

    def spread(size: int, patch: int, before: int) -> list[int]:
        count = -(-size // patch)
        return [before + round(i * (size - patch) / max(1, count - 1)) for i in range(count)]

    rows = spread(geometry.height, geometry.rows, geometry.above)
    columns = spread(geometry.width, geometry.columns, geometry.left)
    places = [row * geometry.width + column for row in rows for column in columns]
    return torch.tensor(places, device=core.device)


class RasterScan:
    """Walks over the covering patches again and again, left to right, top to bottom, whatever they show."""

    def begin(self, core: HallucinationCore) -> None:
        """Lay out the scan."""
        self._places = covering_locations(core)

    def select(self, core: HallucinationCore) -> Tensor:
        """The next place of the scan, the same in all rows."""
        return self._places[core.t % len(self._places)].expand(core.rows)


OracleCriterion = Literal["error", "gain"]
Ties = Literal["random", "order"]


def patch_sums(core: HallucinationCore, values: Tensor) -> Tensor:
    """Sum of a per-pixel map over the patch of every location; what lies outside the picture counts nothing.

    Args:
        core: Gives the geometry.
        values: (N, H, W).

    Returns:
        (N, H, W); entry (row, column) belongs to the location there.
    """
    geometry = core.geometry
    below, right = geometry.rows - 1 - geometry.above, geometry.columns - 1 - geometry.left
    padded = F.pad(values, (geometry.left + 1, right, geometry.above + 1, below))
    table = padded.double().cumsum(1).cumsum(2)  # an integral image loses too much in single precision
    h, w = geometry.rows, geometry.columns
    centred = (table[:, h:, w:] - table[:, :-h, w:] - table[:, h:, :-w] + table[:, :-h, :-w]).float()
    # Where the boundary moves patches inside, a location has the sum of the patch that it gets
    top, left = geometry.corners(torch.arange(geometry.locations, device=values.device))
    centre = (top + geometry.above) * geometry.width + left + geometry.left
    return centred.flatten(1)[:, centre].view_as(centred)


class ErrorMap:
    """How much every location has to win, known from the HR pictures.

    ``error``: the squared error inside the patch (the paper's reading of an oracle). ``gain``: by how much
    the squared error would fall if the patch were replaced by that of a picture enhanced everywhere once (a
    raster scan, nine enhanced patches a face at the start): error that the network cannot mend attracts no
    look, which matters as soon as an enhancer mends only a part.

    Args:
        criterion: ``"error"`` or ``"gain"``.
    """

    def __init__(self, criterion: OracleCriterion = "gain") -> None:
        if criterion not in ("error", "gain"):
            raise ValueError(f"criterion is {criterion!r}, but it must be 'error' or 'gain'")
        self.criterion = criterion

    def begin(self, core: HallucinationCore) -> None:
        """Enhance every picture once, if the criterion asks for it; `core` starts its episodes."""
        if self.criterion == "gain":
            preview = core.replica(horizon=len(covering_locations(core)))
            preview.reset(core.high_resolution)
            scan = RasterScan()
            scan.begin(preview)
            while not preview.terminated:
                preview.step(scan.select(preview))
            self._mendable = self._squared_error(preview)

    def __call__(self, core: HallucinationCore) -> Tensor:
        """What every location has to win now: (N, H, W), squared pixels in [0, 1], summed over the patch."""
        error = self._squared_error(core)
        if self.criterion == "gain":
            error = error - self._mendable
        return patch_sums(core, error)

    @staticmethod
    def _squared_error(core: HallucinationCore) -> Tensor:
        return (core.current.clamp(-1.0, 1.0) - core.target).square().sum(dim=1) / 4.0


class GreedyOracle:
    """Looks where the error map is highest; an upper bound, since it knows the HR picture.

    Args:
        criterion: See `ErrorMap`.
    """

    def __init__(self, criterion: OracleCriterion = "gain") -> None:
        self.error_map = ErrorMap(criterion)

    def begin(self, core: HallucinationCore) -> None:
        """Prepare the error map."""
        self.error_map.begin(core)

    def select(self, core: HallucinationCore) -> Tensor:
        """The location with most to win."""
        return self.error_map(core).flatten(1).argmax(dim=1)


class CoverageGreedy:
    """Looks where the patch newly covers most of the picture, whatever the picture shows.

    What a policy has to beat that has only learned not to look twice at one place. Pixels are covered by this
    agent's own patches; where a whole picture is covered, it begins anew, so that pixels are enhanced about
    equally often.

    Args:
        ties: ``"random"``: one of the best places, each as likely as the others; ``"order"``: the first one
            in row-major order, which packs patches from the top left corner.
        seed: Of the ties.

    Raises:
        ValueError: If `ties` is neither.
    """

    def __init__(self, ties: Ties = "random", seed: int = 0) -> None:
        if ties not in get_args(Ties):
            raise ValueError(f"ties is {ties!r}, but it must be one of {', '.join(get_args(Ties))}")
        self.ties: Ties = ties
        self.generator = torch.Generator().manual_seed(seed)

    def begin(self, core: HallucinationCore) -> None:
        """Nothing is covered."""
        geometry = core.geometry
        canvas = (core.rows, geometry.canvas_height * geometry.canvas_width)
        self._covered = torch.zeros(canvas, dtype=torch.bool, device=core.device)

    def select(self, core: HallucinationCore) -> Tensor:
        """The place that newly covers most; its patch counts as covered from then on."""
        geometry = core.geometry
        newly = patch_sums(core, 1.0 - geometry.to_picture(self._covered[:, None])[:, 0].float()).flatten(1)
        if self.ties == "random":  # whole numbers of pixels, so less than one decides among equals only
            newly = newly + 0.5 * torch.rand(newly.shape, generator=self.generator).to(core.device)
        location = newly.argmax(dim=1)
        window = geometry.window(location)
        geometry.cover(self._covered, window, geometry.inside(window))
        self._covered[geometry.coverage(self._covered) == 1.0] = False
        return location


Chooser = Literal["random", "raster", "oracle"]


def make_chooser(name: Chooser, seed: int = 0, ranks: Ranks = ALONE) -> CoreAgent:
    """An agent that does not learn, by a short name.

    Args:
        name: ``"random"``, ``"raster"`` or ``"oracle"``.
        seed: Of random locations.
        ranks: The processes that share the rows.

    Raises:
        ValueError: If the name is none of these.
    """
    one_of("chooser", name, Chooser)
    if name == "random":
        return RandomPatch(seed, ranks)
    return RasterScan() if name == "raster" else GreedyOracle()
