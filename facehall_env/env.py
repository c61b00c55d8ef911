"""The Gymnasium face of the environment: the core with one row."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from facehall_env.core import to_uint8
from facehall_env.enhancer import Enhancer
from facehall_env.rendering import render_frame
from facehall_env.task import NO_LOCATION, FaceTask

Observation = NDArray[np.uint8] | dict[str, Any]


class FaceHallucinationEnv(gym.Env[Observation, np.int64]):
    """Attention-aware face hallucination (Cao et al., CVPR 2017) as an environment.

    ## Description

    A face of H/s x W/s pixels was enlarged to H x W by bicubic interpolation, which lost its detail. At
    every step the agent chooses a place; a local network enhances the 60x45 patch around it, and the result
    is pasted back. After T = 25 steps the picture is compared with the original.

    ## Action Space

    ``Discrete(H*W)``: the centre of the patch, row-major: ``row, column = divmod(action, W)``. All places
    are legal; what hangs over the border is filled with mid-gray and dropped again.

    ## Observation Space

    ``observation="image"`` (default): ``Box(0, 255, (H, W, C), uint8)``, the current picture, quantised;
    the float picture inside never is. ``observation="dict"``: a dictionary with ``image``,
    ``low_resolution`` (uint8), ``location`` (the previous action, -1 at first, int64, shape (1,)) and
    ``time`` (t / T, float32, shape (1,)).

    ## Rewards

    ``reward="terminal"`` (default): 0, and -MSE(I_T, HR) at the last step, pixels in [0, 1], mean over
    pixels and channels, so that PSNR = -10 log10(MSE) dB. ``"delta"``: at every step the decrease of the
    MSE. ``"coverage"``: terminal plus ``coverage_weight`` times the share of the picture that was covered.

    ## Starting State

    I_0 of a face of the split: at random, or in order (``sampling="sequential"``: the next one, the first
    after the last, and after every seeded reset). ``reset(options={"index": i})`` picks face i, and the
    order goes on from there.

    ## Episode End

    After T steps the episode terminates. It is never truncated: the horizon is the task.

    ## Arguments

    All those of `FaceTask`, and ``render_mode``.

    ## Info

    ``mse``, ``psnr`` (dB) and ``coverage`` of the current picture and ``index`` of the face; ``location``
    after a step; at the end also ``psnr_input`` (of I_0) and ``psnr_gain``. Pictures: `pictures`.

    ## Rendering

    ``render_mode="rgb_array"``: `render` gives one frame of constant size, see
    `facehall_env.rendering.render_frame`. ``gymnasium.make`` makes ``"human"`` (a window; the extra
    ``render`` brings what it needs) and ``"rgb_array_list"`` of it by its own wrappers.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012 (Gymnasium's name and type)

    def __init__(self, *, render_mode: str | None = None, **task: Any) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(
                f"render_mode is {render_mode!r}, but it must be one of {self.metadata['render_modes']}; "
                "gymnasium.make also knows 'human' and 'rgb_array_list'"
            )
        self.render_mode = render_mode
        self.task = FaceTask(**task)
        self.core = self.task.core
        self.action_space = self.task.action_space
        self.observation_space = self.task.observation_space
        self._index = -1
        self._location = NO_LOCATION
        self._visited: list[int] = []
        self._psnr_input = 0.0

    def set_enhancer(self, enhancer: Enhancer | None) -> None:
        """Enhance with this (live) network from the next step on; None is the identity.

        Raises:
            TypeError: If it is no `Enhancer`.
            ValueError: If the network was made for another picture or patch size.
        """
        self.core.set_enhancer(enhancer)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: Seeds this environment's random generator, and starts sequential sampling over.
            options: ``{"index": i}`` picks a face.

        Returns:
            The observation of I_0, and the info.

        Raises:
            ValueError: If an option is unknown or the index is not in the split; nothing has changed then.
        """
        chosen = self._chosen_index(options or {})
        super().reset(seed=seed)
        if seed is not None:
            self._index = -1
        index = self._next_index() if chosen is None else chosen
        self.core.reset(self.task.faces([index]))
        self._index = index
        self._location = NO_LOCATION
        self._visited = []
        self._psnr_input = self._psnr()
        return self._observe(), self._info()

    def step(self, action: np.int64 | int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Enhance the patch at a location.

        Args:
            action: The location, an integer in [0, H*W).

        Returns:
            Observation, reward, terminated, truncated (always False), info.

        Raises:
            ValueError: If the action is no such integer; the state is as before.
            RuntimeError: If the episode is over.
        """
        if not self.action_space.contains(action):
            raise ValueError(
                f"the action is {action!r}, but it must be an integer from 0 to "
                f"{self.core.geometry.locations - 1}"
            )
        reward = self.core.step(torch.tensor([int(action)], device=self.core.device))
        self._location = int(action)
        self._visited.append(self._location)
        info = self._info() | {"location": self._location}
        if self.core.terminated:
            info |= {"psnr_input": self._psnr_input, "psnr_gain": gain(info["psnr"], self._psnr_input)}
        return self._observe(), float(reward), self.core.terminated, False, info

    def pictures(self) -> dict[str, NDArray[np.uint8]]:
        """``low_resolution``, ``input`` (I_0), ``current`` and ``high_resolution``, each uint8, (H, W, C).

        Raises:
            RuntimeError: If no episode was started.
        """
        if not self.core.rows:
            raise RuntimeError("there are no pictures before the first episode: call reset()")
        return {name: picture[0].cpu().numpy() for name, picture in self.core.pictures().items()}

    def render(self) -> NDArray[np.uint8] | None:
        """The current state as one frame; None, and a warning, without a render mode.

        Returns:
            uint8, (rows, columns, 3), of the same size in every state.

        Raises:
            RuntimeError: If no episode was started.
        """
        if self.render_mode is None:
            gym.logger.warn(
                "render() draws nothing without a render mode: make the environment with "
                'render_mode="rgb_array"'
            )
            return None
        return render_frame(
            self.pictures(),
            self.core.geometry.boxes(torch.tensor(self._visited, dtype=torch.int64)).numpy(),
            horizon=self.core.horizon,
            psnr=self._psnr(),
            psnr_input=self._psnr_input,
            coverage=float(self.core.coverage),
        )

    def _chosen_index(self, options: dict[str, Any]) -> int | None:
        if unknown := set(options) - {"index"}:
            raise ValueError(
                f"reset knows no option {', '.join(map(repr, sorted(unknown)))}; it knows 'index'"
            )
        if "index" not in options:
            return None
        index, size = options["index"], len(self.task.dataset)
        if not isinstance(index, int | np.integer) or isinstance(index, bool) or not 0 <= index < size:
            raise ValueError(f"options['index'] is {index!r}, but the split holds faces 0 to {size - 1}")
        return int(index)

    def _next_index(self) -> int:
        size = len(self.task.dataset)
        if self.task.sampling == "sequential":
            return (self._index + 1) % size
        return int(self.np_random.integers(size))

    def _observe(self) -> Observation:
        image: NDArray[np.uint8] = self.task.image()[0]
        if self.task.observation == "image":
            return image
        return {
            "image": image,
            "low_resolution": to_uint8(self.core.low_resolution)[0].cpu().numpy(),
            "location": np.array([self._location], np.int64),
            "time": np.array([self.core.t / self.core.horizon], np.float32),
        }

    def _psnr(self) -> float:
        return decibel(float(self.core.mse))

    def _info(self) -> dict[str, Any]:
        mse = float(self.core.mse)
        return {"mse": mse, "psnr": decibel(mse), "coverage": float(self.core.coverage), "index": self._index}


def gain(psnr: float, psnr_input: float) -> float:
    """By how many dB a picture is better; 0 where both are perfect."""
    return 0.0 if psnr == psnr_input else psnr - psnr_input


def decibel(mse: float) -> float:
    """PSNR in dB of a mean squared error of pixels in [0, 1]; infinite for 0."""
    return -10.0 * math.log10(mse) if mse > 0 else math.inf
