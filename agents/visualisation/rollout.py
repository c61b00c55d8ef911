"""From an agent's name or file to a folder of pictures of what it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from tqdm.auto import tqdm

from agents.configuration import experiment_of
from agents.faces import evenly_spread
from agents.files import agent_file
from agents.pictures import save_png
from agents.reinforce import RecurrentReinforce
from agents.runs import AGENT, CONFIGURATION
from agents.visualisation.attention import attention_sheet
from agents.visualisation.curves import save_curves
from agents.visualisation.looking import (
    SCRIPTED,
    Looker,
    load_with_enhancer,
    reinforce_looker,
    scripted_looker,
)
from agents.visualisation.page import save_page, save_steps
from agents.visualisation.stable_baselines import (
    StableBaselinesLooker,
    is_stable_baselines,
    load_stable_baselines,
)
from agents.visualisation.strip import trace_strip
from agents.visualisation.trace import EpisodeTrace
from agents.visualisation.video import save_video, trace_frames
from facehall_env import wrappers
from facehall_env.env import FaceHallucinationEnv
from facehall_env.pretrained import PretrainedWeights, available_weights
from facehall_env.registration import check_id


@dataclass
class Rollout:
    """What is to be watched, and how.

    Attributes:
        agent: ``random_patch``, ``raster_scan``, ``greedy_oracle``; an agent of `RecurrentReinforce` or a run
            folder; the name of pretrained weights (`facehall_env.available_weights`); or a zip of
            Stable-Baselines3's PPO or A2C, or sb3-contrib's RecurrentPPO or MaskablePPO. The latter hold
            pickled objects: open only files that you trust.
        env_id: The environment; None: that of the run folder or of the weights.
        split: ``train``, ``val`` or ``test``.
        root: Where the pictures lie, if not where the run found them.
        enhancer: ``pretrained`` or the name of pretrained weights, a preset, a weight file or a run folder;
            None: the agent's own, or the identity for agents that have none.
        deterministic: The most likely place instead of a draw.
        seed: Of the draws.
        env: More arguments of the environment, by name; a run folder's are known.
        wrappers: Wrappers of `facehall_env.wrappers` and `gymnasium.wrappers` that an agent of
            Stable-Baselines3 was trained in, from the inside out: by name, their arguments.
    """

    agent: str
    env_id: str | None = None
    split: str = "test"
    root: str | None = None
    enhancer: str | None = None
    deterministic: bool = True
    seed: int = 0
    env: Mapping[str, Any] = field(default_factory=dict)
    wrappers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def open(self) -> tuple[FaceHallucinationEnv, Looker]:
        """Make the environment and put the agent into it.

        Raises:
            ValueError: If the parts do not fit together; the message says what to change.
            FileNotFoundError: If a file is missing.
        """
        weights = available_weights().get(self.agent)
        path = None if self.agent in SCRIPTED or weights is not None else _agent_file(self.agent)
        sb3 = path is not None and is_stable_baselines(path)
        if self.wrappers and not sb3:
            raise ValueError(f"{self.agent} needs no wrappers: only agents of Stable-Baselines3 know them")
        env = self._make_environment(None if path is None else path.parent, weights)
        looker: Looker
        if weights is not None:
            looker = reinforce_looker(
                RecurrentReinforce.from_pretrained(weights, device=env.core.device),
                env,
                name=weights.name,
                deterministic=self.deterministic,
                seed=self.seed,
                keep_enhancer=self.enhancer is not None,
            )
        elif path is None:
            looker = scripted_looker(self.agent, env, self.seed)
        elif sb3:
            model = load_stable_baselines(path, env.core.device)
            looker = StableBaselinesLooker(
                model, self._wrapped(env), deterministic=self.deterministic, seed=self.seed
            )
        else:
            looker = reinforce_looker(
                load_with_enhancer(path, env.core.device),
                env,
                name=str(path),
                deterministic=self.deterministic,
                seed=self.seed,
                keep_enhancer=self.enhancer is not None,
            )
        return env, looker

    def _make_environment(self, run: Path | None, weights: PretrainedWeights | None) -> FaceHallucinationEnv:
        env_id, arguments = self.env_id, dict(self.env)
        if weights is not None:
            env_id = env_id or weights.env_id
            arguments = weights.arguments() | arguments
        if run is not None and (run / CONFIGURATION).is_file():
            trained = experiment_of(run).env
            if env_id in (None, trained.id):
                env_id = trained.id
                known = {
                    name: getattr(trained, name)
                    for name in (
                        "root",
                        "horizon",
                        "patch_size",
                        "boundary",
                        "protocol",
                        "consistent",
                        "precision",
                        "device",
                    )
                }
                arguments = known | {"data_options": trained.data} | arguments
        if env_id is None:
            raise ValueError(f"which environment shall {self.agent} be watched in? Name it with --env-id")
        if self.root is not None:
            arguments["root"] = self.root
        arguments = {"enhancer": "identity"} | arguments
        if self.enhancer is not None:
            arguments["enhancer"] = self.enhancer
        check_id("env_id", env_id)
        try:
            made = gym.make(env_id, split=self.split, disable_env_checker=True, **arguments).unwrapped
        except TypeError as error:
            raise ValueError(f"{env_id} cannot be made with {arguments}: {error}") from error
        assert isinstance(made, FaceHallucinationEnv)
        return made

    def _wrapped(self, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
        for name, arguments in self.wrappers.items():
            home = next((module for module in (wrappers, gym.wrappers) if name in module.__all__), None)
            if home is None:
                raise ValueError(
                    f"there is no wrapper {name!r}; there are {', '.join(wrappers.__all__)} and those of "
                    "gymnasium.wrappers"
                )
            try:
                env = getattr(home, name)(env, **arguments)
            except TypeError as error:
                raise ValueError(f"wrapper {name} cannot be made with {dict(arguments)}: {error}") from error
        return env


def draw_rollout(
    rollout: Rollout,
    output: Path,
    *,
    episodes: int = 5,
    faces: Sequence[int] = (),
    summary_faces: int = 256,
    batch_size: int = 32,
    fps: float = 2.0,
    progress_bar: bool = True,
) -> list[EpisodeTrace]:
    """Watch an agent, and write what it does.

    Writes per episode a folder with ``strip.png`` (the paper's Fig. 5), ``video.mp4`` (``.gif`` without
    imageio-ffmpeg), ``curves.png`` and the pictures of every step; and ``index.html`` to step through them,
    ``curves.png`` of all episodes and ``attention.png`` of the whole split.

    Args:
        rollout: Who is watched, and where.
        output: The folder; files of these names in it are replaced.
        episodes: How many faces, evenly spread over the split.
        faces: Their indices instead.
        summary_faces: How many faces, evenly spread, ``attention.png`` is made of; 0 for none.
        batch_size: Episodes side by side.
        fps: Of the videos.
        progress_bar: Show one.

    Returns:
        The episodes.

    Raises:
        ValueError: If the rollout's parts do not fit together, a face is not in the split, or a number is out
            of range.
        FileNotFoundError: If a file is missing.
        OSError: If the folder cannot be made.
    """
    env, looker = rollout.open()
    size = len(env.task.dataset)
    if outside := [index for index in faces if not 0 <= index < size]:
        raise ValueError(f"faces has {outside}, but the {rollout.split} split holds faces 0 to {size - 1}")
    if episodes < 1 and not faces:
        raise ValueError(f"episodes is {episodes}, but it must be at least 1")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, but it must be at least 1")
    if not 0.0 < fps < float("inf"):
        raise ValueError(f"fps is {fps}, but it must be a positive number of pictures a second")
    output.mkdir(parents=True, exist_ok=True)
    indices = list(faces) or evenly_spread(size, episodes)
    traces = [trace for batch in _batches(indices, batch_size) for trace in looker.traces(batch)]
    names = [f"episode-{number:02}-face-{trace.index}" for number, trace in enumerate(traces, 1)]
    links = []
    for name, trace in zip(tqdm(names, desc="drawing", disable=not progress_bar), traces, strict=True):
        folder = output / name
        save_steps(folder / "steps", trace)
        save_png(folder / "strip.png", trace_strip(trace, enlarge=2))
        save_curves(folder / "curves.png", [trace])
        video = save_video(folder / "video", trace_frames(trace), fps)
        links.append([("film strip", "strip.png"), ("video", video.name), ("curves", "curves.png")])
    save_curves(output / "curves.png", traces)

    looked = evenly_spread(size, summary_faces)
    if looked:
        parts, total = [], np.zeros(env.task.dataset.shape)
        bar = tqdm(total=len(looked), unit="face", desc="looking", disable=not progress_bar)
        for batch in _batches(looked, batch_size):
            parts.append(looker.locations(batch))
            total += sum(env.task.dataset[index].astype(np.float64) for index in batch)
            bar.update(len(batch))
        bar.close()
        mean = np.round(total / len(looked)).astype(np.uint8)
        sheet = attention_sheet(np.concatenate(parts, axis=1), mean, env.core.geometry)
        save_png(output / "attention.png", sheet)
    mode = "" if rollout.agent in SCRIPTED else ", argmax" if rollout.deterministic else ", sampled"
    about = (
        f"{Path(rollout.agent).name}{mode} on {env.task.dataset.name} x{env.core.scale}, "
        f"{rollout.split} split, {env.core.protocol} protocol"
    )
    if looked:
        about += f"; the summary below is of {len(looked)} faces"
    attention = "attention.png" if looked else None
    save_page(output / "index.html", traces, names, links, about=about, attention=attention)
    return traces


def _batches(indices: Sequence[int], size: int) -> list[Sequence[int]]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def _agent_file(name: str) -> Path:
    try:
        return agent_file(name)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"agent is {name!r}, which is neither a file, nor a run folder with an {AGENT}, nor one of "
            f"{', '.join((*SCRIPTED, *available_weights()))}"
        ) from error
