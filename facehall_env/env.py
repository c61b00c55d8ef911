"""The Gymnasium face of the environment: the core with one row."""

from __future__ import annotations

from typing import Any, Final, cast

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from facehall_env.enhancer import Enhancer
from facehall_env.episodes import Episodes
from facehall_env.sampling import FaceOrder, chosen_faces
from facehall_env.task import FaceTask

NO_RENDER_MODE: Final = (
    'render() draws nothing without a render mode: make the environment with render_mode="rgb_array"'
)
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

    Those of `FaceTask`, all by keyword and fit for JSON: which faces (``root``, ``split``, ``sampling``,
    ``data_options``), how they are degraded (``protocol``), the episode (``horizon``, ``patch_size``,
    ``boundary``, ``reward``, ``coverage_weight``, ``consistent``), what is seen (``observation``), who
    enhances (``enhancer``), how (``precision``, ``compile``, ``channels_last``) and where (``device``); and
    ``render_mode``. By default the weights
    enhance that were trained for the task, and a line says which (``env.unwrapped.task.pretrained`` has
    them); where there are none patches stay as they are, with a warning. A live network is attached by
    `set_enhancer`.

    ## Info

    ``mse``, ``psnr`` (dB) and ``coverage`` of the current picture and ``index`` of the face; ``location``
    after a step; at the end also ``psnr_input`` (of I_0) and ``psnr_gain``. Pictures: `pictures`.

    ## Rendering

    ``render_mode="rgb_array"``: `render` gives one frame of constant size, see
    `facehall_env.rendering.render_frame`. ``gymnasium.make`` makes ``"human"`` (a window; the extra
    ``render`` brings what it needs) and ``"rgb_array_list"`` of it by its own wrappers.

    ## Registered ids

    - ``FaceHallucination-LFW-x4``, ``FaceHallucination-LFW-x8``: Labeled Faces in the Wild, 128x128, RGB.
    - ``FaceHallucination-BioID-x4``, ``FaceHallucination-BioID-x8``: BioID, aligned, 160x120, gray.
    - ``FaceHallucination-Synthetic-x4``, ``FaceHallucination-Synthetic-x8``: drawn, 128x128, RGB; no files.
    - ``FaceHallucination-Folder-x4``, ``FaceHallucination-Folder-x8``: a folder of pictures, 128x128, RGB.

    Raises:
        ValueError: If an argument is out of range; the message names it.
        FileNotFoundError: If data or weights are missing; the message says where they were looked for.
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
        self.order = FaceOrder(len(self.task.dataset), self.task.sampling)
        self.episodes = Episodes(self.task, 1)

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
        faces = chosen_faces(options or {}, self.order.size, rows=1)
        super().reset(seed=seed)
        if seed is not None:
            self.order.restart()
        if faces is None:
            faces = self.order.next([self.np_random])
        else:
            self.order.go_on_after(faces)
        self.episodes.start(faces)
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
        reward = self.episodes.step(np.array([action], np.int64))
        return self._observe(), float(reward[0]), self.core.terminated, False, self._info()

    def pictures(self) -> dict[str, NDArray[np.uint8]]:
        """``low_resolution``, ``input`` (I_0), ``current`` and ``high_resolution``, each uint8, (H, W, C).

        Raises:
            RuntimeError: If no episode was started.
        """
        return {name: cast(NDArray[np.uint8], rows[0]) for name, rows in self.episodes.pictures().items()}

    def render(self) -> NDArray[np.uint8] | None:
        """The current state as one frame; None, and a warning, without a render mode.

        Returns:
            uint8, (rows, columns, 3), of the same size in every state.

        Raises:
            RuntimeError: If no episode was started.
        """
        if self.render_mode is None:
            gym.logger.warn(NO_RENDER_MODE)
            return None
        return self.episodes.frames()[0]

    def _observe(self) -> Observation:
        seen = self.episodes.observation()
        if isinstance(seen, dict):
            return {name: rows[0] for name, rows in seen.items()}
        return cast(NDArray[np.uint8], seen[0])

    def _info(self) -> dict[str, Any]:
        return {name: rows[0].item() for name, rows in self.episodes.info().items()}
