"""Trained weights by name: those that come with the package, in folders of one's own, and on the Hub.

A *weights folder* holds ``config.json`` (for which task, and how it was trained), ``enhancer.safetensors``,
``policy.safetensors`` where a policy was trained as well, and ``README.md``, the model card; all weights in
half precision. ``python -m agents.export`` writes one from a training run. The folders beside this file come
with the package; others are found where the environment variable ``FACEHALL_WEIGHTS`` says.
"""

from facehall_env.pretrained.folder import (
    FILES,
    PretrainedWeights,
    WeightsTask,
    read_weights,
)
from facehall_env.pretrained.hub import get_weights, load_pretrained_enhancer, push_to_hub
from facehall_env.pretrained.registry import available_weights, weights_for

__all__ = [
    "FILES",
    "PretrainedWeights",
    "WeightsTask",
    "available_weights",
    "get_weights",
    "load_pretrained_enhancer",
    "push_to_hub",
    "read_weights",
    "weights_for",
]
