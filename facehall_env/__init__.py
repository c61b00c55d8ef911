"""The environment: everything needed to step it, nothing that learns.

Importing this package registers the environments::

    import facehall_env
    env = gymnasium.make("FaceHallucination-Synthetic-x8")
"""

from facehall_env._version import __version__
from facehall_env.core import HallucinationCore
from facehall_env.datasets import FaceDataset, load_dataset
from facehall_env.enhancer import (
    Enhancer,
    EnhancerConfig,
    EnhancerInput,
    LocalEnhancementNetwork,
    load_enhancer,
    make_enhancer,
)
from facehall_env.env import FaceHallucinationEnv
from facehall_env.pretrained import (
    PretrainedWeights,
    available_weights,
    get_weights,
    load_pretrained_enhancer,
    push_to_hub,
)
from facehall_env.registration import ENV_IDS, register_envs
from facehall_env.vector import FaceHallucinationVectorEnv

__all__ = [
    "ENV_IDS",
    "Enhancer",
    "EnhancerConfig",
    "EnhancerInput",
    "FaceDataset",
    "FaceHallucinationEnv",
    "FaceHallucinationVectorEnv",
    "HallucinationCore",
    "LocalEnhancementNetwork",
    "PretrainedWeights",
    "__version__",
    "available_weights",
    "get_weights",
    "load_dataset",
    "load_enhancer",
    "load_pretrained_enhancer",
    "make_enhancer",
    "push_to_hub",
    "register_envs",
]

register_envs()
