"""RecurrentReinforce: REINFORCE on whole episodes, alternating with the enhancer's phase.

Shaped like Stable-Baselines3's algorithms, but it talks to the environment's core in tensors.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule, LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecTransposeImage
from torch import Tensor, nn

from agents.buffers import EpisodeBuffer
from agents.callbacks import ProgressBar
from agents.enhancement import EnhancerTrainer
from agents.faces import FaceBatches
from agents.files import load_agent, save_agent
from agents.imitation import Demonstration, imitation_loss
from agents.policies import PolicyConfig, PolicyState, RecurrentPolicyNetwork
from agents.presets import PRESETS
from agents.rollout import PolicyAgent, distinct_places, walk
from agents.scripted import ErrorMap, OracleCriterion
from facehall_env.core import Reward
from facehall_env.task import FaceTask

Baseline = Literal["scalar", "batch", "leave_one_out", "self_critical", "value"]
Coupling = Literal["alternating", "joint", "frozen"]
Value = float | tuple[float, float] | Schedule
"""A constant, a pair (at the start, at the end; linear in between), or a function of the remaining
progress."""


class RecurrentReinforce(BaseAlgorithm):
    """Learns where to look by REINFORCE (Williams 1992) and how to enhance, in turns (Cao et al., 3.3).

    An iteration collects `n_faces` x `n_rollouts` episodes, updates the policy once, and, where the coupling
    says so, the enhancer on the same patches. Every step is credited with the reward from there on (gamma =
    1).

    The defaults are the recipe that learned *where next* in argmax mode; the paper's own, in which a terminal
    reward credits every step and a flat head reads the history, is `agents.presets.PAPER`.

    Args:
        policy: ``"RecurrentPolicy"``, the only one.
        env: A FaceHallucination environment (or its id), from which the task, the faces and the enhancer
            come.
        learning_rate: Of the policy's Adam.
        n_faces: Faces an iteration.
        n_rollouts: Episodes a face, K.
        rows_per_pass: Episodes that go through the network at once in an update; gradients are accumulated,
            so this bounds memory and changes nothing else.
        reward: What the agent learns from: ``"delta"``, ``"terminal"``, ``"coverage"``; None: the
            environment's.
        baseline: What is subtracted from the return: ``"scalar"`` (learned, one a step), ``"batch"`` (the
            mean over the batch), ``"leave_one_out"`` (the mean over the face's other rollouts; K >= 2),
            ``"self_critical"`` (the return of the argmax rollout), ``"value"`` (a head on the LSTM's state).
        normalize_advantage: Divide by the batch's standard deviation: MSEs differ by about 1e-3, so without
            it the gradient vanishes.
        ent_coef: Weight of the entropy bonus.
        vf_coef: Weight of the loss of the learned baselines.
        max_grad_norm: The policy's gradient norm is clipped here.
        imitation_updates: Rounds of the warm start, imitating the greedy oracle, before REINFORCE.
        imitation_faces: Faces, and so episodes, a round.
        imitation_epochs: How often a round walks over its episodes.
        imitation_rows: Episodes an update of the warm start.
        imitation_learning_rate: Of the warm start.
        imitation_temperature: See `agents.imitation.oracle_targets`.
        oracle: The criterion of the oracle that is imitated, see `agents.scripted.ErrorMap`.
        coupling: ``"alternating"``: the enhancer's updates follow the policy's; ``"joint"``: one update of
            both from the same batch at the same time; ``"frozen"``: the enhancer stays.
        enhancer_learning_rate: Of the enhancer's Adam.
        enhancer_betas: Of the enhancer's Adam; the paper's.
        enhancer_updates: Updates of the enhancer an iteration (alternating).
        enhancer_batch_size: Patches (episodes with `backprop_through_image`) an update of the enhancer.
        backprop_through_image: Let the enhancer's gradient flow through the pasted pictures of the episode.
        flip: Mirror training faces at random.
        policy_kwargs: Fields of `PolicyConfig`.
        stats_window_size: As in Stable-Baselines3.
        tensorboard_log: As in Stable-Baselines3.
        verbose: As in Stable-Baselines3.
        seed: Of faces, draws and initial weights.
        device: Where to compute; None: where the environment does.
        _init_setup_model: As in Stable-Baselines3.

    Raises:
        ValueError: If an argument is out of range or the environment is not one of ours; the message names
            it.
    """

    policy_aliases: ClassVar[dict[str, Any]] = {"RecurrentPolicy": RecurrentPolicyNetwork}
    policy: RecurrentPolicyNetwork  # type: ignore[assignment]

    def __init__(
        self,
        policy: str | type[RecurrentPolicyNetwork] = "RecurrentPolicy",
        env: GymEnv | str | None = None,
        learning_rate: Value = 3e-4,
        n_faces: int = 32,
        n_rollouts: int = 4,
        rows_per_pass: int = 32,
        reward: Reward | None = "delta",
        baseline: Baseline = "leave_one_out",
        normalize_advantage: bool = True,
        ent_coef: Value = 1e-3,
        vf_coef: float = 0.5,
        max_grad_norm: float = 1.0,
        imitation_updates: int = 100,
        imitation_faces: int = 32,
        imitation_epochs: int = 2,
        imitation_rows: int = 8,
        imitation_learning_rate: float = 1e-3,
        imitation_temperature: float = 0.05,
        oracle: OracleCriterion = "gain",
        coupling: Coupling = "alternating",
        enhancer_learning_rate: float = 2e-4,
        enhancer_betas: tuple[float, float] = (0.5, 0.999),
        enhancer_updates: int = 25,
        enhancer_batch_size: int = 32,
        backprop_through_image: bool = False,
        flip: bool = True,
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = 0,
        device: torch.device | str | None = None,
        _init_setup_model: bool = True,
    ) -> None:
        for name, value, kind in (("baseline", baseline, Baseline), ("coupling", coupling, Coupling)):
            if value not in get_args(kind):
                raise ValueError(f"{name} is {value!r}, but it must be one of {', '.join(get_args(kind))}")
        if baseline == "leave_one_out" and n_rollouts < 2:
            raise ValueError(
                "baseline 'leave_one_out' compares the rollouts of one face: set n_rollouts to 2 or more"
            )
        for name, number in (
            ("n_faces", n_faces),
            ("n_rollouts", n_rollouts),
            ("rows_per_pass", rows_per_pass),
        ):
            if number < 1:
                raise ValueError(f"{name} is {number}, but it must be at least 1")
        super().__init__(
            cast(Any, policy),
            env,
            learning_rate=as_schedule(learning_rate),
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device="cpu",
            support_multi_env=True,
            seed=seed,
        )
        self.learning_rate = cast(Any, learning_rate)
        self.n_faces, self.n_rollouts, self.rows_per_pass = n_faces, n_rollouts, rows_per_pass
        self.reward: Reward | None = reward
        self.baseline: Baseline = baseline
        self.normalize_advantage = normalize_advantage
        self.ent_coef, self.vf_coef, self.max_grad_norm = ent_coef, vf_coef, max_grad_norm
        self.imitation_updates, self.imitation_faces = imitation_updates, imitation_faces
        self.imitation_epochs, self.imitation_rows = imitation_epochs, imitation_rows
        self.imitation_learning_rate = imitation_learning_rate
        self.imitation_temperature = imitation_temperature
        self.oracle: OracleCriterion = oracle
        self.coupling: Coupling = coupling
        self.enhancer_learning_rate, self.enhancer_betas = enhancer_learning_rate, enhancer_betas
        self.enhancer_updates, self.enhancer_batch_size = enhancer_updates, enhancer_batch_size
        self.backprop_through_image = backprop_through_image
        self.flip = flip
        self._requested_device = device
        self.imitated = 0
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        """Build the policy, the optimisers, the generators and, where there is an environment, the store."""
        if self.env is not None:
            self.set_random_seed(self.seed)
        task = self._task()
        if self._requested_device is not None:
            self.device = torch.device(self._requested_device)
        elif task is not None:
            self.device = task.core.device
        self.lr_schedule = FloatSchedule(as_schedule(cast(Any, self.learning_rate)))
        self.ent_schedule = FloatSchedule(as_schedule(self.ent_coef))
        if task is not None:
            self._build(policy_config(task, self.policy_kwargs))
            self._attach(task)

    def _build(self, config: PolicyConfig) -> None:
        """The policy network, its optimiser, and what is random."""
        seed = self.seed or 0
        self.policy = RecurrentPolicyNetwork(config).to(self.device)
        self.baseline_values = nn.Parameter(torch.zeros(0, device=self.device))
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=self.lr_schedule(1.0))
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.order_generator = torch.Generator().manual_seed(seed)

    def _attach(self, task: FaceTask) -> None:
        """Run on this task from now on: a core with many rows, its faces, its enhancer."""
        self.task = task
        self.core = task.core.replica(device=self.device, reward=self.reward or task.core.reward)
        rows = self.n_faces * self.n_rollouts
        self.buffer = EpisodeBuffer(self.core.horizon, rows, self.core.shape, self.device)
        self.faces = FaceBatches(task.dataset, self.n_faces, seed=self.seed or 0, flip=self.flip)
        self.imitation_batches = FaceBatches(
            task.dataset, self.imitation_faces, seed=(self.seed or 0) + 1, flip=self.flip
        )
        if self.baseline_values.numel() != self.core.horizon:
            self.baseline_values = nn.Parameter(torch.zeros(self.core.horizon, device=self.device))
            self.optimizer.add_param_group({"params": [self.baseline_values]})
        self.enhancer_trainer: EnhancerTrainer | None = None
        if self.coupling != "frozen":
            if not isinstance(self.core.enhancer, nn.Module) or not list(self.core.enhancer.parameters()):
                raise ValueError(
                    f"coupling is {self.coupling!r}, but the environment's enhancer has nothing to train: "
                    "attach a network with env.unwrapped.set_enhancer(make_enhancer('tiny')), or set "
                    "coupling to 'frozen'"
                )
            self.enhancer_trainer = EnhancerTrainer(
                self.core.enhancer,
                learning_rate=self.enhancer_learning_rate,
                betas=self.enhancer_betas,
                max_grad_norm=self.max_grad_norm,
            )

    def _task(self) -> FaceTask | None:
        """The task behind the environment, whichever face of it was given."""
        if self.env is None:
            return None
        try:
            task = self.env.get_attr("task")[0]
        except AttributeError:
            task = None
        if not isinstance(task, FaceTask):
            raise ValueError(
                "RecurrentReinforce runs on the core of a FaceHallucination environment; for others "
                "take Stable-Baselines3's algorithms or RecurrentPPO of sb3-contrib"
            )
        return task

    @staticmethod
    def _wrap_env(env: GymEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """As in Stable-Baselines3, but pictures keep their channels last: the policy reads the core."""
        wrapped = BaseAlgorithm._wrap_env(env, verbose, monitor_wrapper)
        return wrapped.venv if isinstance(wrapped, VecTransposeImage) else wrapped

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Go on with another environment of the same picture size, and with its faces and its enhancer."""
        super().set_env(env, force_reset)
        task = self._task()
        assert task is not None
        self._attach(task)

    # --- learning
    # -----------------------------------------------------------------------------------------------

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "RecurrentReinforce",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> RecurrentReinforce:
        """Imitate the oracle if that has not been done, then iterate for `total_timesteps` steps.

        Args:
            total_timesteps: Environment steps; an iteration takes n_faces * n_rollouts * T of them.
            callback: As in Stable-Baselines3; `on_step` is called once a step of all rows.
            log_interval: Iterations between two lines of the log.
            tb_log_name: As in Stable-Baselines3.
            reset_num_timesteps: As in Stable-Baselines3.
            progress_bar: Show one (tqdm).

        Returns:
            The agent itself.
        """
        total_timesteps, callback = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        callback.on_training_start(locals(), globals())
        while self.imitated < self.imitation_updates:
            self.logger.record("imitation/loss", float(self.imitate()))
            if self.imitated % max(1, self.imitation_updates // 10) == 0:
                self.logger.record("imitation/updates", self.imitated)
                self.logger.dump(self.imitated)
        iteration = 0
        while self.num_timesteps < total_timesteps:
            if not self.collect_rollouts(callback):
                break
            self._update_current_progress_remaining(self.num_timesteps, total_timesteps)
            iteration += 1
            self.train()
            self.train_enhancer()
            if iteration % log_interval == 0:
                self.dump_logs(iteration)
        callback.on_training_end()
        return self

    def imitate(self) -> Tensor:
        """One round of the warm start: the policy's distribution moves towards the oracle's.

        The states are those that the policy itself runs into, but for the steps that follow the oracle. Their
        share falls from one to zero over the warm start.

        Returns:
            The mean loss.
        """
        share = 1.0 - self.imitated / max(1, self.imitation_updates)
        demonstration = Demonstration(
            PolicyAgent(self.policy, generator=self.generator),
            ErrorMap(self.oracle),
            temperature=self.imitation_temperature,
            oracle_share=share,
            generator=self.generator,
        )
        buffer = EpisodeBuffer(self.core.horizon, self.imitation_faces, self.core.shape, self.device)
        walk(self.core, demonstration, self.imitation_batches.next(), buffer=buffer)
        places, targets = torch.stack(demonstration.places), torch.stack(demonstration.targets)
        self._set_learning_rate(self.imitation_learning_rate)
        losses = []
        for _ in range(self.imitation_epochs):
            order = torch.randperm(self.imitation_faces, generator=self.order_generator).to(self.device)
            for rows in torch.split(order, self.imitation_rows):
                logits, _ = self.policy.evaluate(buffer.pictures[:, rows].float(), places[:, rows])
                loss = imitation_loss(logits, targets[:, rows])
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
                self.optimizer.step()
                losses.append(loss.detach())
        self.imitated += 1
        return torch.stack(losses).mean()

    def collect_rollouts(self, callback: BaseCallback) -> bool:
        """Fill the buffer with n_rollouts episodes of each of n_faces faces.

        Returns:
            False if the callback asked to stop.
        """
        callback.on_rollout_start()

        def after_step() -> bool:
            self.num_timesteps += self.buffer.rows
            callback.update_locals(locals())
            return callback.on_step()

        faces = self.faces.next().repeat_interleave(self.n_rollouts, dim=0)
        finished = walk(
            self.core,
            PolicyAgent(self.policy, generator=self.generator),
            faces,
            buffer=self.buffer,
            after_step=after_step,
        )
        if finished:
            self._update_info_buffer(self._episode_infos())
            callback.on_rollout_end()
        return finished

    def train(self) -> None:
        """One REINFORCE update of the policy from the buffer."""
        self._set_learning_rate(self.lr_schedule(self._current_progress_remaining))
        ent_coef = self.ent_schedule(self._current_progress_remaining)
        returns = self.buffer.returns()
        places = self.policy.config.place(self.buffer.locations)
        baseline = self._baseline(returns)
        self.optimizer.zero_grad(set_to_none=True)
        entropies, value_losses = [], []
        scale = self._advantage_scale(returns, baseline)
        for rows in torch.split(torch.arange(self.buffer.rows, device=self.device), self.rows_per_pass):
            pictures = self.buffer.pictures[:, rows].float()
            logits, values = self.policy.evaluate(pictures, places[:, rows])
            log_prob = logits.log_softmax(dim=2)
            chosen = log_prob.gather(2, places[:, rows, None]).squeeze(2)
            estimate = values if self.baseline == "value" else baseline[:, rows]
            advantage = (returns[:, rows] - estimate.detach()) / scale
            entropy = -(log_prob.exp() * log_prob).sum(dim=2).mean()
            # The learned baselines see returns in units of the advantage, which is their own scale
            value_loss = ((returns[:, rows] - estimate) / scale).square().mean()
            loss = -(advantage * chosen).mean() - ent_coef * entropy
            if estimate.requires_grad:
                loss = loss + self.vf_coef * value_loss
            (loss * (len(rows) / self.buffer.rows)).backward()  # type: ignore[no-untyped-call]
            entropies.append(entropy.detach())
            value_losses.append(value_loss.detach())
        norm = nn.utils.clip_grad_norm_(self._policy_parameters(), self.max_grad_norm)
        self.optimizer.step()
        self._n_updates += 1
        self._log_policy(entropies, value_losses, norm, ent_coef)

    def train_enhancer(self) -> None:
        """The enhancer's phase: updates on the patches that were just collected."""
        trainer = self.enhancer_trainer
        if trainer is None:
            return
        updates = 1 if self.coupling == "joint" else self.enhancer_updates
        reports = trainer.fit(
            self.core,
            self.buffer,
            updates=updates,
            batch_size=self.enhancer_batch_size,
            accumulate=self.coupling == "joint",
            through_pictures=self.backprop_through_image,
            generator=self.order_generator,
        )
        self.logger.record("enhancer/loss", float(torch.stack([report.loss for report in reports]).mean()))
        self.logger.record("enhancer/gradient_norm", float(reports[-1].gradient_norm))

    def _baseline(self, returns: Tensor) -> Tensor:
        """What the returns (T, N) are compared with; (T, N)."""
        by_face = returns.view(returns.shape[0], self.n_faces, self.n_rollouts)
        if self.baseline == "leave_one_out":
            others = by_face.sum(dim=2, keepdim=True) - by_face
            return (others / (self.n_rollouts - 1)).view_as(returns)
        if self.baseline == "batch":
            return returns.mean(dim=1, keepdim=True).expand_as(returns)
        if self.baseline == "scalar":
            return self.baseline_values[:, None].expand_as(returns)
        if self.baseline == "self_critical":
            buffer = EpisodeBuffer(self.core.horizon, self.n_faces, self.core.shape, self.device)
            faces = self.buffer.high_resolution[:: self.n_rollouts]
            walk(self.core, PolicyAgent(self.policy, deterministic=True), faces, buffer=buffer)
            return buffer.returns().repeat_interleave(self.n_rollouts, dim=1)
        return torch.zeros_like(returns)  # "value": the network's own estimate takes its place

    def _advantage_scale(self, returns: Tensor, baseline: Tensor) -> Tensor | float:
        if not self.normalize_advantage:
            return 1.0
        reference = returns.mean(dim=1, keepdim=True) if self.baseline == "value" else baseline.detach()
        return (returns - reference).std().clamp_min(1e-12)

    def _policy_parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _set_learning_rate(self, learning_rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate

    # --- what is logged
    # -----------------------------------------------------------------------------------------

    def _episode_infos(self) -> list[dict[str, Any]]:
        """One entry an episode as Monitor would write it, so that callbacks and logs find what they know."""
        returns = self.buffer.rewards.sum(dim=0).tolist()
        return [{"episode": {"r": value, "l": self.core.horizon, "t": 0.0}} for value in returns]

    def _log_policy(
        self, entropies: list[Tensor], value_losses: list[Tensor], norm: Tensor, ent_coef: float
    ) -> None:
        final, initial = self.buffer.final_mse.log10() * -10.0, self.buffer.initial_mse.log10() * -10.0
        places = distinct_places(self.buffer.locations, self.core.shape[2]).float()
        for name, value in (
            ("rollout/psnr", final.mean()),
            ("rollout/psnr_gain", (final - initial).mean()),
            ("rollout/coverage", self.buffer.coverage.mean()),
            ("rollout/distinct_places", places.mean()),
            ("train/entropy", torch.stack(entropies).mean()),
            ("train/gradient_norm", norm),
        ):
            self.logger.record(name, float(value))
        if self.baseline in ("scalar", "value"):
            self.logger.record("train/value_loss", float(torch.stack(value_losses).mean()))
        self.logger.record("train/ent_coef", ent_coef)
        self.logger.record("train/learning_rate", self.optimizer.param_groups[0]["lr"])

    def dump_logs(self, iteration: int = 0) -> None:
        """Write what was recorded, with the speed and the running means that SB3's users look for."""
        seconds = max((time.time_ns() - self.start_time) / 1e9, 1e-9)
        self.logger.record("time/iterations", iteration, exclude="tensorboard")
        self.logger.record("time/fps", int((self.num_timesteps - self._num_timesteps_at_start) / seconds))
        self.logger.record("time/time_elapsed", int(seconds), exclude="tensorboard")
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        if self.ep_info_buffer:
            self.logger.record(
                "rollout/ep_rew_mean", float(np.mean([info["r"] for info in self.ep_info_buffer]))
            )
            self.logger.record(
                "rollout/ep_len_mean", float(np.mean([info["l"] for info in self.ep_info_buffer]))
            )
        self.logger.dump(self.num_timesteps)

    def _init_callback(self, callback: MaybeCallback, progress_bar: bool = False) -> BaseCallback:
        """As in Stable-Baselines3, with a progress bar that counts every row."""
        if progress_bar:
            given = [] if callback is None else callback if isinstance(callback, list) else [callback]
            callback = [*(cast(Any, given)), ProgressBar()]
        return super()._init_callback(callback, progress_bar=False)

    # --- acting
    # -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def predict(
        self,
        observation: NDArray[np.uint8] | dict[str, NDArray[Any]],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.int64], tuple[NDArray[Any], ...]]:
        """Where to look next.

        Args:
            observation: Current pictures, uint8, (H, W, C) or (N, H, W, C) (channels may also come first), or
                the dictionary observation.
            state: What the last call returned; None at the start.
            episode_start: Rows that start a new episode forget what was before, bool, (N,).
            deterministic: argmax instead of a draw.

        Returns:
            Locations, int64, () or (N,), and the policy's memory for the next call: pass it on.

        Raises:
            ValueError: If the pictures have another size than the policy was made for.
        """
        image = np.asarray(observation["image"] if isinstance(observation, dict) else observation)
        single = image.ndim == 3
        picture = self._picture(image[None] if single else image)
        rows = picture.shape[0]
        memory = self.policy.initial_state(rows) if state is None else self._load_memory(state, rows)
        if state is not None and episode_start is not None:
            memory = memory.restart(torch.as_tensor(np.asarray(episode_start), device=self.device))
        logits, memory = self.policy.step(picture, memory)
        if deterministic:
            place = logits.argmax(dim=1)
        else:
            place = torch.multinomial(logits.softmax(dim=1), 1, generator=self.generator).squeeze(1)
        memory = self.policy.remember(memory, place)
        location = self.policy.config.location(place).cpu().numpy()
        return (location[0] if single else location), tuple(part.cpu().numpy() for part in memory)

    def _picture(self, image: NDArray[Any]) -> Tensor:
        config = self.policy.config
        first = (config.channels, config.height, config.width)
        if image.shape[1:] == (config.height, config.width, config.channels):
            image = image.transpose(0, 3, 1, 2)
        elif image.shape[1:] != first:
            raise ValueError(
                f"the policy was made for pictures of {config.height}x{config.width}x{config.channels}, "
                f"not {'x'.join(map(str, image.shape[1:]))}"
            )
        return torch.as_tensor(np.ascontiguousarray(image), device=self.device).float() / 127.5 - 1.0

    def _load_memory(self, state: tuple[NDArray[Any], ...], rows: int) -> PolicyState:
        memory = PolicyState(*(torch.as_tensor(part, device=self.device) for part in state))
        if memory.last.shape[0] != rows:
            raise ValueError(
                f"state remembers {memory.last.shape[0]} episodes, but the observation has {rows}"
            )
        return memory

    # --- on disk
    # ------------------------------------------------------------------------------------------------

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
        "imitation_faces",
        "imitation_epochs",
        "imitation_rows",
        "imitation_learning_rate",
        "imitation_temperature",
        "oracle",
        "coupling",
        "enhancer_learning_rate",
        "enhancer_betas",
        "enhancer_updates",
        "enhancer_batch_size",
        "backprop_through_image",
        "flip",
        "seed",
    )
    """What `save` writes of the constructor's arguments, by name."""

    def save(  # type: ignore[override]
        self, path: str | Path, exclude: Sequence[str] | None = None, include: Sequence[str] | None = None
    ) -> None:
        """Write policy, enhancer and settings into one file: a zip of safetensors and JSON, no pickle.

        The policy's optimiser is in it, the enhancer's is not; a run that must go on to the last bit keeps
        `training_state`.

        Args:
            path: The file; ``.zip`` is added where there is no ending, as in Stable-Baselines3.
            exclude: ``["enhancer"]`` leaves the enhancer's weights out.
            include: Not used; everything that is needed is written.
        """
        save_agent(self, path, without_enhancer="enhancer" in (exclude or ()))

    @classmethod
    def from_preset(cls, preset: str, env: GymEnv | str, **changes: Any) -> RecurrentReinforce:
        """An agent with the settings of a preset.

        Args:
            preset: ``"default"`` or ``"paper"``, see `agents.presets`.
            env: As for the constructor.
            **changes: Arguments that shall differ from the preset's; `policy_kwargs` field by field.

        Raises:
            ValueError: If there is no such preset.
        """
        if preset not in PRESETS:
            raise ValueError(f"there is no preset {preset!r} of the agent; there are {', '.join(PRESETS)}")
        settings = PRESETS[preset] | changes
        policy_kwargs = PRESETS[preset].get("policy_kwargs", {}) | (changes.get("policy_kwargs") or {})
        return cls("RecurrentPolicy", env, **(settings | {"policy_kwargs": policy_kwargs}))

    @classmethod
    def load(  # type: ignore[override]
        cls,
        path: str | Path,
        env: GymEnv | None = None,
        device: torch.device | str | None = None,
        **changes: Any,
    ) -> RecurrentReinforce:
        """Read an agent.

        Args:
            path: What `save` wrote.
            env: To go on learning; its enhancer takes the saved weights. Without one the agent can only
                predict.
            device: Where to compute.
            **changes: Constructor arguments that shall differ from the saved ones.

        Returns:
            The agent.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is cut off or of another kind, or does not fit the environment.
        """
        return load_agent(cls, path, env, device, changes)

    def training_state(self) -> dict[str, Any]:
        """All that learning has changed: for an exact resume of a run; tensors and plain values only."""
        enhancer = self.core.enhancer
        return {
            "policy": self.policy.state_dict(),
            "baseline_values": self.baseline_values.detach(),
            "optimizer": self.optimizer.state_dict(),
            "enhancer": enhancer.state_dict() if isinstance(enhancer, nn.Module) else {},
            "enhancer_optimizer": None
            if self.enhancer_trainer is None
            else self.enhancer_trainer.state_dict(),
            "generator": self.generator.get_state(),
            "order_generator": self.order_generator.get_state(),
            "faces": self.faces.state_dict(),
            "imitation_batches": self.imitation_batches.state_dict(),
            "num_timesteps": self.num_timesteps,
            "imitated": self.imitated,
            "n_updates": self._n_updates,
        }

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Go on from `training_state`."""
        self.policy.load_state_dict(state["policy"])
        with torch.no_grad():
            self.baseline_values.copy_(state["baseline_values"])
        self.optimizer.load_state_dict(state["optimizer"])
        if isinstance(self.core.enhancer, nn.Module):
            self.core.enhancer.load_state_dict(state["enhancer"])
        if self.enhancer_trainer is not None and state["enhancer_optimizer"] is not None:
            self.enhancer_trainer.load_state_dict(state["enhancer_optimizer"])
        self.generator.set_state(state["generator"])
        self.order_generator.set_state(state["order_generator"])
        self.faces.load_state_dict(state["faces"])
        self.imitation_batches.load_state_dict(state["imitation_batches"])
        self.num_timesteps = state["num_timesteps"]
        self.imitated = state["imitated"]
        self._n_updates = state["n_updates"]


def as_schedule(value: Value) -> float | Schedule:
    """A pair (start, end) as a linear schedule; numbers and functions as they are."""
    if isinstance(value, tuple | list):
        start, end = value
        return LinearSchedule(start, end, 1.0)
    return value


def policy_config(task: FaceTask, policy_kwargs: dict[str, Any]) -> PolicyConfig:
    """The policy's shape for a task.

    Raises:
        ValueError: If `policy_kwargs` names a field that does not exist or is fixed by the task.
    """
    channels, height, width = task.core.shape
    fixed: dict[str, Any] = {
        "channels": channels,
        "height": height,
        "width": width,
        "patch_height": task.core.patch_size[0],
        "patch_width": task.core.patch_size[1],
    }
    known = {field.name for field in fields(PolicyConfig)} - set(fixed)
    if unknown := set(policy_kwargs) - known:
        raise ValueError(f"policy_kwargs has {sorted(unknown)}; it may have {', '.join(sorted(known))}")
    return PolicyConfig(**fixed, **policy_kwargs)
