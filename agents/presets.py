"""Named settings of `agents.reinforce.RecurrentReinforce`."""

from __future__ import annotations

from typing import Any, Final

PAPER: Final[dict[str, Any]] = {
    "learning_rate": 2e-4,
    "n_faces": 32,
    "n_rollouts": 1,
    "reward": "terminal",
    "baseline": "scalar",
    "ent_coef": 0.0,
    "imitation_updates": 0,
    "coupling": "alternating",
    "enhancer_learning_rate": 2e-4,
    "enhancer_betas": (0.5, 0.999),
    "policy_kwargs": {"stride": 1, "history": "last", "head": "flat", "policy_input": "current"},
}
"""Cao et al. (2017), sections 3.1 and 3.3: every step is credited with the terminal reward, less a learned
scalar; the policy is one linear layer from the LSTM to all W*H locations. Advantages are divided by their
standard deviation all the same, without which a reward of about -0.003 moves nothing. ``configs/paper.yaml``
says the same to train_agent.py."""

PRESETS: Final[dict[str, dict[str, Any]]] = {"default": {}, "paper": PAPER}
"""By name: ``default``, the constructor's own defaults, and ``paper``."""
