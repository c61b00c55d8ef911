"""What a return is compared with: the baselines of REINFORCE, all independent of the action they judge."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from agents.distributed import ALONE, Ranks

Baseline = Literal["scalar", "batch", "leave_one_out", "self_critical", "value"]


def batch_mean(returns: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """The mean over the batch, of all processes, at every step; (T, N) to (T, N)."""
    return ranks.mean(returns.mean(dim=1, keepdim=True)).expand_as(returns)


def leave_one_out(returns: Tensor, n_rollouts: int) -> Tensor:
    """The mean over the other rollouts of the same face at every step (Kool et al. 2019), without bias.

    Args:
        returns: (T, N), the K rollouts of a face side by side.
        n_rollouts: K, at least 2.

    Returns:
        (T, N).
    """
    by_face = returns.view(len(returns), -1, n_rollouts)
    others = by_face.sum(dim=2, keepdim=True) - by_face
    return (others / (n_rollouts - 1)).view_as(returns)


def unit_of(deviations: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """The standard deviation of returns from their baseline, to divide by; 1 where they do not differ.

    Args:
        deviations: Returns less their baseline, (T, N).
        ranks: The processes that share the batch.

    Returns:
        A positive scalar.
    """
    centred = deviations - ranks.mean(deviations.mean())
    deviation = ranks.mean(centred.square().mean()).sqrt()
    return torch.where(deviation > 0, deviation, torch.ones_like(deviation))
