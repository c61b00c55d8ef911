"""The prior: what the small picture alone says about the large one, before anybody looks closer.

Faces that are aligned have their eyes in the same cells of the small picture, so a residual network that
works at low resolution, where a convolution costs s^2 times less, and knows in which cell it stands, learns
most of what there is to know. Beyond the paper, where the input of the local enhancement network is the
enlarged picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facehall_env.arguments import colours, whole
from facehall_env.resample import Resampler


@dataclass(frozen=True)
class PriorConfig:
    """Everything that fixes the shape of a `FacePrior`.

    Attributes:
        channels: C of the picture, 1 or 3.
        height: H of the picture.
        width: W of the picture.
        scale: s; the network reads H/s x W/s pixels.
        features: Channels of the residual blocks.
        blocks: How many residual blocks.
        placed: Whether every cell has features of its own that are added before the first block.
    """

    channels: int = 3
    height: int = 128
    width: int = 128
    scale: int = 8
    features: int = 64
    blocks: int = 8
    placed: bool = True

    def __post_init__(self) -> None:
        """Refuse what no network can be built from, naming the field."""
        for name in ("height", "width", "features"):
            whole(name, getattr(self, name))
        whole("blocks", self.blocks, least=0)
        colours(self.channels)
        Resampler(self.height, self.width, self.scale)  # refuses a scale that does not divide the sides


class _ResidualBlock(nn.Module):
    """Two convolutions with a ReLU between, added to what came in, without batch normalisation."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        added: Tensor = self.second(F.relu(self.first(features)))
        return features + added


class FacePrior(nn.Module):
    """Residual blocks at low resolution and sub-pixel up-sampling, as EDSR (Lim et al., CVPRW 2017).

    convolution C -> F, plus F features of each cell; B residual blocks; convolution F -> C*s*s, whose
    channels are the s x s pixels of each cell (Shi et al., CVPR 2016); the sum with the aligned bicubic
    enlargement. All kernels are 3x3. The last layer starts at zero, so that the untrained network is that
    enlargement.

    What comes out does not depend on the protocol: both shrink alike, and I_0 is not read.

    Args:
        config: The shape of the network.
    """

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.config = config
        c, s, f = config.channels, config.scale, config.features
        self.first = nn.Conv2d(c, f, 3, padding=1)
        cells = (config.height // s, config.width // s)
        self.places = nn.Parameter(torch.zeros(1, f, *cells)) if config.placed else None
        self.blocks = nn.Sequential(*(_ResidualBlock(f) for _ in range(config.blocks)))
        self.last = nn.Conv2d(f, c * s * s, 3, padding=1)
        self.resampler = Resampler(config.height, config.width, s)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """PyTorch's draws, residuals at a tenth of them, nothing in the last layer."""
        for block in self.blocks:
            assert isinstance(block, _ResidualBlock)
            with torch.no_grad():
                block.second.weight.mul_(0.1)
            nn.init.zeros_(block.second.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    @torch.no_grad()
    def grow(self, smaller: FacePrior) -> None:
        """Begin with what a network of fewer blocks or features has learned, and answer as it does.

        Blocks beyond its own pass on what comes in. Features beyond its own are drawn, as of a new network,
        but its own do not read them yet.

        Args:
            smaller: The same but for its blocks and features, of which it has no more.
        """
        theirs = smaller.state_dict()
        for name, weight in self.state_dict().items():
            if name in theirs:
                learned = theirs[name]
                if weight.dim() == 4:  # all but the biases: what is read stands second
                    weight[: learned.shape[0], learned.shape[1] :] = 0.0
                weight[tuple(slice(size) for size in learned.shape)] = learned
            elif ".second." in name:
                weight.zero_()

    def forward(self, low_resolution: Tensor) -> Tensor:
        """Guess the large pictures.

        Args:
            low_resolution: The exact averages over s x s pixels, (N, C, H/s, W/s) in [-1, 1].

        Returns:
            (N, C, H, W), not clamped, float32.

        Raises:
            ValueError: If the pictures have another shape than the network was made for.
        """
        config = self.config
        wanted = (config.channels, config.height // config.scale, config.width // config.scale)
        if tuple(low_resolution.shape[1:]) != wanted:
            raise ValueError(
                f"the prior was made for small pictures of shape {wanted} (channels, rows, columns), not "
                f"{tuple(low_resolution.shape[1:])}"
            )
        features = self.first(low_resolution)
        if self.places is not None:
            features = features + self.places
        # Channels last, as the CPU's convolutions want few pixels with many channels
        features = self.blocks(features.contiguous(memory_format=torch.channels_last))
        residual = F.pixel_shuffle(self.last(features), config.scale)
        return self.resampler.enlarge(low_resolution) + residual.float()
