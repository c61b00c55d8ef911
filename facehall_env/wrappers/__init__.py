"""The environment in other shapes, for agents that want other observations or actions.

- `VisitChannel`: the observation gets one more channel; for agents without a memory (PPO, A2C).
- `StrideGridLocation`: actions ``Discrete`` on a coarse grid; for agents with one output an action.
- `RowColumnLocation`: actions ``MultiDiscrete([H, W])``; every pixel with H + W outputs.
- `ContinuousLocation`: actions ``Box(-1, 1, (2,))``; for continuous control, and the authors' code.
- `VisitMask`: a method ``action_masks()``; for MaskablePPO of sb3-contrib.

They are Gymnasium wrappers of the single environment, can be put upon each other (the mask outermost), are
written into ``env.spec`` and so into its JSON, and run in Stable-Baselines3's ``DummyVecEnv``::

    DummyVecEnv([lambda: VisitChannel(gym.make("FaceHallucination-Synthetic-x8"))] * 8)

Two more shapes are arguments of the environment itself. ``observation="dict"`` tells an agent without a
memory the time and the previous location beside the pictures; take it with a policy for dictionaries. That of
Stable-Baselines3 (``MultiInputPolicy``) has no use for pictures under 36x36: leave the small one out with
``gymnasium.wrappers.FilterObservation(env, ["image", "location", "time"])``.

``reward="delta"`` pays the decrease of the error at every step: the return is that of ``terminal`` up to a
constant of the face, with far less variance, so take it wherever an agent learns. ``reward="terminal"``, the
paper's, is what to evaluate by. ``reward="coverage"`` is that of the authors' code: it teaches to cover the
picture, and hardly anything else.
"""

from facehall_env.wrappers.locations import ContinuousLocation, RowColumnLocation, StrideGridLocation
from facehall_env.wrappers.masks import VisitMask
from facehall_env.wrappers.visits import VisitChannel

__all__ = ["ContinuousLocation", "RowColumnLocation", "StrideGridLocation", "VisitChannel", "VisitMask"]
