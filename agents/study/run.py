"""Running a study: every variant with every seed, each once, and the agents that do not learn."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch
import yaml

from agents.evaluation import device_in_words, measure_split
from agents.records import git_commit, save_images
from agents.records.files import write_atomically
from agents.runs import CONFIGURATION, read_config
from agents.scripted import CoreAgent, CoverageGreedy, GreedyOracle, RandomPatch, RasterScan
from agents.study.configuration import SCRIPTED, StudyConfig
from agents.study.curves import CurveFile, CurveRow, Mode
from agents.study.learners import Learner, make_learner
from agents.study.world import World
from facehall_env.core import wait_for

_LEARNED: tuple[Mode, ...] = ("argmax", "sampled")
_MEASURED: Final = "measured.json"


class Study:
    """One study and its folder.

    The folder holds ``config.yaml``, ``curves.csv`` (a row a measurement, see `CurveRow`) and in ``faces`` a
    CSV file of every face's final values for each variant, seed and mode. A variant with a seed is finished
    once its files in ``faces`` are there; then it is skipped, and one that was cut off starts anew.

    Args:
        config: What to do.
        resolved: The whole configuration as YAML, by which the folder knows its study again.

    Raises:
        ValueError: If the folder holds another study, or one of its variants by another meaning.
    """

    def __init__(self, config: StudyConfig, resolved: str) -> None:
        self.config = config
        self.folder = config.folder / config.name
        self.curves = CurveFile(self.folder / "curves.csv")
        self._resolved = self._agreed(resolved)
        self._commit = git_commit()

    def run(self, only: Sequence[str] = ()) -> None:
        """Do what is left to do.

        Args:
            only: Names of variants; none: all, and the agents that do not learn. Several processes may run
                different variants of one study.

        Raises:
            ValueError: If a variant is not to be, before any is trained; the message names it.
            FileNotFoundError: If data or weights are missing.
        """
        if unknown := set(only) - set(self.config.variants):
            raise ValueError(
                f"there are no variants {sorted(unknown)}; see {', '.join(self.config.variants)}"
            )
        world = World(self.config)
        chosen = list(only) or list(self.config.variants)
        open_pairs = [
            (name, seed)
            for seed in self.config.seeds  # all variants with one seed first: something to look at early
            for name in chosen
            if not self.finished(name, seed)
        ]
        for name in dict(open_pairs):
            make_learner(world, name, self.config.seeds[0])  # refuses what would fail after hours
        write_atomically(self.folder / CONFIGURATION, self._resolved)
        if open_pairs or not (self.folder / _MEASURED).is_file():
            about = {
                "processor": device_in_words(world.core.device),
                "validation_faces": len(world.faces),
            }
            write_atomically(self.folder / _MEASURED, json.dumps(about, indent=2) + "\n")
        if not only:
            self._measure_scripted(world)
        for name, seed in open_pairs:
            self._say(f"{name}, seed {seed}")
            self._train(world, name, seed)

    def measured_on(self) -> dict[str, Any]:
        """On what processor, and on how many validation faces.

        Raises:
            ValueError: If nothing was run here.
        """
        path = self.folder / _MEASURED
        if not path.is_file():
            raise ValueError(f"{self.folder} does not say where it was measured: run the study first")
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def finished(self, name: str, seed: int) -> bool:
        """Whether a variant has been trained and measured with a seed."""
        return self.faces_path(name, seed, _LEARNED[-1]).is_file()

    def faces_path(self, name: str, seed: int, mode: Mode) -> Path:
        """The file of every face's final values."""
        return self.folder / "faces" / f"{name}.seed{seed}.{mode}.csv"

    def _train(self, world: World, name: str, seed: int) -> None:
        self.curves.drop(name, seed)
        learner = make_learner(world, name, seed)
        recorder = _Recorder(self, world, learner, name, seed)
        recorder.measure()
        recorder.start()
        learner.learn(recorder.between)
        recorder.stop()
        recorder.measure()
        for mode in _LEARNED:
            self._measure_faces(world, recorder.agent(mode), name, seed, mode)

    def _measure_scripted(self, world: World) -> None:
        """The agents that do not learn, once a seed where they draw."""
        first = self.config.seeds[0]
        agents: list[tuple[str, int, Callable[[int], CoreAgent]]] = []
        for seed in self.config.seeds:
            agents += [("random", seed, RandomPatch), ("coverage_greedy", seed, _coverage_greedy)]
        agents += [
            ("raster", first, lambda _: RasterScan()),
            ("planned", first, lambda _: world.planned_scan()),
            ("greedy_oracle", first, lambda _: GreedyOracle()),
        ]
        assert {name for name, _, _ in agents} == set(SCRIPTED)
        for name, seed, make in agents:
            if self.faces_path(name, seed, "scripted").is_file():
                continue
            self._say(f"{name}, seed {seed}")
            self.curves.drop(name, seed)
            agent = make(seed)
            self.curves.append([self.row(name, seed, 0, 0.0, "scripted", world.measure(agent))])
            self._measure_faces(world, agent, name, seed, "scripted")

    def _measure_faces(self, world: World, agent: CoreAgent, name: str, seed: int, mode: Mode) -> None:
        with torch.random.fork_rng():
            measured = measure_split(world.core, world.faces, agent, batch_size=world.BATCH)
        save_images(self.faces_path(name, seed, mode), measured.columns)

    def row(
        self, name: str, seed: int, timesteps: int, seconds: float, mode: Mode, values: dict[str, float]
    ) -> CurveRow:
        """A row of the curves."""
        return CurveRow(name, seed, timesteps, seconds, mode, commit=self._commit, **values)

    def _agreed(self, resolved: str) -> str:
        """The configuration to be written, with the variants of before; refuses another study.

        Seeds, variants and what is only drawn may be added or changed; variants may not change.
        """
        now, path = yaml.safe_load(resolved), self.folder / CONFIGURATION
        if path.is_file():
            before = read_config(self.folder)
            fixed = (
                "env",
                "enhancer",
                "agent",
                "policy",
                "total_timesteps",
                "measure_every",
                "validation_faces",
            )
            differing = [name for name in fixed if before.get(name) != now.get(name)]
            old = before.get("variants") or {}
            differing += [
                f"variant {name!r}"
                for name, variant in now["variants"].items()
                if name in old and old[name] != variant
            ]
            if differing:
                raise ValueError(
                    f"{self.folder} holds another study: its {', '.join(differing)} differ; take other "
                    "names, or delete the folder"
                )
            now["variants"] = old | now["variants"]
        return yaml.safe_dump(now, sort_keys=False)

    def _say(self, what: str) -> None:
        if self.config.progress_bar:
            print(f"{self.config.name}: {what}", flush=True)


class _Recorder:
    """Measures a learner every so many steps, and stops the clock meanwhile."""

    def __init__(self, study: Study, world: World, learner: Learner, name: str, seed: int) -> None:
        self.study, self.world, self.learner, self.name, self.seed = study, world, learner, name, seed
        self.seconds, self._started = 0.0, 0.0
        self._due = study.config.measure_every

    def start(self) -> None:
        self._started = time.perf_counter()

    def stop(self) -> None:
        wait_for(self.world.core.device)
        self.seconds += time.perf_counter() - self._started

    def between(self) -> None:
        """Measure if it is time to."""
        if self.learner.steps < self._due:
            return
        self.stop()
        self.measure()
        every = self.study.config.measure_every
        self._due = (self.learner.steps // every + 1) * every
        self.start()

    def agent(self, mode: Mode) -> CoreAgent:
        return self.learner.agent(deterministic=mode == "argmax", seed=self.seed)

    def measure(self) -> None:
        """One row a mode; the learner draws afterwards what it would have drawn anyway."""
        rows = []
        for mode in _LEARNED:
            with torch.random.fork_rng():
                values = self.world.measure(self.agent(mode))
            seconds = self.seconds + self.learner.spared
            rows.append(self.study.row(self.name, self.seed, self.learner.steps, seconds, mode, values))
        self.study.curves.append(rows)


def _coverage_greedy(seed: int) -> CoreAgent:
    return CoverageGreedy("random", seed)
