"""VDSR: twenty small convolutions and a global residual (Kim et al., CVPR 2016), and CNN-16."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from torch import Tensor, nn

from agents.baselines.contract import Degradation
from agents.baselines.networks import Refiner
from agents.baselines.recipes import TrainingConfig
from agents.baselines.srcnn import start_at_he
from facehall_env.arguments import whole

ORIGINAL: Final = TrainingConfig(
    optimizer="sgd",
    learning_rate=0.1,
    schedule="steps",
    warmup=0,
    momentum=0.9,
    weight_decay=1e-4,
    loss="sum",
    clip="rate",
    clip_at=0.4,
    batch_size=64,
)
"""The paper's own recipe: SGD, the summed loss, each gradient clipped to theta / learning rate, the rate
divided by ten after each quarter of the updates. The paper does not print theta; 0.4 is a common choice."""


class VDSR(Refiner):
    """I_0 plus a residual: `depth` convolutions 3x3 of `width` channels, ReLU between, the last linear.

    I_0 (N, C, H, W) -> conv C -> 64 -> 18 times conv 64 -> 64 -> conv 64 -> C -> added to I_0. 668,227
    weights for RGB. He's initialisation.

    We differ from the paper: all channels where it takes the luminance; whole faces where it takes 41x41
    patches; one scale a network; by default Adam from 1e-3 to 1e-4 on a cosine with the gradient's norm
    clipped (`ORIGINAL` is the paper's recipe, which configurations select field by field).

    Args:
        degradation: What it is made for.
        depth: Convolutions.
        width: Channels between them.

    Raises:
        ValueError: If a setting is out of range.
    """

    name = "vdsr"
    recipe = TrainingConfig(learning_rate=1e-3, final_learning_rate=1e-4)
    expects_pretraining = True

    def __init__(self, degradation: Degradation, *, depth: int = 20, width: int = 64) -> None:
        super().__init__(degradation, depth=whole("depth", depth, least=2), width=whole("width", width))
        channels = (degradation.channels, *((depth - 1) * (width,)), degradation.channels)
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers[:-1])
        start_at_he(self)

    def refine(self, initial: Tensor) -> Tensor:
        """I_0 (N, C, h, w) plus its residual."""
        residual: Tensor = self.convolutions(initial)
        return initial + residual.to(initial.dtype)


class CNN16(VDSR):
    """VDSR with sixteen convolutions: the paper's plain convolutional network without attention (Table 3).

    Args:
        degradation: What it is made for.
        depth: Convolutions.
        width: Channels between them.
    """

    name = "cnn16"

    def __init__(self, degradation: Degradation, *, depth: int = 16, width: int = 64) -> None:
        super().__init__(degradation, depth=depth, width=width)
