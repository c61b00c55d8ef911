"""Bicubic interpolation: I_0 itself, what every other method is measured against."""

from __future__ import annotations

from torch import Tensor

from agents.baselines.contract import Degradation, Hallucinator


class Bicubic(Hallucinator):
    """I_0 of the protocol (`facehall_env.resample`), clamped. Nothing to learn.

    Args:
        degradation: What it is made for.
    """

    name = "bicubic"
    learns = False

    def __init__(self, degradation: Degradation) -> None:
        super().__init__(degradation)

    def forward(self, low_resolution: Tensor) -> Tensor:
        """I_0, (N, C, H, W)."""
        return self.initial(low_resolution)
