"""One method's training as typed data: what ``python -m agents.baselines`` reads."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from jsonargparse import ArgumentParser, Namespace

from agents.baselines.looking import LOOKING
from agents.baselines.networks import NetworkHallucinator
from agents.baselines.recipes import TrainingConfig
from agents.baselines.registry import HALLUCINATORS, hallucinator_class
from agents.configuration import RunConfig
from agents.runs import read_yaml
from facehall_env.resample import ProtocolName

TRAINABLE: Final = tuple(name for name in HALLUCINATORS if name not in LOOKING)
"""The methods that are trained here; agents learn with train_agent.py."""
_HELP: Final = f"""\
usage: python -m agents.baselines --config FILE [options]

Train a method that answers at once; configs/baselines has a file for each. The options are the method's own:
python -m agents.baselines --method METHOD --help lists them, METHOD being one of
{", ".join(TRAINABLE)}."""


@dataclass
class DataConfig:
    """The faces to learn from.

    Attributes:
        name: ``lfw``, ``bioid``, ``folder`` or ``synthetic``.
        root: Where the pictures lie; None where the data set needs no files or was prepared before.
        split: ``train``; methods that need no validation faces may take ``trainval``.
        options: More options of the data set, by name.
    """

    name: str = "lfw"
    root: str | None = None
    split: str = "train"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class BaselineExperiment:
    """One method's training, read and checked.

    Attributes:
        method: A key of `agents.baselines.HALLUCINATORS`.
        scale: s.
        protocol: How I_0 is made.
        data: The faces.
        settings: Of the method's constructor.
        training: How networks learn; of no account for the others.
        run: Where and how often to write.
        device: Where to compute; ``auto`` takes an accelerator if there is one.
        start_from: A weight file, or a run folder, of the same method whose weights the training starts from.
    """

    method: str
    scale: int
    protocol: ProtocolName
    data: DataConfig
    settings: dict[str, Any]
    training: TrainingConfig
    run: RunConfig
    device: str
    start_from: Path | None = None


def make_parser(method: str) -> ArgumentParser:
    """The parser for one method: its settings by their own names and types, its recipe as defaults.

    Args:
        method: A member of `TRAINABLE`.

    Raises:
        ValueError: If it is none.
    """
    if method not in TRAINABLE:
        raise ValueError(f"method is {method!r}, but it must be one of {', '.join(TRAINABLE)}")
    kind = hallucinator_class(method)
    parser = ArgumentParser(
        prog="python -m agents.baselines", description="Train a method that answers at once."
    )
    parser.add_argument(
        "--config", action="config", help="a YAML file such as configs/baselines/srcnn-lfw-x8.yaml"
    )
    parser.add_argument("--method", type=str, default=method, help=f"one of {', '.join(TRAINABLE)}")
    parser.add_argument("--scale", type=int, default=8, help="how many times smaller the small faces are")
    parser.add_argument("--protocol", type=ProtocolName, default="aligned", help="how I_0 is made")
    parser.add_argument("--device", type=str, default="auto", help="where to compute")
    parser.add_argument(
        "--start_from", type=Path | None, default=None, help="a weight file or run folder to start from"
    )
    parser.add_class_arguments(DataConfig, "data")
    parser.add_class_arguments(kind, "settings", skip={"degradation"})
    parser.add_class_arguments(TrainingConfig, "training")
    parser.add_class_arguments(RunConfig, "run")
    if issubclass(kind, NetworkHallucinator):
        recipe = {f"training.{field.name}": getattr(kind.recipe, field.name) for field in fields(kind.recipe)}
        parser.set_defaults(recipe)
    parser.set_defaults({"run.validation_interval": 500, "run.log_interval": 100})
    return parser


def parse(arguments: Sequence[str]) -> tuple[BaselineExperiment, str]:
    """Read the command line.

    Args:
        arguments: Without the program's name.

    Returns:
        The experiment, and the whole configuration as YAML.

    Raises:
        ValueError: If no method is named, or there is none of that name.
        SystemExit: As argparse does, after help, or after naming what is wrong with another argument.
    """
    parser = make_parser(_method_or_help(arguments))
    made = parser.parse_args(list(arguments))
    return read_experiment(made), parser.dump(made, skip_unset=False)


def parse_file(path: Path) -> BaselineExperiment:
    """Read a configuration file.

    Raises:
        ValueError: If it names no method, or is not one of this version; the message names the file.
    """
    read_yaml(path)
    try:
        parser = make_parser(named_method(["--config", str(path)]))
        parser.exit_on_error = False
        return read_experiment(parser.parse_path(path))
    except (argparse.ArgumentError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no configuration of this version: {error}") from error


def _method_or_help(arguments: Sequence[str]) -> str:
    """`named_method`; or help on what there is to name, where that was asked for without naming any."""
    try:
        return named_method(arguments)
    except ValueError:
        if {"-h", "--help"} & set(arguments):
            print(_HELP)
            raise SystemExit(0) from None
        raise


def named_method(arguments: Sequence[str]) -> str:
    """Which method a command line is about: the last word on it, on the line or in a file.

    Raises:
        ValueError: If it names none.
    """
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--config", action="append", default=[])
    finder.add_argument("--method", default=None)
    known, _ = finder.parse_known_args(list(arguments))
    if known.method is not None:
        return str(known.method)
    for path in reversed([Path(name) for name in known.config]):
        if not path.is_file():
            raise ValueError(f"there is no configuration {path}")
        if "method" in (values := read_yaml(path)):
            return str(values["method"])
    raise ValueError(f"name a method in the configuration or by --method: {', '.join(TRAINABLE)}")


def read_experiment(made: Namespace) -> BaselineExperiment:
    """The parsed arguments as an experiment."""
    return BaselineExperiment(
        method=made.method,
        scale=made.scale,
        protocol=made.protocol,
        data=DataConfig(**vars(made.data)),
        settings=dict(vars(made.settings)) if "settings" in made else {},
        training=TrainingConfig(**vars(made.training)),
        run=RunConfig(**vars(made.run)),
        device=made.device,
        start_from=made.start_from,
    )
