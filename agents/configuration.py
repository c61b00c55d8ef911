"""One experiment as typed data: what `train_agent.py` reads from ``configs/*.yaml`` and the command line."""

from __future__ import annotations

from argparse import ArgumentError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace

from agents.ablations import VariantName
from agents.policies import PolicyConfig
from agents.reinforce import RecurrentReinforce
from agents.runs import CONFIGURATION, check_run_name, read_config
from agents.scripted import Chooser
from facehall_env.arguments import whole
from facehall_env.compilation import CompileMode
from facehall_env.core import HORIZON, Precision, Reward
from facehall_env.enhancer import ExtraInput, ResidualTo
from facehall_env.patches import PATCH_SIZE, Boundary
from facehall_env.registration import check_id
from facehall_env.resample import ProtocolName


@dataclass
class EnvironmentConfig:
    """The environment of the experiment.

    Attributes:
        id: A registered id, such as ``FaceHallucination-LFW-x8``.
        root: Where the pictures lie; None where the data set needs no files or was prepared before.
        data: More options of the data set, by name.
        protocol: How I_0 is made.
        horizon: Steps of an episode, T.
        patch_size: Rows and columns of the patch.
        boundary: What a patch that hangs over the border does.
        reward: What the environment pays; the agent's own credit is set in `AgentConfig`.
        consistent: Make the pictures shrink exactly to the low-resolution one after every step.
        precision: Of the enhancer.
        compile: Run the enhancer through torch.compile, ``default``, ``reduce-overhead`` (on CUDA devices as
            CUDA graphs) or ``max-autotune``; None runs it as it is.
        channels_last: Lay the enhancer's convolutions out with the channels side by side.
        device: Where to compute; ``auto`` takes an accelerator if there is one.
    """

    id: str = "FaceHallucination-Synthetic-x8"
    root: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    protocol: ProtocolName = "aligned"
    horizon: int = HORIZON
    patch_size: tuple[int, int] = PATCH_SIZE
    boundary: Boundary = "pad"
    reward: Reward = "terminal"
    consistent: bool = False
    precision: Precision = "float32"
    compile: CompileMode | None = None
    channels_last: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        """Refuse an id that is none of ours, naming the field."""
        check_id("env.id", self.id)


@dataclass
class NetworkConfig:
    """The local enhancement network.

    Attributes:
        preset: ``paper``, ``full``, ``half`` or ``tiny``.
        weights: A file or run folder to start from instead of random weights; then the preset is the file's,
            and the prior.
        prior: A run folder or weight file of method ``edsr``, whose picture the network then reads and adds
            its residual to; None for none (the paper).
        extra_inputs: What the network sees beyond the paper; None leaves it to the preset.
        residual_to: What the residual is added to, ``current``, ``initial`` or ``prior``; None leaves it to
            the preset and the prior.
        edge_kernel: 5 or 3; None leaves it to the preset.
        tanh_output: Squash the output; None leaves it to the preset.
        global_features: Width of the global branch; 0 leaves the branch out (and `extra_inputs` must then be
            without ``location``, which goes to it); None leaves it to the preset.
    """

    preset: str = "tiny"
    weights: Path | None = None
    prior: Path | None = None
    extra_inputs: tuple[ExtraInput, ...] | None = None
    residual_to: ResidualTo | None = None
    edge_kernel: int | None = None
    tanh_output: bool | None = None
    global_features: int | None = None

    def overrides(self) -> dict[str, Any]:
        """The fields that replace the preset's."""
        fields = ("extra_inputs", "residual_to", "edge_kernel", "tanh_output", "global_features")
        values = {name: getattr(self, name) for name in fields}
        return {name: value for name, value in values.items() if value is not None}


@dataclass
class PretrainingConfig:
    """The enhancer's start, before any policy moves.

    Attributes:
        updates: How many; 0 skips it.
        chooser: Who chooses the locations: ``random``: uniformly over all of them; ``raster``: a scan that
            covers the picture; ``oracle``: the greedy oracle, which sees the HR picture.
        batch_size: Faces, and so patches, an update.
        horizon: Steps of an episode in this phase; None: those of the environment. Short episodes show the
            network more faces, long ones more of what it makes itself.
        learning_rate: Peak of the cosine schedule.
        warmup: Updates of the linear rise.
        betas: Of Adam.
        flip: Mirror faces at random.
        balance_people: Show every person equally often, however many pictures there are of them.
        ema: Decay of a running average of the weights, which is what this phase hands on; 0: none.
    """

    updates: int = 0
    chooser: Chooser = "random"
    batch_size: int = 32
    horizon: int | None = None
    learning_rate: float = 5e-4
    warmup: int = 100
    betas: tuple[float, float] = (0.9, 0.999)
    flip: bool = True
    balance_people: bool = False
    ema: float = 0.0


@dataclass
class RunConfig:
    """Where the run writes and how often.

    Attributes:
        folder: The run folder; it must be new, or hold the same experiment to go on with.
        seed: Of everything random.
        checkpoint_minutes: At most this long between checkpoints.
        keep_checkpoints: How many of the newest stay.
        log_interval: Updates of the enhancer's start and of the warm start between two lines of the log.
        validation_faces: Faces of the validation split that are measured and drawn while training; 0 for
            none.
        validation_interval: Iterations between two measurements.
        select: Which state becomes the result: the ``best`` that was measured on the validation faces, or
            the ``last``; without validation faces it is the last.
        progress_bar: Show one.
        prefetch: Read the next batch of faces in a thread while this one is used; the same batches.
    """

    folder: Path = Path("runs/experiment")
    seed: int = 0
    checkpoint_minutes: float = 5.0
    keep_checkpoints: int = 2
    log_interval: int = 25
    validation_faces: int = 64
    validation_interval: int = 10
    select: Literal["best", "last"] = "best"
    progress_bar: bool = True
    prefetch: bool = False

    def __post_init__(self) -> None:
        """Refuse what would only fail after hours, naming the field."""
        for name in ("keep_checkpoints", "log_interval", "validation_interval"):
            whole(f"run.{name}", getattr(self, name))
        whole("run.validation_faces", self.validation_faces, least=0)
        check_run_name(self.folder)


@dataclass
class Experiment:
    """One experiment, read and checked.

    Attributes:
        env: The environment.
        enhancer: The local enhancement network.
        pretraining: The enhancer's start.
        policy: Fields of `agents.policies.PolicyConfig`.
        agent: Arguments of `agents.reinforce.RecurrentReinforce`.
        total_timesteps: Environment steps of the agent's learning; 0 only trains the enhancer.
        run: Where and how often to write.
        name: Of the method in records, a key of `agents.ablations.VARIANTS`.
        start_from: An agent file, or the run folder of one, whose policy and enhancer the run starts from;
            both must have the shapes that are configured here.
    """

    env: EnvironmentConfig
    enhancer: NetworkConfig
    pretraining: PretrainingConfig
    policy: dict[str, Any]
    agent: dict[str, Any]
    total_timesteps: int
    run: RunConfig
    name: VariantName = "attention_fh"
    start_from: Path | None = None

    def __post_init__(self) -> None:
        """Refuse numbers below 0, naming the field."""
        whole("total_timesteps", self.total_timesteps, least=0)
        whole("pretraining.updates", self.pretraining.updates, least=0)


_OF_THE_TASK = {"channels", "height", "width", "patch_height", "patch_width"}
_OF_THE_RUN = {
    "policy",
    "env",
    "policy_kwargs",
    "stats_window_size",
    "tensorboard_log",
    "verbose",
    "seed",
    "prefetch",
    "device",
    "ranks",
    "_init_setup_model",
}


def make_parser() -> ArgumentParser:
    """The parser of `train_agent.py`: YAML files by ``--config``, every field also on the command line."""
    parser = ArgumentParser(prog="train_agent.py", description="Train an agent and its enhancer.")
    parser.add_argument(
        "--config", action="config", help="a YAML file such as configs/demo.yaml; may be repeated"
    )
    parser.add_argument(
        "--name",
        type=VariantName,
        default="attention_fh",
        help="the method's name in records; configs/ablations has a configuration for each",
    )
    parser.add_class_arguments(EnvironmentConfig, "env")
    parser.add_class_arguments(NetworkConfig, "enhancer")
    parser.add_class_arguments(PretrainingConfig, "pretraining")
    parser.add_class_arguments(PolicyConfig, "policy", skip=_OF_THE_TASK)
    parser.add_class_arguments(RecurrentReinforce, "agent", skip=_OF_THE_RUN)
    parser.add_argument(
        "--total_timesteps", type=int, default=0, help="environment steps of the agent's learning"
    )
    parser.add_argument(
        "--start_from",
        type=Path | None,
        default=None,
        help="an agent file or run folder whose policy and enhancer to start from",
    )
    parser.add_class_arguments(RunConfig, "run")
    return parser


def read_experiment(made: Namespace) -> Experiment:
    """The parsed arguments as an experiment."""
    return Experiment(
        env=EnvironmentConfig(**vars(made.env)),
        enhancer=NetworkConfig(**vars(made.enhancer)),
        pretraining=PretrainingConfig(**vars(made.pretraining)),
        policy=dict(vars(made.policy)),
        agent=dict(vars(made.agent)),
        total_timesteps=made.total_timesteps,
        run=RunConfig(**vars(made.run)),
        name=made.name,
        start_from=made.start_from,
    )


def experiment_of(run: Path) -> Experiment:
    """The experiment that a run folder is about.

    Raises:
        FileNotFoundError: If it holds no configuration.
        ValueError: If that is none, or not one of this version; the message names the file.
    """
    values = read_config(run)
    parser = make_parser()
    parser.exit_on_error = False
    try:
        return read_experiment(parser.parse_object(values))
    except (ArgumentError, TypeError) as error:
        raise ValueError(f"{run / CONFIGURATION} is no configuration of this version: {error}") from error
