"""EDSR: residual blocks at low resolution, sub-pixel up-sampling (Lim et al., CVPR Workshops 2017)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Self

from torch import Tensor

from agents.baselines.contract import Degradation
from agents.baselines.networks import NetworkHallucinator
from agents.baselines.recipes import TrainingConfig
from agents.baselines.run import weight_file
from facehall_env.prior import FacePrior, PriorConfig


class EDSR(NetworkHallucinator):
    """The network of `facehall_env.prior.FacePrior` as a method of its own; not one of the paper's systems.

    The small picture (N, C, H/s, W/s) -> conv 3x3 C -> F, plus F learned features of each cell -> B residual
    blocks of two convolutions 3x3, F -> F, with a ReLU between and no batch normalisation -> conv 3x3 F ->
    C*s*s -> the pixels of the cells, (N, C, H, W), added to the aligned bicubic enlargement. Since it works
    at low resolution it costs a fraction of the networks that read I_0.

    It stands among the baselines because whoever gives its weights to the local enhancement network
    (``enhancer.prior``) must know what they do alone.

    We differ from the paper: the cells' own features (faces are aligned, so a cell knows whether it holds an
    eye); no upper half of the network after the up-sampling, which is one step; the squared error, which PSNR
    measures, where it takes the absolute one.

    Args:
        degradation: What it is made for.
        features: F.
        blocks: B.
        placed: Whether cells have features of their own.

    Raises:
        ValueError: If a setting is out of range.
    """

    name = "edsr"
    reads_initial = False
    recipe = TrainingConfig(learning_rate=1e-3, betas=(0.9, 0.99))

    def __init__(
        self, degradation: Degradation, *, features: int = 64, blocks: int = 8, placed: bool = True
    ) -> None:
        super().__init__(degradation, features=features, blocks=blocks, placed=placed)
        self.network = FacePrior(
            PriorConfig(
                degradation.channels,
                degradation.height,
                degradation.width,
                degradation.scale,
                features=features,
                blocks=blocks,
                placed=placed,
            )
        )

    def take_over(self, other: Self) -> None:
        """As the other, which may have fewer blocks and features, see `facehall_env.prior.FacePrior.grow`."""
        own, theirs = self.network.config, other.network.config
        smaller = theirs.blocks <= own.blocks and theirs.features <= own.features
        if smaller and replace(theirs, blocks=own.blocks, features=own.features) == own:
            self.network.grow(other.network)
        else:
            super().take_over(other)

    def forward(self, low_resolution: Tensor) -> Tensor:
        """(N, C, H/s, W/s) to (N, C, H, W)."""
        picture: Tensor = self.network(low_resolution * 2.0 - 1.0)
        return (picture + 1.0) * 0.5


def load_prior(path: str | Path) -> FacePrior:
    """The network of a trained `EDSR`, for `facehall_env.enhancer.make_enhancer`.

    Args:
        path: A weight file, or the run folder of ``python -m agents.baselines --method edsr``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is cut off, or holds another method or one that has not learned.
    """
    method = EDSR.load(weight_file(Path(path)))
    if not method.fitted:
        raise ValueError(f"the prior in {path} has not learned anything yet: train it first")
    return method.network
