"""What all variants of a study share: the task, the frozen enhancer, and the faces that are measured."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.algorithm import policy_config
from agents.faces import evenly_spread, face_batch
from agents.planning import PLAN_FACES, PlannedScan, plan_scan
from agents.reinforce import RecurrentReinforce
from agents.rollout import Recorder, distinct_places, walk
from agents.scripted import CoreAgent
from agents.study.configuration import StudyConfig
from agents.training import environment_arguments
from facehall_env.datasets import FaceDataset, load_dataset
from facehall_env.enhancer import EnhancerConfig, EnhancerInput, LocalEnhancementNetwork, load_enhancer
from facehall_env.env import FaceHallucinationEnv
from facehall_env.prior import FacePrior
from facehall_env.sb3 import FaceHallucinationVecEnv


class CountedEnhancer(nn.Module):
    """An enhancer that counts the patches it is asked for: environment steps, whoever takes them.

    Attributes:
        patches: How many so far.

    Args:
        enhancer: Does the work.
    """

    def __init__(self, enhancer: LocalEnhancementNetwork) -> None:
        super().__init__()
        self.enhancer, self.patches = enhancer, 0

    @property
    def config(self) -> EnhancerConfig:
        """That of the enhancer, by which a core knows whether it fits."""
        return self.enhancer.config

    @property
    def prior(self) -> FacePrior | None:
        """As the enhancer."""
        return self.enhancer.prior

    @property
    def needs_initial_patch(self) -> bool:
        """As the enhancer."""
        return self.enhancer.needs_initial_patch

    def forward(self, inputs: EnhancerInput) -> Tensor:
        """Count and enhance."""
        self.patches += len(inputs.patch)
        enhanced: Tensor = self.enhancer(inputs)
        return enhanced


class FaceSubset:
    """Some faces of a data set, evenly spread over it.

    Args:
        dataset: All of them.
        count: How many at most.
    """

    def __init__(self, dataset: FaceDataset, count: int) -> None:
        self.dataset = dataset
        self.name, self.split, self.shape = dataset.name, dataset.split, dataset.shape
        self.indices = evenly_spread(len(dataset), count)

    def __len__(self) -> int:
        """How many."""
        return len(self.indices)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        """A face, uint8, (H, W, C)."""
        return self.dataset[self.indices[index]]

    def id(self, index: int, /) -> str:
        """Its name in the data set."""
        return self.dataset.id(self.indices[index])


class World:
    """Makes environments over one frozen enhancer, and measures whoever looks around in them.

    Args:
        config: The study.

    Raises:
        ValueError: If a setting of the environment is out of range, or the enhancer does not fit it.
        FileNotFoundError: If data or weights are missing.
    """

    BATCH = 64
    """Faces side by side when measuring."""

    def __init__(self, config: StudyConfig) -> None:
        self.config, env = config, config.env
        self.enhancer = load_enhancer(config.enhancer).eval()
        self._plans: dict[tuple[Any, ...], tuple[list[int], int, float]] = {}
        name = str(gym.spec(env.id).kwargs["dataset"])
        self.faces = FaceSubset(
            load_dataset(name, root=env.root, split="val", **env.data), config.validation_faces
        )
        self.core = self.environment()[0].core.replica(reward="terminal", enhancer=self.enhancer)

    def environment(self) -> tuple[FaceHallucinationEnv, CountedEnhancer]:
        """A fresh environment over the training faces, and the count of its steps."""
        env = self.config.env
        made = gym.make(env.id, disable_env_checker=True, **environment_arguments(env, "train")).unwrapped
        assert isinstance(made, FaceHallucinationEnv)
        counted = CountedEnhancer(self.enhancer)
        made.set_enhancer(counted)
        return made, counted

    def vector_environment(self, rows: int) -> tuple[FaceHallucinationVecEnv, CountedEnhancer]:
        """The same for Stable-Baselines3."""
        env = self.config.env
        made = FaceHallucinationVecEnv(env.id, rows, **environment_arguments(env, "train"))
        counted = CountedEnhancer(self.enhancer)
        made.env_method("set_enhancer", counted)
        return made, counted

    def plan(self, agent: RecurrentReinforce, counted: CountedEnhancer) -> float:
        """Plan the scan that an agent is taught, if it is, with all that it costs; the same scan only once.

        A plan follows from the enhancer, the faces and the grid. So variants and seeds that share these share
        it too, and its steps are counted for each of them as if it had tried the places itself.

        Args:
            agent: Who is taught.
            counted: Counts its steps.

        Returns:
            The seconds that the plan would have taken.
        """
        config = agent.policy.config
        key = (config.grid, config.stride, config.inhibition, agent.imitation_plan_faces)
        if key in self._plans and agent.imitation_teacher == "plan":
            places, patches, seconds = self._plans[key]
            agent.plan = list(places)
            counted.patches += patches
            return seconds
        before, started = counted.patches, time.perf_counter()
        agent.make_plan()
        if agent.plan is not None:
            self._plans[key] = (list(agent.plan), counted.patches - before, time.perf_counter() - started)
        return 0.0

    def planned_scan(self) -> PlannedScan:
        """What the warm start teaches by default, walked as it is: on the grid of the study's policy."""
        env, _ = self.environment()
        config = policy_config(env.task, self.config.policy)
        count = self.config.agent.get("imitation_plan_faces", PLAN_FACES)
        places = torch.tensor(plan_scan(env.task.core, config, env.task.dataset, count))
        return PlannedScan(config.location(places).tolist())

    def measure(self, agent: CoreAgent) -> dict[str, float]:
        """What an agent's episodes on the validation faces come to, as means over the faces.

        Returns:
            ``psnr_gain`` over I_0 in dB, ``coverage`` in [0, 1], ``distinct_places`` (see
            `agents.rollout.distinct_places`).
        """
        columns = []
        for start in range(0, len(self.faces), self.BATCH):
            faces = face_batch(self.faces, range(start, min(len(self.faces), start + self.BATCH)))
            recorder = Recorder(agent)
            self.core.reset(faces)
            before = self.core.mse
            walk(self.core, recorder, faces)
            places = distinct_places(torch.stack(recorder.locations), self.core.shape[2])
            gain = 10.0 * (before.log10() - self.core.mse.log10())
            columns.append(torch.stack((gain, self.core.coverage, places.float())))
        gain, coverage, places = torch.cat(columns, dim=1).mean(dim=1).tolist()
        return {"psnr_gain": gain, "coverage": coverage, "distinct_places": places}
