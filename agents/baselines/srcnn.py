"""SRCNN: super-resolution by three convolutions (Dong et al., ECCV 2014; TPAMI 38(2), 2016)."""

from __future__ import annotations

from torch import Tensor, nn

from agents.baselines.contract import Degradation
from agents.baselines.networks import Refiner
from agents.baselines.recipes import TrainingConfig
from facehall_env.arguments import whole


class SRCNN(Refiner):
    """Patch extraction, non-linear mapping, reconstruction: I_0 to the picture.

    =====  ======  ==========  ====================
    layer  kernel  channels    out
    =====  ======  ==========  ====================
    conv1  9x9     C -> 64     ReLU, (N, 64, H, W)
    conv2  1x1     64 -> 32    ReLU, (N, 32, H, W)
    conv3  5x5     32 -> C     linear, (N, C, H, W)
    =====  ======  ==========  ====================

    20,099 weights for RGB; ``kernels=(9, 5, 5)`` is the larger network of the journal version.

    We differ from the paper: all channels of a colour face go in and out where it takes the luminance; the
    borders are padded with zeros where it leaves them out; He's initialisation and Adam with a cosine
    schedule where it has N(0, 0.001) and plain SGD over 8e8 steps of backpropagation. As there, the last
    layer learns at a tenth of the rate (`slow`).

    Args:
        degradation: What it is made for.
        kernels: Of the three convolutions, odd.
        widths: Channels after the first and the second one.

    Raises:
        ValueError: If a setting is out of range.
    """

    name = "srcnn"
    recipe = TrainingConfig(learning_rate=1e-4, final_learning_rate=1e-5, slow_share=0.1)
    expects_pretraining = True

    def __init__(
        self,
        degradation: Degradation,
        *,
        kernels: tuple[int, int, int] = (9, 1, 5),
        widths: tuple[int, int] = (64, 32),
    ) -> None:
        for place, kernel in enumerate(kernels):
            if whole(f"kernels[{place}]", kernel) % 2 == 0:
                raise ValueError(f"kernels[{place}] is {kernel}, but it must be odd to keep pictures' size")
        for place, width in enumerate(widths):
            whole(f"widths[{place}]", width)
        super().__init__(degradation, kernels=tuple(kernels), widths=tuple(widths))
        c = degradation.channels
        channels = (c, *widths, c)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel, padding=kernel // 2)
            for before, after, kernel in zip(channels[:-1], channels[1:], kernels, strict=True)
        )
        start_at_he(self)

    def slow(self) -> list[nn.Parameter]:
        """The last layer."""
        return list(self.convolutions[-1].parameters())

    def refine(self, initial: Tensor) -> Tensor:
        """I_0 (N, C, h, w) to the picture, (N, C, h, w)."""
        features = initial
        for layer in self.convolutions[:-1]:
            features = layer(features).relu()
        picture: Tensor = self.convolutions[-1](features)
        return picture


def start_at_he(network: nn.Module) -> None:
    """He's initialisation for all convolutions and linear layers, biases at zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
