"""A study as typed data: what ``python -m agents.study`` reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

from jsonargparse import ArgumentParser

from agents.configuration import EnvironmentConfig
from facehall_env.arguments import one_of, whole

Algorithm = Literal["reinforce", "ppo", "a2c", "recurrent_ppo"]
SCRIPTED: Final = ("random", "raster", "coverage_greedy", "planned", "greedy_oracle")
"""What stands beside the variants without learning."""
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass
class VariantConfig:
    """One line of a study: how an agent learns.

    Attributes:
        algorithm: ``reinforce`` (`agents.reinforce.RecurrentReinforce`), ``ppo`` or ``a2c`` of
            Stable-Baselines3, or ``recurrent_ppo`` of sb3-contrib.
        preset: Of `agents.presets`, for ``reinforce``: where `agent` and `policy` start from. The study's own
            `agent` and `policy` count for ``default`` only; the others stand as they are.
        agent: Arguments of the algorithm's constructor that differ.
        policy: Its ``policy_kwargs`` that differ: fields of `agents.policies.PolicyConfig`, or those of
            Stable-Baselines3's policy.
        rows: Episodes side by side; not for ``reinforce``, where n_faces and n_rollouts say it.
        stride: Pitch of the grid of places in pixels; not for ``reinforce``, whose policy has its own.
        visits: Show how often each pixel was under a patch, as one more channel; not for ``reinforce``.
    """

    algorithm: Algorithm = "reinforce"
    preset: str = "default"
    agent: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)
    rows: int = 32
    stride: int = 8
    visits: bool = False

    def __post_init__(self) -> None:
        """Refuse values that no variant has."""
        one_of("algorithm", self.algorithm, Algorithm)
        whole("rows", self.rows)
        whole("stride", self.stride)
        for name, kind in (("agent", dict), ("policy", dict), ("visits", bool), ("preset", str)):
            if not isinstance(value := getattr(self, name), kind):
                raise ValueError(f"{name} is {value!r}, but it must be a {kind.__name__}")


@dataclass
class StudyConfig:
    """One study, read and checked.

    Attributes:
        name: Names the study's folder, records and figure: letters, digits, ``-`` and ``_``.
        enhancer: The frozen enhancer: a weight file, or a run folder that holds ``enhancer.safetensors``.
        total_timesteps: Environment steps of every variant. A step is a patch enhanced for learning,
            *whatever for*: the episodes of the warm start, the oracle's previews of the pictures and the
            argmax episodes of the baseline ``self_critical`` are counted like all others.
        variants: Name -> how it learns: fields of a `VariantConfig`, or one.
        env: The environment; its reward is what Stable-Baselines3's algorithms learn from, REINFORCE has its
            own.
        agent: Arguments of `RecurrentReinforce` in all variants of the preset ``default``.
        policy: Fields of its policy in the same variants.
        seeds: Every variant learns once with each.
        measure_every: Environment steps between two measurements.
        validation_faces: Faces of the validation split that are measured, evenly spread over it.
        panels: Panels of the figure: a title -> the variants in it; none: all in one.
        by_time: Titles of panels that are drawn over wall-clock time as well.
        compare: The variant whose argmax is compared, face by face, with random patches, the raster scan and
            the planned scan.
        folder: Where studies are written; this one into a folder of its name.
        progress_bar: Say what is being trained.
    """

    name: str
    enhancer: Path
    total_timesteps: int
    variants: dict[str, Any]
    env: EnvironmentConfig = field(default_factory=EnvironmentConfig)
    agent: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    measure_every: int = 10_000
    validation_faces: int = 64
    panels: dict[str, list[str]] = field(default_factory=dict)
    by_time: list[str] = field(default_factory=list)
    compare: str = "default"
    folder: Path = Path("studies")
    progress_bar: bool = True

    def __post_init__(self) -> None:
        """Refuse what names nothing and what cannot be counted."""
        for name in (self.name, *self.variants):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} names a file: use letters, digits, - and _ only")
        if taken := set(self.variants) & set(SCRIPTED):
            raise ValueError(f"variants has {sorted(taken)}, the names of agents that do not learn")
        self.variants = {name: make_variant(name, given) for name, given in self.variants.items()}
        for name, number in (
            ("total_timesteps", self.total_timesteps),
            ("measure_every", self.measure_every),
            ("validation_faces", self.validation_faces),
            ("variants", len(self.variants)),
            ("seeds", len(self.seeds)),
        ):
            if number < 1:
                raise ValueError(f"{name} is {number}, but there must be at least 1")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds is {self.seeds}: name each once")
        shown = {variant for panel in self.panels.values() for variant in panel}
        for what, names, known in (
            ("panels", shown, self.variants),
            ("compare", {self.compare}, self.variants),
            ("by_time", set(self.by_time), self.panels),
        ):
            if unknown := names - set(known):
                raise ValueError(f"{what} names {sorted(unknown)}; there are {', '.join(known)}")


def make_variant(name: str, given: VariantConfig | dict[str, Any]) -> VariantConfig:
    """A variant from its fields.

    Raises:
        ValueError: If a field is unknown or has no value of a variant; the message names variant and field.
    """
    if isinstance(given, VariantConfig):
        return given
    known = [field.name for field in fields(VariantConfig)]
    if not isinstance(given, dict) or set(given) - set(known):
        raise ValueError(f"variant {name!r} has {list(given or [])}; it may have {', '.join(known)}")
    try:
        return VariantConfig(**given)
    except (ValueError, TypeError) as error:
        raise ValueError(f"variant {name!r}: {error}") from error


def make_parser() -> ArgumentParser:
    """The parser: a YAML file by ``--config``, every field also on the command line."""
    parser = ArgumentParser(prog="python -m agents.study", description="Learning curves of the policy.")
    parser.add_argument("--config", action="config", help="a YAML file such as configs/studies/NAME.yaml")
    parser.add_class_arguments(StudyConfig)
    return parser


def parse(arguments: Sequence[str]) -> tuple[StudyConfig, str]:
    """Read the command line.

    Args:
        arguments: Without the program's name.

    Returns:
        The study, and the whole configuration as YAML.

    Raises:
        ValueError: If it is none.
        SystemExit: As argparse does, after naming what is wrong with an argument.
    """
    parser = make_parser()
    made = parser.parse_args(list(arguments))
    values = {name: value for name, value in vars(made).items() if name != "config"}
    values["env"] = EnvironmentConfig(**vars(made.env))
    return StudyConfig(**values), parser.dump(made, skip_unset=False)
