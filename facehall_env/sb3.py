"""The face for Stable-Baselines3: the vector face in the shape of its VecEnv."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env.base_vec_env import (
    VecEnv,
    VecEnvIndices,
    VecEnvObs,
    VecEnvStepReturn,
)

from facehall_env.vector import FaceHallucinationVectorEnv

_READING: Final = ("pictures", "render")
"""Methods that change nothing and give one entry a row."""
_OF_A_ROW: Final = {"action_space": "single_action_space", "observation_space": "single_observation_space"}
"""Attributes that the vector face has for the whole batch under the name that a row's has elsewhere."""


class FaceHallucinationVecEnv(VecEnv):
    """N episodes side by side for the algorithms of Stable-Baselines3, enhanced in one batch.

    ``PPO("CnnPolicy", FaceHallucinationVecEnv("FaceHallucination-LFW-x8", num_envs=32, root="data/lfw"))``
    learns what ``make_vec_env`` with 32 single environments would let it learn, several times faster.

    ## Description

    What happens in a row is what happens in `FaceHallucinationEnv`; see there for the task, the rewards and
    the info, and `FaceHallucinationVectorEnv` for seeds and randomness.

    ## Action Space

    ``Discrete(H*W)``, that of one row; `step` takes N integers.

    ## Observation Space

    That of one row; `step` gives uint8 arrays (N, H, W, C), or a dictionary of arrays
    (``observation="dict"``, for ``MultiInputPolicy``).

    ## Rewards

    float32, (N,).

    ## Starting State

    As Stable-Baselines3 has it: `seed` and `set_options` count at the next `reset`; row i is seeded with
    seed + i. Options are those of the single environment; where one row's face is chosen, every row's
    must be.

    With ``sampling="sequential"`` the rows share one walk through the split, and each batch of faces is
    dealt from the *last* row to the first. `evaluate_policy` counts one more episode in the last rows where
    N does not divide ``n_eval_episodes``, so ``evaluate_policy(model, env, n_eval_episodes=len(split))``
    counts every face exactly once, whatever N is: from face 0 on after a `seed`, else from where the walk
    stands.

    ## Episode End

    After T steps all rows are done together and start their next episodes within the same step. The info of
    a finished row is that of its episode's end, with ``terminal_observation`` and ``TimeLimit.truncated``,
    which is False: nothing must be bootstrapped. The infos of all other steps are empty.

    ## Arguments

    `env_id` and `num_envs`, and by keyword all that ``gym.make_vec`` takes for that id,
    ``render_mode`` included.

    ## Attributes of rows

    The rows are one environment: `get_attr` gives its attribute once a row (``task``, ``core``, ...);
    `set_attr` and `env_method` act on all rows at once, and are refused for some of them. What ``pictures``
    and ``render`` give is handed out row by row.

    Attributes:
        vector: The environment of all rows.

    Raises:
        ValueError: If an argument is out of range; the message names it.
        TypeError: If the id is not one of ours.
    """

    def __init__(self, env_id: str, num_envs: int = 1, **arguments: Any) -> None:
        made = gym.make_vec(env_id, num_envs=num_envs, **arguments)
        if not isinstance(made, FaceHallucinationVectorEnv) or not made.to_numpy:
            raise TypeError(
                f"{env_id!r} with these arguments gives {made}, but FaceHallucinationVecEnv runs on the ids "
                "of facehall_env.ENV_IDS, in numpy arrays; for others take make_vec_env"
            )
        made.order.last_row_first = True
        self.vector = made
        self.spec = made.spec
        self._actions: Any = None
        super().__init__(made.num_envs, made.single_observation_space, made.single_action_space)
        self.metadata["render_fps"] = made.metadata["render_fps"]  # of VecVideoRecorder's videos

    def reset(self) -> VecEnvObs:
        """Start an episode in every row, with the seeds and options that were set.

        Raises:
            ValueError: If an option is unknown, an index not in the split or given to some rows only; the
                episodes are as before.
        """
        observation, told = self.vector.reset(seed=self._seeds, options=self._options_of_all_rows())
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = _by_row(told, self.num_envs)
        return cast(VecEnvObs, observation)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Say where to look next.

        Args:
            actions: The locations, integers in [0, H*W), (N,).
        """
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Look there.

        Returns:
            Observations (of the next episodes where these ended), rewards, dones and infos.

        Raises:
            ValueError: If the actions are no such integers; the state is as before.
            RuntimeError: If there was no reset yet.
        """
        observation, reward, ended = self.vector.advance(self._actions)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if ended:
            infos, final = _by_row(self.vector.told(), self.num_envs), observation
            observation, told = self.vector.reset()
            self.reset_infos = _by_row(told, self.num_envs)
            for row, info in enumerate(infos):
                info["TimeLimit.truncated"] = False
                info["terminal_observation"] = _row(final, row)
        dones = np.full(self.num_envs, ended)
        return cast(VecEnvObs, observation), np.asarray(reward, np.float32), dones, infos

    def close(self) -> None:
        """Close the environment; doing it twice is no error."""
        self.vector.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The environment's attribute, once a row.

        Raises:
            AttributeError: If there is none of this name.
        """
        rows = self._rows(indices)
        value = getattr(self.vector, _OF_A_ROW.get(attr_name, attr_name))
        if attr_name in ("np_random", "np_random_seed"):
            return [value[row] for row in rows]
        return [value] * len(rows)

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of all rows.

        Raises:
            ValueError: If the indices leave rows out.
        """
        self._require_all_rows("set_attr", indices)
        setattr(self.vector, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the environment, once for all rows.

        Returns:
            Each row's part of ``pictures`` or ``render``; what other methods give, such as ``set_enhancer``,
            once for each row.

        Raises:
            AttributeError: If there is none of this name.
            ValueError: If the indices leave rows out of a method that may change something.
        """
        method = getattr(self.vector, method_name)
        if method_name not in _READING:
            self._require_all_rows("env_method", indices)
        given = method(*method_args, **method_kwargs)
        rowwise = method_name in _READING and given is not None
        return [_row(given, row) if rowwise else given for row in self._rows(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """No row is wrapped: the rows are one environment."""
        return [False] * len(self._rows(indices))

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """One frame a row; None without a render mode."""
        return self.vector.render() or [None] * self.num_envs

    def _rows(self, indices: VecEnvIndices) -> list[int]:
        return list(self._get_indices(indices))

    def _require_all_rows(self, what: str, indices: VecEnvIndices) -> None:
        if sorted(self._rows(indices)) != list(range(self.num_envs)):
            raise ValueError(
                f"{what} is asked for rows {self._rows(indices)}, but the {self.num_envs} rows are one "
                "environment: leave indices out"
            )

    def _options_of_all_rows(self) -> dict[str, Any]:
        """The rows' options as those of one environment."""
        options = self._options
        if len(options) != self.num_envs:
            raise ValueError(f"there are {len(options)} options for {self.num_envs} rows: set one each")
        names = options[0].keys()
        if any(row.keys() != names for row in options):
            raise ValueError(
                f"the rows' options differ in their names, {options}: choose every row's face or none"
            )
        return {name: [row[name] for row in options] for name in names}


def _row(batch: Any, row: int) -> Any:
    if isinstance(batch, dict):
        return {name: rows[row] for name, rows in batch.items()}
    return batch[row]


def _by_row(told: dict[str, Any], rows: int) -> list[dict[str, Any]]:
    """Infos as dictionaries of Python numbers, one a row."""
    columns = {name: values.tolist() for name, values in told.items() if not name.startswith("_")}
    return [{name: column[row] for name, column in columns.items()} for row in range(rows)]
