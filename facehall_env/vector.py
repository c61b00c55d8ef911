"""The face for Gymnasium's vector API: the core with N rows, one forward pass a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import logger
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from torch import Tensor

from facehall_env.arguments import whole
from facehall_env.enhancer import Enhancer
from facehall_env.env import NO_RENDER_MODE
from facehall_env.episodes import Array, Episodes
from facehall_env.sampling import FaceOrder, Indices, chosen_faces
from facehall_env.task import FaceTask

Observation = Array | dict[str, Array]
Told = dict[str, Any]


class FaceHallucinationVectorEnv(VectorEnv[Any, Any, Any]):
    """N episodes of `FaceHallucinationEnv` side by side, enhanced in one batch.

    ## Description

    ``gym.make_vec(id, num_envs=N, **arguments)`` makes it. Row i does what ``gym.make(id, **arguments)`` does
    with the seed of that row: bit for bit with the identity as enhancer, within 1e-5 and one gray level with
    a network, whose batched arithmetic rounds differently. All rows are at the same step, so a step is one
    forward pass.

    ## Action Space

    ``MultiDiscrete([H*W] * N)``: the centres of the patches, row-major, integers of shape (N,).

    ## Observation Space

    That of the single environment with a leading axis of N: ``Box(0, 255, (N, H, W, C), uint8)``, or with
    ``observation="dict"`` a dictionary of such arrays. With ``to_numpy=False`` tensors of these shapes and
    types.

    ## Rewards

    As in the single environment: float64, (N,); float32 tensors with ``to_numpy=False``.

    ## Starting State

    ``reset(seed=s)`` seeds row i with s + i, a list of N seeds (None leaves a row's generator alone) seeds
    every row by its own. ``sampling="random"``: every row draws its faces from its own generator.
    ``sampling="sequential"``: the rows share one walk through the split; the k-th faces of the N rows are
    those that a single environment would meet as its k N-th to (k N + N - 1)-th, so a sweep of the split
    takes len / N episodes a row and meets every face exactly once. Where N does not divide the split, the
    last batch goes on with the first faces again: drop its surplus rows.

    ``reset(options={"index": [...]})`` gives every row its face (one integer: all rows the same one).
    ``options={"reset_mask": mask}`` must ask for all rows: they stay in step.

    ## Episode End

    After T steps all rows terminate together; nothing is truncated. ``metadata["autoreset_mode"]`` is
    ``NEXT_STEP``: the next step starts the next episodes, whatever its actions; its rewards are 0.

    ## Arguments

    Those of `FaceTask`, and ``num_envs`` (N), ``render_mode`` and ``to_numpy``: True gives numpy arrays,
    False tensors on the device of the core, actions being taken as tensors too. Between two resets such a
    step neither copies to the host nor waits for the device; so the values of actions on an accelerator
    are not checked, and must be legal.

    Gymnasium's own processes, ``vectorization_mode="async"``, step single environments instead; with
    ``device="cuda"`` they need ``vector_kwargs={"context": "spawn"}``, as CUDA cannot be forked.

    ## Info

    The keys of the single environment, each an array of shape (N,) beside a mask ``_key`` that says which
    rows it holds for: all. Pictures: `pictures`.

    ## Rendering

    ``render_mode="rgb_array"``: `render` gives a tuple of N frames, those of the single environments.

    ## Registered ids

    Those of `FaceHallucinationEnv`.

    Raises:
        ValueError: If an argument is out of range; the message names it.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (Gymnasium's name and type)
        "render_modes": ["rgb_array"],
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self, num_envs: int = 1, *, to_numpy: bool = True, render_mode: str | None = None, **task: Any
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(
                f"render_mode is {render_mode!r}, but it must be one of {self.metadata['render_modes']}"
            )
        self.num_envs = whole("num_envs", num_envs)
        self.render_mode, self.to_numpy = render_mode, to_numpy
        self.task = FaceTask(**task)
        self.core = self.task.core
        self.single_action_space = self.task.action_space
        self.single_observation_space = self.task.observation_space
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.order = FaceOrder(len(self.task.dataset), self.task.sampling, self.num_envs)
        self.episodes = Episodes(self.task, self.num_envs, to_numpy=to_numpy)
        self._seeds, self._generators = self._draw_generators([None] * self.num_envs)
        self._starts_next = False

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The generators of the rows."""
        return tuple(self._generators)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """What the generators of the rows were seeded with."""
        return tuple(self._seeds)

    def set_enhancer(self, enhancer: Enhancer | None) -> None:
        """Enhance all rows with this (live) network from the next step on; None is the identity.

        Raises:
            TypeError: If it is no `Enhancer`.
            ValueError: If the network was made for another picture or patch size.
        """
        self.core.set_enhancer(enhancer)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Told]:
        """Start an episode in every row.

        Args:
            seed: Of row 0, the others follow; or one a row. A seeded reset starts sequential sampling over.
            options: ``{"index": [...]}`` picks the faces; ``{"reset_mask": mask}`` must be all True.

        Returns:
            The observations of I_0, and the infos.

        Raises:
            ValueError: If the seeds are not one a row, an option is unknown, an index not in the split or a
                mask leaves rows out; nothing has changed then.
        """
        options = dict(options or {})
        self._check_mask(options.pop("reset_mask", None))
        faces = chosen_faces(options, self.order.size, self.num_envs)
        seeds = self._seeds_of_rows(seed)
        seeded, generators = self._draw_generators(seeds)
        for row, wanted in enumerate(seeds):
            if wanted is not None:
                self._seeds[row], self._generators[row] = seeded[row], generators[row]
        if any(wanted is not None for wanted in seeds):
            self.order.restart()
        if faces is not None:
            self.order.go_on_after(faces)
        return self._start(self.order.next(self._generators) if faces is None else faces)

    def step(self, actions: Any) -> tuple[Observation, Array, Array, Array, Told]:
        """Enhance one patch in every row; after the end of the episodes, start the next ones instead.

        Args:
            actions: The locations, integers in [0, H*W), (N,); ignored after the end of the episodes.

        Returns:
            Observations, rewards, terminations, truncations (never), infos.

        Raises:
            ValueError: If these are no such integers; the state is as before.
            RuntimeError: If there was no reset yet.
        """
        if self._starts_next:
            observation, told = self._start(self.order.next(self._generators))
            return observation, self._all(0.0), self._all(False), self._all(False), told
        observation, reward, ended = self.advance(actions)
        self._starts_next = ended
        return observation, reward, self._all(ended), self._all(False), self.told()

    def advance(self, actions: Any) -> tuple[Observation, Array, bool]:
        """Take a step and nothing else: no infos, no autoreset.

        Args:
            actions: As for `step`.

        Returns:
            Observations, rewards, and whether the episodes ended.

        Raises:
            ValueError: As `step`.
            RuntimeError: If the episodes are over, or none was started.
        """
        reward = self.episodes.step(self._locations(actions))
        return self.episodes.observation(), reward, self.core.terminated

    def told(self) -> Told:
        """The infos of the present state, as `step` gives them."""
        info = self.episodes.info()
        return {**info, **{f"_{name}": self._all(True) for name in info}}

    def pictures(self) -> dict[str, Array]:
        """``low_resolution``, ``input`` (I_0), ``current`` and ``high_resolution``, uint8, (N, H, W, C).

        Raises:
            RuntimeError: If no episode was started.
        """
        return self.episodes.pictures()

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """One frame a row, as the single environment gives it; None, and a warning, without a render mode.

        Raises:
            RuntimeError: If no episode was started.
        """
        if self.render_mode is None:
            logger.warn(NO_RENDER_MODE)
            return None
        return tuple(self.episodes.frames())

    def _start(self, faces: Indices) -> tuple[Observation, Told]:
        self.episodes.start(faces)
        self._starts_next = False
        return self.episodes.observation(), self.told()

    def _all(self, value: float | bool) -> Array:
        """This value in every row."""
        if self.to_numpy:
            return np.full(self.num_envs, value)
        return torch.full((self.num_envs,), value, device=self.core.device)

    def _locations(self, actions: Any) -> Array:
        """The actions as locations, int64, (N,)."""
        if isinstance(actions, Tensor) and not self.to_numpy:
            whole_numbers = not (actions.is_floating_point() or actions.is_complex())
            if actions.shape != (self.num_envs,) or not whole_numbers or actions.dtype == torch.bool:
                raise ValueError(self._refusal(f"{actions.dtype} of shape {tuple(actions.shape)}"))
            return actions.to(self.core.device, torch.int64)
        try:
            given: NDArray[Any] = np.asarray(actions.cpu() if isinstance(actions, Tensor) else actions)
        except (ValueError, TypeError):  # ragged
            raise ValueError(self._refusal(repr(actions))) from None
        if given.shape != (self.num_envs,) or given.dtype.kind not in "iu":
            raise ValueError(self._refusal(f"{given.dtype} of shape {given.shape}"))
        wrong = (given < 0) | (given >= self.core.geometry.locations)
        if wrong.any():
            raise ValueError(self._refusal(f"{given[wrong][0]} in row {wrong.argmax()}"))
        locations = given.astype(np.int64)
        return locations if self.to_numpy else torch.from_numpy(locations).to(self.core.device)

    def _refusal(self, what: str) -> str:
        last = self.core.geometry.locations - 1
        return (
            f"the actions are {what}, but they must be {self.num_envs} integers from 0 to {last}, one a row"
        )

    def _seeds_of_rows(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            return [int(seed) + row for row in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(
                f"seed lists {len(seed)} seeds, but there are {self.num_envs} rows: give one each"
            )
        return [each if each is None else int(each) for each in seed]

    @staticmethod
    def _draw_generators(seeds: list[int | None]) -> tuple[list[int], list[np.random.Generator]]:
        generators, used = zip(*map(seeding.np_random, seeds), strict=True)
        return list(used), list(generators)

    def _check_mask(self, mask: Any) -> None:
        if mask is None:
            return
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
            raise ValueError(
                f"options['reset_mask'] is {mask.dtype} of shape {mask.shape}, but it must be bool of shape "
                f"({self.num_envs},)"
            )
        if not mask.all():
            raise ValueError(
                f"options['reset_mask'] asks for {int(mask.sum())} of {self.num_envs} rows, but all rows run "
                "in step and end together: reset all of them, or use vectorization_mode='sync'"
            )
