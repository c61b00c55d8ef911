"""GLN: a global and a local network (Tuzel, Taguchi and Hershey, arXiv:1603.07235, 2016)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from agents.baselines.contract import Degradation
from agents.baselines.networks import NetworkHallucinator
from agents.baselines.recipes import TrainingConfig
from agents.baselines.srcnn import start_at_he
from facehall_env.arguments import whole

_KERNELS = (5, 7, 7, 7, 7, 7, 5, 5)


class GLN(NetworkHallucinator):
    """The face as a whole by fully connected layers, its details by convolutions; reads the small picture.

    1. Up-sampling: one transposed convolution C -> C, stride s, kernel 2s, padding s/2, that starts as
       bilinear interpolation and is trained: (N, C, H, W).
    2. Global stream: fully connected, at x4 and below C*H*W/s^2 -> 512 -> 256 -> 512, above
       256 -> 256 -> 256, ReLU after each, then -> C*H*W: (N, C, H, W).
    3. Local network LN8 over both, (N, 2C, H, W): convolutions of 16 (5x5), 32, 64, 64, 64, 32 (7x7),
       16 (5x5), C (5x5) channels, ReLU between, the last linear: (N, C, H, W).

    Adam, 2e-4. He's initialisation, the last layer of the global stream at a twentieth of it (a map as loud
    as the picture but unrelated to it hides what the convolutions have to learn).

    We differ from the paper: the mean squared error alone, since its adversarial stage lowers PSNR; colour
    faces at 128x128.

    Args:
        degradation: What it is made for; the scale must be even.
        hidden: Widths of the global stream; empty: those of the paper.
        widths: Channels after the first seven convolutions of the local network.

    Raises:
        ValueError: If a setting is out of range, or the scale is odd.
    """

    name = "gln"
    reads_initial = False
    recipe = TrainingConfig(learning_rate=2e-4)

    def __init__(
        self,
        degradation: Degradation,
        *,
        hidden: tuple[int, ...] = (),
        widths: tuple[int, ...] = (16, 32, 64, 64, 64, 32, 16),
    ) -> None:
        c, s = degradation.channels, degradation.scale
        if s % 2:
            raise ValueError(f"scale is {s}, but the transposed convolution of gln needs an even one")
        if len(widths) != len(_KERNELS) - 1:
            raise ValueError(f"widths is {widths}, but it must name {len(_KERNELS) - 1} channel counts")
        for name, counts in (("hidden", hidden), ("widths", widths)):
            for place, count in enumerate(counts):
                whole(f"{name}[{place}]", count)
        super().__init__(degradation, hidden=tuple(hidden), widths=tuple(widths))
        features = tuple(hidden) or ((512, 256, 512) if s <= 4 else (256, 256, 256))
        _, rows, columns = degradation.low_shape
        sizes = (c * rows * columns, *features)
        stream: list[nn.Module] = []
        for before, after in pairwise(sizes):
            stream += [nn.Linear(before, after), nn.ReLU()]
        self.upsampling = nn.ConvTranspose2d(c, c, 2 * s, stride=s, padding=s // 2)
        self.global_stream = nn.Sequential(
            *stream, nn.Linear(sizes[-1], c * degradation.height * degradation.width)
        )
        channels, layers = (2 * c, *widths, c), []
        for before, after, kernel in zip(channels[:-1], channels[1:], _KERNELS, strict=True):
            layers += [nn.Conv2d(before, after, kernel, padding=kernel // 2), nn.ReLU()]
        self.local_network = nn.Sequential(*layers[:-1])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with bilinear interpolation, a quiet global map, and He's initialisation elsewhere."""
        start_at_he(self)
        loud = self.global_stream[-1]
        assert isinstance(loud, nn.Linear)
        s = self.degradation.scale
        tent = 1.0 - (torch.arange(2 * s) - (s - 0.5)).abs() / s
        with torch.no_grad():
            loud.weight.mul_(0.05)
            self.upsampling.weight.zero_()
            for channel in range(self.degradation.channels):
                self.upsampling.weight[channel, channel] = tent[:, None] * tent
            nn.init.zeros_(self.upsampling.bias)  # type: ignore[arg-type]

    def forward(self, low_resolution: Tensor) -> Tensor:
        """(N, C, H/s, W/s) to (N, C, H, W)."""
        upsampled = self.upsampling(low_resolution)
        features = self.global_stream(low_resolution.flatten(1)).view(-1, *self.degradation.high_shape)
        picture: Tensor = self.local_network(torch.cat((upsampled, features), dim=1))
        return picture
