"""Named sets of hyperparameters for `RecurrentReinforce`."""

from __future__ import annotations

from typing import Any, Final

PAPER: Final[dict[str, Any]] = {
    "learning_rate": 2e-4,
    "n_faces": 32,
    "n_rollouts": 1,
    "reward": "terminal",
    "baseline": "scalar",
    "normalize_advantage": True,
    "ent_coef": 0.0,
    "max_grad_norm": 1.0,
    "imitation_updates": 0,
    "coupling": "alternating",
    "enhancer_learning_rate": 2e-4,
    "enhancer_betas": (0.5, 0.999),
    "enhancer_ema": 0.0,
    "enhancer_updates": 25,
    "enhancer_batch_size": 32,
    "backprop_through_image": False,
    "flip": False,
    "policy_kwargs": {
        "stride": 1,
        "history": "last",
        "head": "flat",
        "policy_input": "current",
        "picture_features": 256,
        "history_features": 128,
        "lstm_features": 512,
        "inhibition": 0.0,
    },
}
"""Cao et al. (CVPR 2017) as printed: 32 faces, one episode each, the terminal return credited to every step
against a learned scalar, one linear layer to all H*W places, and then one pass over the 25 x 32 patches for
the enhancer.

What the paper leaves open is settled here. The policy's learning rate is the enhancer's; its Adam keeps
PyTorch's betas. Advantages are divided by their standard deviation, since returns differ by about 1e-3
from episode to episode (Adam undoes the scale of a gradient, but not its epsilon nor the clipping;
``normalize_advantage=False`` is the text to the letter). There is no entropy bonus and no mirroring;
gradient norms are clipped at 1. The history is the previous place (``last``); the paper's "history
actions" can also be read as the counts of all visits: ``policy_kwargs={"history": "visits",
"history_features": 256}``."""

AUTHORS: Final[dict[str, Any]] = {
    "learning_rate": 2e-4,
    "n_faces": 32,
    "n_rollouts": 1,
    "rows_per_pass": 32,
    "reward": "coverage",
    "baseline": "scalar",
    "vf_coef": 0.02,
    "normalize_advantage": False,
    "ent_coef": 0.0,
    "max_grad_norm": float("inf"),
    "imitation_updates": 0,
    "coupling": "joint",
    "enhancer_learning_rate": 2e-4,
    "enhancer_betas": (0.5, 0.999),
    "enhancer_ema": 0.0,
    "backprop_through_image": False,
    "flip": False,
    "policy_kwargs": {
        "stride": 1,
        "history": "last",
        "head": "gaussian",
        "policy_input": "both",
        "picture_features": 256,
        "history_features": 128,
        "lstm_features": 512,
        "location_std": 0.22,
        "inhibition": 0.0,
    },
}
"""The code that the authors of Cao et al. (CVPR 2017) released, which is another policy than the paper's: a
Gaussian around one point of the picture (`agents.gaussian`), paid at the end for the share of the picture
that it covered, with weight 4 (the environment's default `coverage_weight`), less the MSE, against a learned
scalar that takes 2 % of the way to the mean return at every update; one update of policy and enhancer from
the same 32 episodes; neither clipping nor an entropy bonus (the entropy of this Gaussian is constant).

What differs from it: there one Adam with betas (0.5, 0.999) updates all weights, here the policy has its own
with PyTorch's betas; there the enhancer also reads the recurrent state, whose gradient thus reaches the
policy; there the error in the reward is summed over channels in [-1, 1], 12 times ours, which next to the
coverage changes next to nothing."""

PRESETS: Final[dict[str, dict[str, Any]]] = {"default": {}, "paper": PAPER, "authors": AUTHORS}
"""Name -> constructor arguments; ``default`` is the constructor's own."""


def preset_arguments(name: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """The constructor arguments of a preset.

    Args:
        name: A key of `PRESETS`.
        overrides: Arguments that replace the preset's; ``policy_kwargs`` replaces field by field.

    Returns:
        A fresh dictionary.

    Raises:
        ValueError: If there is no such preset.
    """
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}; the presets are {', '.join(PRESETS)}")
    preset = PRESETS[name]
    policy_kwargs = preset.get("policy_kwargs", {}) | (overrides.get("policy_kwargs") or {})
    return preset | overrides | {"policy_kwargs": policy_kwargs}
