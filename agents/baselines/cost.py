"""What one face costs a method: multiply-adds, counted by PyTorch while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils.flop_counter import FlopCounterMode

from agents.baselines.contract import Hallucinator


@torch.no_grad()
def multiply_adds(method: Hallucinator) -> int:
    """Multiply-adds of one face, from the small picture to the large one.

    Counted are matrix products and convolutions, as `torch.utils.flop_counter` sees them (it counts a
    multiply-add as two operations); point-wise arithmetic, pooling, sampling and the solving of linear
    systems are not. The making of I_0 is part of it, as a method that reads I_0 has to make it.

    Args:
        method: Trained or not: only shapes count.
    """
    low = torch.full((1, *method.degradation.low_shape), 0.5, device=method.device)
    training = method.training
    method.eval()
    try:
        with _unfused(), FlopCounterMode(display=False) as counter:
            method(low)
    finally:
        method.train(training)
    return int(counter.get_total_flops()) // 2


@contextmanager
def _unfused() -> Iterator[None]:
    """Runs an LSTM as the matrix products that it is: the counter does not know the fused kernels."""
    enabled = torch.backends.mkldnn.set_flags(_enabled=False, _fp32_precision=None)[0]  # type: ignore[no-untyped-call]
    try:
        with torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        torch.backends.mkldnn.set_flags(_enabled=enabled, _fp32_precision=None)  # type: ignore[no-untyped-call]
