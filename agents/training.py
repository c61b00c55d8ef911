"""A training run in one folder that can be taken up again: enhancer's start, warm start, learning."""

from __future__ import annotations

import json
import math
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import torch
from stable_baselines3.common.logger import Logger
from torch import Tensor
from tqdm.auto import tqdm

from agents.ablations import check_name
from agents.baselines.edsr import load_prior
from agents.callbacks import AtIteration, Validation
from agents.checkpoints import CheckpointFolder
from agents.configuration import EnvironmentConfig, Experiment, NetworkConfig
from agents.distributed import ALONE, Ranks
from agents.divergence import WORST_ERROR, LossWatch, not_finite, verify_weights
from agents.enhancement import EnhancerTrainer, EnhancerUpdate, Pretraining
from agents.faces import FaceBatches
from agents.records.files import write_atomically
from agents.reinforce import RecurrentReinforce
from agents.runs import AGENT, BUDGET, CONFIGURATION, check_same, hold_folder, open_folder, read_config
from agents.state import check_weights
from facehall_env.datasets import load_dataset
from facehall_env.enhancer import ENHANCER, Enhancer, LocalEnhancementNetwork, load_enhancer, make_enhancer
from facehall_env.env import FaceHallucinationEnv
from facehall_env.metrics import MetricInputError


class TrainingRun:
    """One experiment and its folder.

    The folder holds the configuration as read and as resolved, the command, versions and commit, TensorBoard
    events, CSV logs, checkpoints and, at the end, ``agent.zip``, ``enhancer.safetensors`` and
    ``budget.json``.

    Args:
        experiment: What to do.
        resolved: The whole configuration as YAML, by which a folder knows its experiment again.
        ranks: The processes that share the run. Batch sizes are those of all of them together; the first one
            writes.

    Raises:
        ValueError: If the folder holds another experiment, or a setting is out of range.
        FileNotFoundError: If data or weights are missing.
    """

    MAY_CHANGE: Final = ("total_timesteps", "run", "env.root", "env.device")
    """Keys of the configuration that may, when a run goes on; see `check_same`."""

    def __init__(self, experiment: Experiment, resolved: str, ranks: Ranks = ALONE) -> None:
        self.experiment, self.ranks = experiment, ranks
        self.folder = experiment.run.folder
        self._resolved = resolved
        self.logger: Logger
        check_same(self.folder, resolved, self.MAY_CHANGE)
        torch.manual_seed(experiment.run.seed)
        self.env = make_environment(experiment, "train")
        self.task = self.env.task
        check_network(experiment.enhancer, self.task.core.enhancer)
        check_name(experiment, self.task.core.shape[1:])
        self.agent = RecurrentReinforce(
            "RecurrentPolicy",
            self.env,
            policy_kwargs=experiment.policy,
            seed=experiment.run.seed,
            prefetch=experiment.run.prefetch,
            ranks=ranks,
            **experiment.agent,
        )
        if experiment.start_from is not None:
            # Loading puts the saved enhancer's weights into the environment's, which the agent shares
            started = RecurrentReinforce.load(experiment.start_from, env=self.env)
            weights = started.policy.state_dict()
            check_weights(self.agent.policy, weights, f"policy of {experiment.start_from}")
            self.agent.policy.load_state_dict(weights)
        self.enhancer = self.agent.core.enhancer
        self.pretraining, self.pretraining_trainer = self._make_pretraining()
        self.checkpoints = CheckpointFolder(self.folder / "checkpoints", experiment.run.keep_checkpoints)
        self.seconds = {"pretraining": 0.0, "imitation": 0.0, "reinforcement": 0.0}
        self.validation = self._make_validation()
        self.best: float | None = None
        self.last_good: Path | None = None

    def _make_pretraining(self) -> tuple[Pretraining | None, EnhancerTrainer | None]:
        settings, run = self.experiment.pretraining, self.experiment.run
        if not settings.updates:
            return None, None
        if not isinstance(self.enhancer, LocalEnhancementNetwork):
            raise ValueError(
                "pretraining.updates is set, but the enhancer has nothing to train: name a preset"
            )
        trainer = EnhancerTrainer(
            self.enhancer,
            learning_rate=settings.learning_rate,
            betas=settings.betas,
            ema=settings.ema,
            ranks=self.ranks,
        )
        faces = FaceBatches(
            self.task.dataset,
            settings.batch_size,
            seed=run.seed,
            flip=settings.flip,
            balance_people=settings.balance_people,
            ranks=self.ranks,
            prefetch=run.prefetch,
            device=self.task.core.device,
        )
        pretraining = Pretraining(
            self.task.core.replica(
                reward="terminal", horizon=settings.horizon or self.experiment.env.horizon
            ),
            trainer,
            faces,
            updates=settings.updates,
            learning_rate=settings.learning_rate,
            warmup=settings.warmup,
            chooser=settings.chooser,
            seed=run.seed,
        )
        return pretraining, trainer

    def _make_validation(self) -> Validation | None:
        run = self.experiment.run
        if not run.validation_faces:
            return None
        env = self.experiment.env
        name = str(gym.spec(env.id).kwargs["dataset"])
        faces = load_dataset(name, root=env.root, split="val", **env.data)
        return Validation(
            self.agent.core,
            faces,
            run.validation_faces,
            every=run.validation_interval,
            measured=self._keep_best,
            ranks=self.ranks,
        )

    def _keep_best(self, gain: float) -> None:
        """Keep the state if the agent did better than ever on the validation faces."""
        if self.best is None or gain > self.best:
            self.best = gain
            self._verify_weights("validation")
            if self.ranks.first:
                self.checkpoints.write_best(self._state())

    def train(self) -> RecurrentReinforce:
        """Do what is left to do, and write the results.

        Returns:
            The agent that was selected (`RunConfig.select`), which need not be the last.

        Raises:
            DivergenceError: If learning came apart; the last checkpoint was good.
        """
        self.ranks.wait()  # all have looked at the folder before the first one writes to it
        with ExitStack() as stack:
            if self.ranks.first:
                stack.enter_context(hold_folder(self.folder, self._resolved, self.MAY_CHANGE))
            self._resume()
            self.logger = Logger(None, [])
            if self.ranks.first:
                self.logger = stack.enter_context(open_folder(self.folder, self._resolved))
            self.agent.set_logger(self.logger)
            self._pretrain()
            self._imitate()
            self._learn()
            self._finish()
            self.ranks.wait()  # nobody leaves while the first one still writes
        return self.agent

    # --- phases
    # -------------------------------------------------------------------------------------------------

    def _pretrain(self) -> None:
        pretraining, run = self.pretraining, self.experiment.run
        if pretraining is None or pretraining.done >= pretraining.updates:
            return
        reports: list[EnhancerUpdate] = []
        with self._phase("pretraining", pretraining.done, pretraining.updates) as phase:
            while pretraining.done < pretraining.updates:
                reports.append(pretraining.update())
                phase.advance(reports[-1].loss)
                if pretraining.done % run.log_interval == 0:
                    loss = float(torch.stack([report.loss for report in reports]).mean())
                    self.logger.record("pretraining/loss", loss)
                    self.logger.record("pretraining/gradient_norm", float(reports[-1].gradient_norm))
                    phase.log(pretraining.done, loss=f"{loss:.5f}")
                    reports = []
                if pretraining.between_episodes:
                    phase.checkpoint_if_due()
            phase.verify()
        self._checkpoint()
        if self.validation is not None:
            self.validation.measure_scan(self.logger)
            self.logger.dump(pretraining.done)

    def _imitate(self) -> None:
        agent, run = self.agent, self.experiment.run
        if not self.experiment.total_timesteps or agent.imitated >= agent.imitation_updates:
            return
        with self._phase("imitation", agent.imitated, agent.imitation_updates) as phase:
            agent.make_plan(progress_bar=run.progress_bar and self.ranks.first)
            while agent.imitated < agent.imitation_updates:
                loss = agent.imitate()
                phase.advance(loss)
                phase.verify()  # the next round draws from the policy
                if agent.imitated % max(1, run.log_interval // 5) == 0:
                    self.logger.record("imitation/loss", float(loss))
                    phase.log(agent.imitated, loss=f"{float(loss):.4f}")
                # After the last round only once it was measured: who goes on from there will not do it
                if agent.imitated < agent.imitation_updates:
                    phase.checkpoint_if_due()
        if self.validation is not None:
            self.validation.measure(agent.policy, self.logger)
            self.logger.dump(agent.num_timesteps)
        self._checkpoint()

    def _learn(self) -> None:
        agent, total = self.agent, self.experiment.total_timesteps
        if agent.num_timesteps >= total:
            return
        with self._phase("reinforcement", agent.num_timesteps, total, bar=False) as phase:
            callbacks: list[Any] = [AtIteration(phase.checkpoint_if_due)]
            if self.validation is not None:
                callbacks.append(self.validation)
            agent.learn(
                total - agent.num_timesteps,
                callback=callbacks,
                reset_num_timesteps=False,
                progress_bar=self.experiment.run.progress_bar and self.ranks.first,
            )
            phase.verify()
        if self.validation is not None:
            self.validation.measure(agent.policy, self.logger)
            self.logger.dump(agent.num_timesteps)
        self._checkpoint()

    def _phase(self, name: str, done: int, total: int, *, bar: bool = True) -> _Phase:
        return _Phase(
            self, name, done, total, bar=bar and self.experiment.run.progress_bar and self.ranks.first
        )

    # --- on disk
    # ------------------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "agent": self.agent.training_state(),
            "seconds": dict(self.seconds),
            "best": self.best,
        }
        if self.pretraining is not None and self.pretraining_trainer is not None:
            state["pretraining"] = self.pretraining.state_dict()
            state["pretraining_optimizer"] = self.pretraining_trainer.state_dict()
            if self.pretraining.done < self.pretraining.updates:  # nothing comes after
                state["pretraining_learner"] = self.pretraining_trainer.learner_state()
        return state

    def _checkpoint(self) -> None:
        if self.ranks.first:
            self.last_good = self.checkpoints.write(self._state())
        elif paths := self.checkpoints.paths():  # as far as this process sees the first one's folder
            self.last_good = paths[-1]

    @property
    def reached(self) -> str:
        """How far the run is, in words."""
        done = 0 if self.pretraining is None else self.pretraining.done
        return f"update {done}, round {self.agent.imitated}, timestep {self.agent.num_timesteps}"

    def _verify_weights(self, phase: str) -> None:
        networks = (("policy", self.agent.policy), ("enhancer", self.enhancer))
        verify_weights(networks, phase, self.reached, self.last_good)

    def _resume(self) -> None:
        newest = self.checkpoints.read_newest() if self.ranks.first else None
        if newest is not None:
            self._check_steps(newest[1]["agent"]["num_timesteps"])
        newest = self.ranks.share(newest)
        if newest is None:
            return
        path, state = newest
        self.last_good = path
        self.agent.load_training_state(state["agent"])
        self.seconds.update(state["seconds"])
        self.best = state.get("best")
        if self.pretraining is not None and self.pretraining_trainer is not None:
            self.pretraining.load_state_dict(state["pretraining"])
            self.pretraining_trainer.load_state_dict(state["pretraining_optimizer"])
            self.pretraining_trainer.load_learner_state(state.get("pretraining_learner", {}))
        if self.ranks.first:
            print(f"going on from {path}")

    def _check_steps(self, learned: int) -> None:
        """Refuse fewer steps than were learned, which the configuration would then deny.

        The last iteration may end a little beyond what was asked for, so as many as before are fine.
        """
        if not (self.folder / CONFIGURATION).is_file():
            return
        now, before = self.experiment.total_timesteps, read_config(self.folder).get("total_timesteps")
        if isinstance(before, int) and now < min(before, learned):
            raise ValueError(
                f"total_timesteps is {now:,}, but the run in {self.folder} has learned {learned:,} steps "
                "already: say as many or more, or choose another --run.folder"
            )

    def _finish(self) -> None:
        budget = self.budget()
        wanted = self.ranks.first and self.experiment.run.select == "best"
        best = self.ranks.share(self.checkpoints.read_best() if wanted else None)
        if best is not None:
            self.agent.load_training_state(best["agent"])
        budget["selected_timesteps"] = self.agent.num_timesteps
        budget["validation_psnr_gain"] = None if best is None else self.best
        if not self.ranks.first:
            return
        self.agent.save(self.folder / AGENT)
        if isinstance(self.enhancer, LocalEnhancementNetwork):
            self.enhancer.save(self.folder / ENHANCER)
        write_atomically(self.folder / BUDGET, json.dumps(budget, indent=2))

    def _origin(self) -> str | None:
        """The run or file whose weights this run started from, by name."""
        origin = self.experiment.start_from or self.experiment.enhancer.weights
        if origin is None:
            return None
        return origin.name if origin.is_dir() else origin.parent.name or origin.name

    def budget(self) -> dict[str, Any]:
        """What the run has cost so far: updates, patches, steps, seconds and the device."""
        settings = self.experiment.pretraining
        updates = 0 if self.pretraining is None else self.pretraining.done
        agent = self.agent
        return {
            "dataset": self.task.dataset.name,
            "faces": len(self.task.dataset),
            "protocol": self.task.core.protocol,
            "pretraining_updates": updates,
            "pretraining_patches": updates * settings.batch_size,
            "pretraining_chooser": settings.chooser,
            "imitation_episodes": agent.imitated * agent.imitation_faces,
            "reinforcement_episodes": agent.num_timesteps // agent.core.horizon,
            "seconds": {name: round(value) for name, value in self.seconds.items()},
            "device": str(agent.device),
            "processes": self.ranks.size,
            "precision": self.task.core.precision,
            "seed": self.experiment.run.seed,
            "start_from": self._origin(),
            "prior": None if self.experiment.enhancer.prior is None else self.experiment.enhancer.prior.name,
        }


class _Phase:
    """Progress bar, time and checkpoints of one phase."""

    def __init__(self, run: TrainingRun, name: str, done: int, total: int, *, bar: bool) -> None:
        self.run, self.name, self.done = run, name, done
        self.bar = tqdm(
            total=total, initial=done, desc=name, unit="update", disable=not bar, dynamic_ncols=True
        )
        self._written = self._clock = time.monotonic()
        # The enhancer's loss is an error of pictures; the cross-entropy of the warm start has no bound
        self._watch = LossWatch(name, limit=math.inf if name == "imitation" else WORST_ERROR)

    def __enter__(self) -> _Phase:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._count_time()
        self.bar.close()
        if isinstance(error, MetricInputError):
            raise not_finite(self.name, self.run.reached, str(error), self.run.last_good) from error

    def advance(self, loss: Tensor) -> None:
        self.done += 1
        self._watch.add(self.done, loss)
        self.bar.update(1)

    def verify(self) -> None:
        """Stop here if learning has diverged."""
        self._watch.verify(self.run.last_good)
        self.run._verify_weights(self.name)

    def log(self, step: int, **shown: str) -> None:
        self._watch.verify(self.run.last_good)
        self.bar.set_postfix(shown)
        self.run.logger.dump(step)

    def checkpoint_if_due(self) -> None:
        if self.name == "reinforcement":
            if (loss := self.run.agent.enhancer_loss) is not None:
                self._watch.add(self.run.agent._n_updates, loss)
            self.verify()  # the next rollout draws from the policy
        if time.monotonic() - self._written >= 60.0 * self.run.experiment.run.checkpoint_minutes:
            self.verify()
            self._count_time()
            self.run._checkpoint()
            self._written = time.monotonic()

    def _count_time(self) -> None:
        now = time.monotonic()
        self.run.seconds[self.name] += now - self._clock
        self._clock = now


def make_environment(experiment: Experiment, split: str) -> FaceHallucinationEnv:
    """The experiment's environment with its enhancer attached."""
    env = experiment.env
    made = gym.make(env.id, disable_env_checker=True, **environment_arguments(env, split)).unwrapped
    assert isinstance(made, FaceHallucinationEnv)
    network, core = experiment.enhancer, made.core
    if network.weights is not None:
        if network.prior is not None:
            raise ValueError(
                "enhancer.prior is set, but enhancer.weights bring their own prior: leave one out"
            )
        made.set_enhancer(load_enhancer(network.weights))
        return made
    prior = None if network.prior is None else load_prior(network.prior)
    made.set_enhancer(
        make_enhancer(
            network.preset,
            shape=core.shape,
            patch_size=core.patch_size,
            prior=prior,
            **network.overrides(),
        )
    )
    return made


def check_network(wanted: NetworkConfig, enhancer: Enhancer) -> None:
    """Refuse a configuration that says another thing of the network than the weight file that it names.

    Args:
        wanted: The configuration.
        enhancer: What it led to.

    Raises:
        ValueError: If they differ; the message names the field.
    """
    if wanted.weights is None or not isinstance(enhancer, LocalEnhancementNetwork):
        return
    for name, value in wanted.overrides().items():
        found = getattr(enhancer.config, name)
        if (tuple(value) if isinstance(found, tuple) else value) != found:
            raise ValueError(
                f"enhancer.{name} is {value!r}, but the network in {wanted.weights} has {found!r}: leave "
                "enhancer.weights out, or what differs"
            )


def environment_arguments(env: EnvironmentConfig, split: str) -> dict[str, Any]:
    """What `gymnasium.make` takes beside the id; the enhancer is attached afterwards."""
    return {
        "root": env.root,
        "split": split,
        "horizon": env.horizon,
        "patch_size": env.patch_size,
        "boundary": env.boundary,
        "protocol": env.protocol,
        "reward": env.reward,
        "consistent": env.consistent,
        "enhancer": "identity",
        "precision": env.precision,
        "compile": env.compile,
        "channels_last": env.channels_last,
        "device": env.device,
        "data_options": env.data,
    }
