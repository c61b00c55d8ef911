"""RecurrentReinforce: REINFORCE on whole episodes with a recurrent policy, in turns with the enhancer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, cast, get_args

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.utils import FloatSchedule, update_learning_rate
from torch import Tensor, nn

from agents.advantages import Baseline, batch_mean, leave_one_out, unit_of
from agents.algorithm import CoreAlgorithm, Value, as_schedule
from agents.buffers import EpisodeBuffer
from agents.distributed import ALONE, Ranks
from agents.enhancement import Coupling, EnhancerTrainer, check_ema
from agents.faces import FaceBatches
from agents.imitation import (
    Demonstration,
    OracleTeacher,
    PlanTeacher,
    Teacher,
    TeacherName,
    imitation_loss,
)
from agents.planning import PLAN_FACES, plan_scan
from agents.policies import PolicyConfig, PolicyNetwork, RecurrentPolicyNetwork, mode
from agents.presets import preset_arguments
from agents.rollout import PolicyAgent, describe, walk
from agents.scripted import ErrorMap, OracleCriterion
from agents.state import load_training_state, training_state
from facehall_env.core import Precision, Reward, autocast
from facehall_env.enhancer import Enhancer, IdentityEnhancer
from facehall_env.messages import say
from facehall_env.task import FaceTask, named_enhancer


class RecurrentReinforce(CoreAlgorithm):
    """Learns where to look by REINFORCE (Williams 1992), and how to enhance, in turns (Cao et al. 2017).

    An iteration collects `n_faces` x `n_rollouts` episodes, updates the policy once, and, where the
    coupling says so, the enhancer on the same patches. Every step is credited with the reward from there on
    (gamma = 1).

    The defaults are the recipe that learned *where next* in argmax mode; the paper's own, in which a terminal
    reward credits every step and a flat head reads the history, is ``from_preset("paper", env)``; that of the
    authors' released code, which differs from the paper, ``from_preset("authors", env)``.

    An environment without an enhancer (the identity), or with the pretrained one that it has by default, gets
    one: that of a loaded agent, else, unless the coupling is frozen, an untrained network of the preset
    ``tiny``, which starts as the identity. So learning starts from trained weights only where they were asked
    for: ``gym.make(..., enhancer="pretrained")``. It is `enhancer`; other environments share it by
    ``env.unwrapped.set_enhancer(agent.enhancer)``.

    Args:
        policy: ``"RecurrentPolicy"``, the only one.
        env: A FaceHallucination environment (or its id), which gives the task, the faces and the enhancer.
        learning_rate: Of the policy's Adam: a number, the two ends of a linear schedule, or a function of the
            share of the timesteps that is left; so are `ent_coef` and `enhancer_learning_rate`.
        n_faces: Faces an iteration.
        n_rollouts: Episodes a face, K.
        rows_per_pass: Episodes that go through the network at once in an update; gradients are accumulated,
            so this bounds memory and changes nothing else. As few as 8 fit a CPU's cache, which halves the
            time of an update against 32.
        reward: What the agent learns from: ``"delta"``, ``"terminal"``, ``"coverage"``; None: the
            environment's.
        baseline: What is subtracted from the return: ``"scalar"`` (learned, one a step), ``"batch"`` (the
            mean over the batch), ``"leave_one_out"`` (the mean over the face's other rollouts; K >= 2),
            ``"self_critical"`` (the return of the argmax rollout), ``"value"`` (the batch's mean and what a
            head on the LSTM's state adds to it).
        normalize_advantage: Divide by the batch's standard deviation: MSEs differ by about 1e-3, so without
            it the gradient vanishes beside the entropy bonus.
        ent_coef: Weight of the entropy bonus.
        vf_coef: How fast learned baselines learn: the weight of the value head's squared error, or the
            scalar's step, from 0 to 1, down its squared error, which is towards the mean return.
        max_grad_norm: The policy's and the enhancer's gradient norms are clipped here.
        imitation_updates: Rounds of the warm start, imitating the teacher, before REINFORCE.
        imitation_teacher: ``"plan"``: the scan that wins most in the mean over some training faces, planned
            before the first round (`agents.planning`); ``"oracle"``: the greedy oracle, which sees each
            high-resolution picture and says much of it that no policy can know.
        imitation_plan_faces: Faces that the plan is made for, evenly spread over the training faces.
        imitation_faces: Faces, and so episodes, a round.
        imitation_epochs: How often a round walks over its episodes.
        imitation_rows: Episodes an update of the warm start.
        imitation_learning_rate: Of the warm start.
        imitation_temperature: Of the oracle's advice, see `agents.imitation.oracle_targets`.
        imitation_floor: Likewise, from 0 to 1, see `agents.imitation.OracleTeacher`.
        oracle: The criterion of the oracle that is imitated, see `agents.scripted.ErrorMap`.
        coupling: ``"alternating"``: the enhancer's updates follow the policy's; ``"joint"``: one update of
            both from the same batch at the same time; ``"frozen"``: the enhancer stays.
        enhancer_learning_rate: Of the enhancer's Adam.
        enhancer_betas: Of the enhancer's Adam; the paper's.
        enhancer_updates: Updates of the enhancer an iteration (alternating), as far as its patches go.
        enhancer_batch_size: Patches (episodes with `backprop_through_image`) that go through the enhancer at
            once.
        enhancer_accumulate: Batches an update of the enhancer (alternating): it follows the gradient of the
            mean over all of them, as one larger batch would, in the memory of one.
        enhancer_ema: Decay of a running average of the enhancer's weights, in [0, 1); 0: none. The episodes,
            validation and files then have the average; the optimiser goes on from weights of its own (see
            `agents.enhancement.EnhancerTrainer`).
        backprop_through_image: Let the enhancer's gradient flow through the pasted pictures of the episode.
        flip: Mirror training faces at random.
        balance_people: Show every person equally often, see `agents.faces.FaceBatches`.
        prefetch: Read the next batch of faces in a thread while this one is used; it changes nothing but the
            time, so that files do not keep it.
        policy_precision: ``"bfloat16"`` runs the policy under autocast while it learns (rollouts, updates,
            warm start); it acts and is measured in single precision all the same.
        policy_kwargs: Fields of `PolicyConfig`.
        stats_window_size: As in Stable-Baselines3.
        tensorboard_log: As in Stable-Baselines3.
        verbose: As in Stable-Baselines3.
        seed: Of faces, draws and initial weights; None: drawn from the operating system.
        device: The environment's, for which None and ``"auto"`` stand; chosen freely only by `load` without
            one.
        ranks: The processes that share the learning; `n_faces`, `imitation_faces` and batch sizes are those
            of all of them together (see `agents.distributed`).
        _init_setup_model: As in Stable-Baselines3.

    Raises:
        ValueError: If an argument is out of range or the environment is not one of ours; the message names
            it.
    """

    faces: FaceBatches
    imitation_batches: FaceBatches
    plan: list[int] | None
    """The places of the planned scan that the warm start taught, one a step; None: none was planned."""
    choices: Tensor
    """What the policy chose in the collected episodes, in its own terms: places, int64, (T, N)."""

    HYPERPARAMETERS: ClassVar[tuple[str, ...]] = (
        "learning_rate",
        "n_faces",
        "n_rollouts",
        "rows_per_pass",
        "reward",
        "baseline",
        "normalize_advantage",
        "ent_coef",
        "vf_coef",
        "max_grad_norm",
        "imitation_updates",
        "imitation_teacher",
        "imitation_plan_faces",
        "imitation_faces",
        "imitation_epochs",
        "imitation_rows",
        "imitation_learning_rate",
        "imitation_temperature",
        "imitation_floor",
        "oracle",
        "coupling",
        "enhancer_learning_rate",
        "enhancer_betas",
        "enhancer_updates",
        "enhancer_batch_size",
        "enhancer_accumulate",
        "enhancer_ema",
        "backprop_through_image",
        "flip",
        "balance_people",
        "policy_precision",
        "seed",
    )

    def __init__(
        self,
        policy: str | type[PolicyNetwork] = "RecurrentPolicy",
        env: GymEnv | str | None = None,
        learning_rate: Value = 3e-4,
        n_faces: int = 32,
        n_rollouts: int = 4,
        rows_per_pass: int = 8,
        reward: Reward | None = "delta",
        baseline: Baseline = "leave_one_out",
        normalize_advantage: bool = True,
        ent_coef: Value = 1e-3,
        vf_coef: float = 0.5,
        max_grad_norm: float = 1.0,
        imitation_updates: int = 100,
        imitation_teacher: TeacherName = "plan",
        imitation_plan_faces: int = PLAN_FACES,
        imitation_faces: int = 32,
        imitation_epochs: int = 2,
        imitation_rows: int = 8,
        imitation_learning_rate: float = 1e-3,
        imitation_temperature: float = 0.05,
        imitation_floor: float = 1.0,
        oracle: OracleCriterion = "gain",
        coupling: Coupling = "alternating",
        enhancer_learning_rate: Value = 2e-4,
        enhancer_betas: tuple[float, float] = (0.5, 0.999),
        enhancer_updates: int = 25,
        enhancer_batch_size: int = 32,
        enhancer_accumulate: int = 1,
        enhancer_ema: float = 0.0,
        backprop_through_image: bool = False,
        flip: bool = True,
        balance_people: bool = False,
        prefetch: bool = False,
        policy_precision: Precision = "float32",
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = 0,
        device: torch.device | str | None = None,
        ranks: Ranks = ALONE,
        _init_setup_model: bool = True,
    ) -> None:
        self.ranks = ranks
        for name, value, kind in (
            ("baseline", baseline, Baseline),
            ("coupling", coupling, Coupling),
            ("imitation_teacher", imitation_teacher, TeacherName),
            ("oracle", oracle, OracleCriterion),
            ("policy_precision", policy_precision, Precision),
        ):
            if value not in get_args(kind):
                raise ValueError(f"{name} is {value!r}, but it must be one of {', '.join(get_args(kind))}")
        for name, number, least in (
            ("n_faces", n_faces, 1),
            ("n_rollouts", n_rollouts, 1),
            ("rows_per_pass", rows_per_pass, 1),
            ("imitation_updates", imitation_updates, 0),
            ("imitation_plan_faces", imitation_plan_faces, 1),
            ("imitation_faces", imitation_faces, 1),
            ("imitation_epochs", imitation_epochs, 1),
            ("imitation_rows", imitation_rows, 1),
            ("enhancer_updates", enhancer_updates, 1),
            ("enhancer_batch_size", enhancer_batch_size, 1),
            ("enhancer_accumulate", enhancer_accumulate, 1),
            ("seed", seed or 0, 0),
        ):
            if number < least:
                raise ValueError(f"{name} is {number}, but it must be at least {least}")
        check_ema("enhancer_ema", enhancer_ema)
        if not 0.0 <= imitation_floor <= 1.0:
            raise ValueError(f"imitation_floor is {imitation_floor}, but it must be a share, from 0 to 1")
        if baseline == "leave_one_out" and n_rollouts < 2:
            raise ValueError(
                "baseline 'leave_one_out' compares the rollouts of one face: set n_rollouts to 2 or more"
            )
        if baseline == "scalar" and not 0.0 <= vf_coef <= 1.0:
            raise ValueError(f"vf_coef is {vf_coef}, but with baseline 'scalar' it is a step, from 0 to 1")
        super().__init__(
            policy,
            env,
            learning_rate,
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            seed=seed,
            device=device,
        )
        self.n_faces, self.n_rollouts, self.rows_per_pass = n_faces, n_rollouts, rows_per_pass
        self.reward: Reward | None = reward
        self.baseline: Baseline = baseline
        self.normalize_advantage = normalize_advantage
        self.ent_coef, self.vf_coef, self.max_grad_norm = ent_coef, vf_coef, max_grad_norm
        self.imitation_updates, self.imitation_faces = imitation_updates, imitation_faces
        self.imitation_teacher: TeacherName = imitation_teacher
        self.imitation_plan_faces = imitation_plan_faces
        self.imitation_epochs, self.imitation_rows = imitation_epochs, imitation_rows
        self.imitation_learning_rate = imitation_learning_rate
        self.imitation_temperature, self.imitation_floor = imitation_temperature, imitation_floor
        self.oracle: OracleCriterion = oracle
        self.coupling: Coupling = coupling
        self.enhancer_learning_rate, self.enhancer_betas = enhancer_learning_rate, enhancer_betas
        self.enhancer_updates, self.enhancer_batch_size = enhancer_updates, enhancer_batch_size
        self.enhancer_accumulate = enhancer_accumulate
        self.enhancer_ema, self.backprop_through_image = enhancer_ema, backprop_through_image
        self.flip, self.balance_people, self.prefetch = flip, balance_people, prefetch
        self.policy_precision: Precision = policy_precision
        self.imitated = 0
        self.plan: list[int] | None = None
        self.enhancer_loss: Tensor | None = None  # the largest of the last phase, by which divergence shows
        self.enhancer_trainer: EnhancerTrainer | None = None
        self._positions = {"faces": {"seen": 0}, "imitation_batches": {"seen": 0}}
        if _init_setup_model:
            self._setup_model()

    @classmethod
    def from_preset(
        cls, preset: str, env: GymEnv | str | None = None, **overrides: Any
    ) -> RecurrentReinforce:
        """An agent with named hyperparameters.

        Args:
            preset: ``"default"``, ``"paper"`` or ``"authors"``, see `agents.presets`.
            env: As in the constructor.
            **overrides: Constructor arguments that differ; `policy_kwargs` replaces field by field.

        Raises:
            ValueError: If there is no such preset.
        """
        return cls("RecurrentPolicy", env, **preset_arguments(preset, overrides))

    # --- learning ---

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int | None = 1,
        tb_log_name: str = "RecurrentReinforce",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> RecurrentReinforce:
        """Make the warm start if that has not been done, then iterate until `total_timesteps` were taken.

        Args:
            total_timesteps: Environment steps; an iteration takes n_faces * n_rollouts * T of them.
            callback: As in Stable-Baselines3; `on_step` is called once a step of all rows, but not in the
                warm start.
            log_interval: Iterations between two lines of the log; None for no log.
            tb_log_name: As in Stable-Baselines3.
            reset_num_timesteps: As in Stable-Baselines3.
            progress_bar: Show one (tqdm).

        Returns:
            The agent itself.

        Raises:
            ValueError: If the agent has no environment.
        """
        if self.env is None:
            raise ValueError("this agent has no environment to learn in: give it one with set_env(env)")
        total_timesteps, callback = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        callback.on_training_start(locals(), globals())
        self._warm_up(progress_bar)
        iteration = 0
        while self.num_timesteps < total_timesteps and self.collect_rollouts(callback):
            iteration += 1
            self._update_current_progress_remaining(self.num_timesteps, total_timesteps)
            self.train()
            self.train_enhancer()
            if log_interval is not None and iteration % log_interval == 0:
                self.dump_logs(iteration)
        callback.on_training_end()
        return self

    def collect_rollouts(self, callback: BaseCallback) -> bool:
        """Fill the buffer with n_rollouts episodes of each of n_faces faces.

        Returns:
            False if the callback asked to stop.
        """
        callback.on_rollout_start()

        def after_step() -> bool:
            self.num_timesteps += self.buffer.rows * self.ranks.size
            callback.update_locals({"self": self, "dones": np.full(self.buffer.rows, self.core.terminated)})
            return callback.on_step()

        faces = self._take(self.faces).repeat_interleave(self.n_rollouts, dim=0)
        explorer = PolicyAgent(
            self.policy,
            generator=self.generator,
            training=True,
            precision=self.policy_precision,
            ranks=self.ranks,
        )
        if not walk(self.core, explorer, faces, buffer=self.buffer, after_step=after_step):
            return False
        self.choices = torch.stack(explorer.chosen)
        returns = self.buffer.rewards.sum(dim=0).tolist()
        # One entry an episode as Monitor would write it, so that callbacks and logs find what they know
        self._update_info_buffer(
            [{"episode": {"r": value, "l": self.core.horizon, "t": 0.0}} for value in returns]
        )
        callback.on_rollout_end()
        return True

    def _take(self, batches: FaceBatches) -> Tensor:
        """The next batch on the device, which need not be waited for."""
        return batches.next().to(self.device, non_blocking=True)

    def train(self) -> None:
        """One REINFORCE update of the policy from the buffer.

        Descends the mean over episodes and steps of ``-A_t log pi(l_t | s_t) - ent_coef H(pi(. | s_t))``,
        where the advantage is ``A_t = (R_t - b_t) / u``: the reward-to-go less the baseline, in units of
        its standard deviation. The baseline ``value`` takes what its head v says of the state off as well,
        and adds ``vf_coef (A_t - v(s_t))^2``, whose gradient stops at the head.
        """
        update_learning_rate(self.optimizer, self.lr_schedule(self._current_progress_remaining))
        ent_coef = self.ent_schedule(self._current_progress_remaining)
        returns, choices = self.buffer.returns(), self.choices
        advantages = returns - self._baseline(returns)
        unit = unit_of(advantages, self.ranks) if self.normalize_advantage else torch.ones_like(returns[0, 0])
        self.optimizer.zero_grad(set_to_none=True)
        entropy_sum, value_loss_sum = torch.zeros(2, device=self.device)
        for rows in self._passes(self.buffer.rows):
            with mode(self.policy, training=True):
                parameters, values = self._evaluate(self.buffer.pictures[:, rows], choices[:, rows])
            log_prob, entropy = self.policy.log_prob_and_entropy(parameters, choices[:, rows])
            advantage = advantages[:, rows] / unit
            value_loss = torch.zeros_like(advantage)
            if self.baseline == "value":
                value_loss = (advantage - values).square()
                advantage = advantage - values.detach()
            loss = -advantage * log_prob - ent_coef * entropy + self.vf_coef * value_loss
            (loss.sum() / (returns.numel() * self.ranks.size)).backward()  # type: ignore[no-untyped-call]
            entropy_sum += entropy.detach().sum()
            value_loss_sum += value_loss.detach().sum()
        norm = self._step()
        if self.baseline == "scalar":
            self.baseline_values.lerp_(self.ranks.mean(returns.mean(dim=1)), self.vf_coef)
        self._n_updates += 1
        self._log_update(
            entropy=self.ranks.mean(entropy_sum / returns.numel()),
            value_loss=self.ranks.mean(value_loss_sum / returns.numel()),
            gradient_norm=norm,
            return_unit=unit,
            ent_coef=ent_coef,
        )

    def train_enhancer(self) -> None:
        """The enhancer's phase: updates on the patches that were just collected."""
        if self.enhancer_trainer is None:
            return
        learning_rate = self.enhancer_schedule(self._current_progress_remaining)
        self.enhancer_trainer.set_learning_rate(learning_rate)
        reports = self.enhancer_trainer.fit(
            self.core,
            self.buffer,
            updates=self.enhancer_updates,
            batch_size=self.enhancer_batch_size,
            accumulate=None if self.coupling == "joint" else self.enhancer_accumulate,
            through_pictures=self.backprop_through_image,
            generator=self.order_generator,
        )
        losses = torch.stack([report.loss for report in reports])
        self.enhancer_loss = losses.max()
        self.logger.record("enhancer/loss", float(losses.mean()))
        self.logger.record("enhancer/gradient_norm", float(reports[-1].gradient_norm))
        self.logger.record("enhancer/learning_rate", learning_rate)

    def _evaluate(self, pictures: Tensor, choices: Tensor) -> tuple[Tensor, Tensor]:
        """`PolicyNetwork.evaluate` in the precision of learning, from stored pictures; float32."""
        with autocast(self.device, self.policy_precision):
            parameters, values = self.policy.evaluate(pictures.float(), choices)
        return parameters.float(), values.float()

    def _baseline(self, returns: Tensor) -> Tensor:
        """What the returns (T, N) are compared with; (T, N)."""
        if self.baseline == "leave_one_out":
            return leave_one_out(returns, self.n_rollouts)
        if self.baseline == "scalar":
            return self.baseline_values[:, None].expand_as(returns)
        if self.baseline == "self_critical":
            return self._greedy_returns().repeat_interleave(self.n_rollouts, dim=1)
        return batch_mean(returns, self.ranks)

    def _greedy_returns(self) -> Tensor:
        """The returns of the argmax policy on the faces of the buffer, one episode each; (T, n_faces)."""
        own = self.n_faces // self.ranks.size
        buffer = EpisodeBuffer(self.core.horizon, own, self.core.shape, self.device)
        faces = self.buffer.high_resolution[:: self.n_rollouts]
        walk(self.core, PolicyAgent(self.policy, deterministic=True), faces, buffer=buffer)
        return buffer.returns()

    def _passes(self, rows: int) -> Iterator[slice]:
        """The rows of a buffer, as many at a time as go through the network at once."""
        return (slice(start, start + self.rows_per_pass) for start in range(0, rows, self.rows_per_pass))

    def _step(self) -> Tensor:
        """Clip the policy's gradient, that of all processes, and follow it; returns its norm before."""
        self.ranks.sum_gradients(self.policy.parameters())
        norm = nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self.optimizer.step()
        return norm

    def _log_update(self, *, value_loss: Tensor, **train: Tensor | float) -> None:
        episodes = describe(self.buffer)
        means = self.ranks.mean(torch.tensor(list(episodes.values()))).tolist()
        for name, value in zip(episodes, means, strict=True):
            self.logger.record(f"rollout/{name}", value)
        if self.baseline == "value":
            train["value_loss"] = value_loss
        for name, number in train.items():
            self.logger.record(f"train/{name}", float(number))
        self.logger.record("train/learning_rate", self.optimizer.param_groups[0]["lr"])
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    # --- the warm start ---

    def _warm_up(self, progress_bar: bool) -> None:
        """All rounds of the warm start that have not been made, with ten lines in the log."""
        if self.imitated < self.imitation_updates:
            self.make_plan(progress_bar=progress_bar)
        while self.imitated < self.imitation_updates:
            self.logger.record("imitation/loss", float(self.imitate()))
            if self.imitated % max(1, self.imitation_updates // 10) == 0:
                self.logger.record("imitation/updates", self.imitated)
                self.logger.dump(self.imitated)

    def imitate(self) -> Tensor:
        """One round of the warm start: the policy's distribution towards the teacher's, on its own states.

        The share of steps that follow the teacher falls from one to zero over the warm start.

        Returns:
            The mean loss of the round's updates.

        Raises:
            ValueError: If the policy does not choose places.
        """
        self._require_places()
        self.make_plan()
        demonstration = Demonstration(
            PolicyAgent(
                self.policy, generator=self.generator, precision=self.policy_precision, ranks=self.ranks
            ),
            self._teacher(),
            share=1.0 - self.imitated / max(1, self.imitation_updates),
            generator=self.generator,
            ranks=self.ranks,
        )
        own = self.imitation_faces // self.ranks.size
        buffer = EpisodeBuffer(self.core.horizon, own, self.core.shape, self.device)
        walk(self.core, demonstration, self._take(self.imitation_batches), buffer=buffer)
        places, targets = torch.stack(demonstration.places), torch.stack(demonstration.targets)
        update_learning_rate(self.optimizer, self.imitation_learning_rate)
        losses = []
        for _ in range(self.imitation_epochs):
            order = torch.randperm(self.imitation_faces, generator=self.order_generator)
            for batch in torch.split(order, self.imitation_rows):
                rows = self.ranks.own_of(batch, own).to(self.device, non_blocking=True)
                self.optimizer.zero_grad(set_to_none=True)
                loss = torch.zeros((), device=self.device)
                if len(rows):
                    with mode(self.policy, training=True):
                        logits, _ = self._evaluate(buffer.pictures[:, rows], places[:, rows])
                    loss = imitation_loss(logits, targets[:, rows]) * (len(rows) / len(batch))
                    loss.backward()  # type: ignore[no-untyped-call]
                self._step()
                losses.append(self.ranks.sum(loss))
        self.imitated += 1
        return torch.stack(losses).mean()

    def make_plan(self, *, progress_bar: bool = False) -> None:
        """Plan the scan that the warm start teaches, where that is its teacher, once; it may take minutes.

        Args:
            progress_bar: Show one.
        """
        if self.imitation_teacher == "plan" and self.plan is None:
            config, faces = self.policy.config, self.task.dataset
            self.plan = plan_scan(
                self.core, config, faces, self.imitation_plan_faces, self.ranks, progress_bar=progress_bar
            )

    def _teacher(self) -> Teacher:
        """Who is imitated."""
        if self.imitation_teacher == "plan" and self.plan is not None:
            return PlanTeacher(self.plan)
        return OracleTeacher(
            ErrorMap(self.oracle), temperature=self.imitation_temperature, floor=self.imitation_floor
        )

    # --- setting up ---

    def _setup_model(self, config: PolicyConfig | None = None, enhancer: Enhancer | None = None) -> None:
        self.ent_schedule = FloatSchedule(as_schedule(self.ent_coef))
        self.enhancer_schedule = FloatSchedule(as_schedule(self.enhancer_learning_rate))
        self.baseline_values = torch.zeros(0)
        super()._setup_model(config, enhancer)
        if self.imitation_updates:
            self._require_places()
        if self.policy.NORMALIZES_BATCHES:
            if self.ranks.size > 1:
                raise ValueError(
                    f"head {self.policy.config.head!r} normalises by the mean and variance of a batch, which "
                    "several processes would each take of their own part: train it in one process"
                )
            rows = self.n_faces * self.n_rollouts
            if rows < 2 or self.rows_per_pass < rows:
                raise ValueError(
                    f"rows_per_pass is {self.rows_per_pass} for {rows} episodes an iteration, but the policy "
                    "normalises by the mean and variance of a batch: collect 2 episodes or more, and set "
                    "rows_per_pass to as many"
                )

    def _require_places(self) -> None:
        if not isinstance(self.policy, RecurrentPolicyNetwork):
            raise ValueError(
                f"imitation_updates is {self.imitation_updates}, but only policies that choose places of a "
                f"grid can imitate a teacher; head {self.policy.config.head!r} chooses points: set it to 0"
            )

    def _attach(self, tasks: list[FaceTask]) -> None:
        """Run on this task from now on, and go on counting faces."""
        positions = self.positions()
        super()._attach(tasks)
        core, faces = self.core, self.task.dataset
        own = self.ranks.check("n_faces", self.n_faces)
        if self.imitation_updates and self.imitation_teacher == "plan":
            self.ranks.check("imitation_plan_faces", self.imitation_plan_faces)
        self.buffer = EpisodeBuffer(core.horizon, own * self.n_rollouts, core.shape, self.device)
        share: Any = {
            "flip": self.flip,
            "balance_people": self.balance_people,
            "ranks": self.ranks,
            "prefetch": self.prefetch,
            "device": self.device,
        }
        self.faces = FaceBatches(faces, self.n_faces, seed=self.seed, **share)
        self.imitation_batches = FaceBatches(faces, self.imitation_faces, seed=self.seed + 1, **share)
        self.load_positions(positions)
        if self.baseline_values.shape != (core.horizon,):
            self.baseline_values = torch.zeros(core.horizon, device=self.device)

    def _enhancer_for(self, task: FaceTask) -> Enhancer:
        """The environment's enhancer, or the agent's, or a new one; refuse to train what cannot learn.

        Nor is an enhancer trained that the environment has by default: nobody asked to start from it.
        """
        enhancer = super()._enhancer_for(task)
        if self.coupling == "frozen":
            return enhancer
        unasked = enhancer is task.core.enhancer and task.enhancer_by_default
        if unasked and task.pretrained is not None:
            say(
                f"the agent trains a new enhancer instead of {task.pretrained.name}, which the environment "
                'has by default; make it with enhancer="pretrained" to start from these weights'
            )
        if isinstance(enhancer, IdentityEnhancer) or unasked:
            enhancer = cast(Enhancer, named_enhancer("tiny", task.core.shape, task.core.patch_size))
        if not isinstance(enhancer, nn.Module) or not list(enhancer.parameters()):
            raise ValueError(
                f"coupling is {self.coupling!r}, but the environment's enhancer has nothing to train: attach "
                "one with env.unwrapped.set_enhancer(make_enhancer('tiny')), or set coupling to 'frozen'"
            )
        return enhancer

    def _adopt(self, enhancer: Enhancer) -> None:
        super()._adopt(enhancer)
        trained = None if self.enhancer_trainer is None else self.enhancer_trainer.enhancer
        if self.coupling != "frozen" and isinstance(enhancer, nn.Module) and enhancer is not trained:
            self.enhancer_trainer = EnhancerTrainer(
                enhancer,
                learning_rate=self.enhancer_schedule(1.0),
                betas=self.enhancer_betas,
                max_grad_norm=self.max_grad_norm,
                ema=self.enhancer_ema,
                ranks=self.ranks,
            )

    # --- what has been learned ---

    def training_state(self) -> dict[str, Any]:
        """All that learning has changed, to resume exactly between two updates; tensors and plain values."""
        return training_state(self)

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Go on from `training_state`; parts that are missing stay as they are.

        Raises:
            ValueError: If its weights do not fit; then nothing was changed.
        """
        load_training_state(self, state)

    def positions(self) -> dict[str, dict[str, int]]:
        """How many faces REINFORCE and the warm start have seen, which says what comes next."""
        if not hasattr(self, "faces"):
            return self._positions
        return {"faces": self.faces.state_dict(), "imitation_batches": self.imitation_batches.state_dict()}

    def load_positions(self, positions: dict[str, dict[str, int]]) -> None:
        """Take the faces up from there, now or when there is an environment."""
        self._positions = self.positions() | positions
        if hasattr(self, "faces"):
            self.faces.load_state_dict(self._positions["faces"])
            self.imitation_batches.load_state_dict(self._positions["imitation_batches"])

    def load_baseline_values(self, values: Tensor) -> None:
        """Take learned scalars over, where the horizon is theirs."""
        if self.env is None or values.shape == self.baseline_values.shape:
            self.baseline_values = values.detach().clone().to(self.device)
