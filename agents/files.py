"""An agent as one file: a zip of safetensors and JSON, read without pickle."""

from __future__ import annotations

import json
import os
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import safetensors.torch
import torch
from torch import Tensor

from agents.policies import PolicyConfig
from agents.runs import AGENT
from facehall_env._version import __version__
from facehall_env.enhancer import EnhancerConfig, LocalEnhancementNetwork, enhancer_config
from facehall_env.pretrained.folder import POLICY, PretrainedWeights
from facehall_env.weights import check_finite, read_header, read_tensors

if TYPE_CHECKING:
    from agents.algorithm import CoreAlgorithm

Agent = TypeVar("Agent", bound="CoreAlgorithm")
KIND: Final = "facehall-agent"
POLICY_KIND: Final = "facehall-policy"
_LEARNING_ONLY: Final = ("optimizer", "enhancer_optimizer", "enhancer_learner", "generators")
_POSITIONS: Final = ("faces", "imitation_batches")
_COUNTERS: Final = ("num_timesteps", "imitated", "n_updates")
_PLAN: Final = "plan"
"""Not in files of agents that were written before there were plans."""


def save_agent(agent: CoreAlgorithm, path: str | Path, exclude: tuple[str, ...] = ()) -> None:
    """Write an agent; the file is complete or not there at all.

    Args:
        agent: What to write.
        path: The file; ``.zip`` is added where there is no ending.
        exclude: ``"enhancer"``: without the enhancer; ``"optimizer"``: without what only serves further
            learning (two thirds of the size).

    Raises:
        ValueError: If `exclude` names something else.
    """
    if unknown := set(exclude) - {"enhancer", "optimizer"}:
        raise ValueError(f"exclude has {sorted(unknown)}; it may have 'enhancer' and 'optimizer'")
    path = Path(path)
    path = path if path.suffix else path.with_suffix(".zip")
    path.parent.mkdir(parents=True, exist_ok=True)
    state = agent.training_state()
    parts = {
        "policy": state["policy"] | {"baseline_values": state["baseline_values"]},
        "enhancer": state["enhancer"],
        "optimizer": _flatten(state["optimizer"]),
        "enhancer_optimizer": _flatten(state["enhancer_optimizer"]),
        "enhancer_learner": state["enhancer_learner"],
        "generators": {name: state[name] for name in ("generator", "order_generator")},
    }
    if "enhancer" in exclude:
        del parts["enhancer"], parts["enhancer_optimizer"], parts["enhancer_learner"]
    if "optimizer" in exclude:
        parts = {name: tensors for name, tensors in parts.items() if name not in _LEARNING_ONLY}
    description = _describe(agent) | {name: state[name] for name in (*_POSITIONS, *_COUNTERS, _PLAN)}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(temporary, "w") as archive:
            archive.writestr("agent.json", json.dumps(description, indent=2))
            for name, tensors in parts.items():
                if tensors:
                    archive.writestr(f"{name}.safetensors", _pack(tensors))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _describe(agent: CoreAlgorithm) -> dict[str, Any]:
    arguments = {name: getattr(agent, name) for name in agent.HYPERPARAMETERS}
    enhancer = agent.enhancer
    return {
        "kind": KIND,
        "version": __version__,
        "policy": asdict(agent.policy.config),
        "enhancer": asdict(enhancer.config) if isinstance(enhancer, LocalEnhancementNetwork) else None,
        "arguments": {name: value for name, value in arguments.items() if not callable(value)},
        "functions": sorted(name for name, value in arguments.items() if callable(value)),
    }


def load_agent(
    kind: type[Agent],
    path: str | Path,
    env: Any,
    device: torch.device | str | None,
    changes: dict[str, Any],
) -> Agent:
    """Read what `save_agent` wrote; see `CoreAlgorithm.load`."""
    path = agent_file(path)
    description, tensors = _read(path)
    return _restore(kind, path, description, tensors, env, device, changes)


def save_policy(agent: CoreAlgorithm, path: Path) -> None:
    """Write the policy in half precision, with what `_restore` needs to know in the file's header.

    The baseline's values, a few numbers, keep their precision. The enhancer is not part of it.

    Args:
        agent: What to write.
        path: The file.
    """
    state = agent.training_state()
    tensors = {name: half(tensor) for name, tensor in state["policy"].items()}
    tensors["baseline_values"] = state["baseline_values"]
    description = _describe(agent) | {name: state[name] for name in (*_COUNTERS, _PLAN)}
    path.write_bytes(_pack(tensors, {"kind": POLICY_KIND, "agent": json.dumps(description)}))


def half(tensor: Tensor) -> Tensor:
    """A tensor in half precision; one of whole numbers as it is."""
    return tensor.half() if tensor.is_floating_point() else tensor


def load_pretrained(
    kind: type[Agent],
    weights: PretrainedWeights,
    env: Any,
    device: torch.device | str | None,
    changes: dict[str, Any],
) -> Agent:
    """Read what `python -m agents.export` wrote; see `CoreAlgorithm.from_pretrained`."""
    if not weights.has_policy:
        raise ValueError(
            f"{weights.name} holds an enhancer but no policy: attach it with "
            f"env.unwrapped.set_enhancer(facehall_env.load_pretrained_enhancer({weights.name!r}))"
        )
    path = weights.folder / POLICY
    header = read_header(path, POLICY_KIND, f"there is no policy {path}")
    try:
        description = json.loads(header["agent"])
    except (KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} does not describe its agent: {error}") from error
    parts = {"policy": read_tensors(path), "enhancer": weights.enhancer().state_dict()}
    agent = _restore(kind, path, description, parts, env, device, changes)
    if agent.env is not None and agent.task.weights_task != weights.task:
        warnings.warn(
            f"{weights.name} was trained for {weights.task}, but the environment is "
            f"{agent.task.weights_task}: the shapes fit, but what was learned is something else",
            stacklevel=3,
        )
    return agent


def _restore(
    kind: type[Agent],
    path: Path,
    description: dict[str, Any],
    tensors: dict[str, dict[str, Tensor]],
    env: Any,
    device: torch.device | str | None,
    changes: dict[str, Any],
) -> Agent:
    """The agent that a file describes."""
    _check(path, description, tensors, kind.HYPERPARAMETERS)
    _warn_of_functions(path, description, changes)
    policy = PolicyConfig(**description["policy"])
    enhancer = _enhancer(description.get("enhancer")) if "enhancer" in tensors else None
    arguments = {name: _tuples(value) for name, value in description["arguments"].items()}
    agent = cast(Any, kind)(
        env=env,
        device=device,
        _init_setup_model=False,
        **(arguments | {"policy_kwargs": policy.choices()} | changes),
    )
    try:
        agent._setup_model(policy, enhancer)
        agent.load_training_state(_state(description, tensors))
    except ValueError as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    return cast(Agent, agent)


def _check(
    path: Path, description: dict[str, Any], tensors: dict[str, Any], arguments: tuple[str, ...]
) -> None:
    """Refuse what another version wrote and this one does not know, before anything is built."""
    wanted = {"policy", "arguments", *_COUNTERS}
    strange = sorted(wanted - set(description)) + sorted({"policy"} - set(tensors))
    strange += sorted(set(description.get("arguments", {})) - set(arguments))
    for name, config in (("policy", PolicyConfig), ("enhancer", EnhancerConfig)):
        known = {field.name for field in fields(config)}
        strange += sorted(set(description.get(name) or {}) - known)
    if "baseline_values" not in tensors.get("policy", {}):
        strange.append("baseline_values")
    if strange:
        raise ValueError(
            f"{path} was written by facehall {description.get('version')}, and this is {__version__}: "
            f"they disagree about {', '.join(strange)}"
        )


def _enhancer(values: dict[str, Any] | None) -> LocalEnhancementNetwork | None:
    """The network that the file describes; None where it holds the weights of one of the user's own."""
    if values is None:
        return None
    return LocalEnhancementNetwork(enhancer_config(values))


def _warn_of_functions(path: Path, description: dict[str, Any], changes: dict[str, Any]) -> None:
    if lost := [name for name in description.get("functions", []) if name not in changes]:
        warnings.warn(
            f"{', '.join(lost)} of the agent in {path} was a function, which a file cannot hold: give it to "
            "load() again, or learning goes on with the default",
            stacklevel=5,
        )


def _state(description: dict[str, Any], tensors: dict[str, dict[str, Tensor]]) -> dict[str, Any]:
    """The parts of the file as `training_state` has them."""
    policy = dict(tensors["policy"])
    state: dict[str, Any] = {"baseline_values": policy.pop("baseline_values"), "policy": policy}
    state |= {name: description[name] for name in (*_POSITIONS, *_COUNTERS, _PLAN) if name in description}
    state |= {name: tensors.get(name, {}) for name in ("enhancer", "enhancer_learner")}
    state |= tensors.get("generators", {})
    for name in ("optimizer", "enhancer_optimizer"):
        if name in tensors:
            state[name] = _unflatten(tensors[name])
    return state


def agent_file(path: str | Path) -> Path:
    """The file of an agent that a path stands for: itself, without its ``.zip``, or the run folder it is in.

    Raises:
        FileNotFoundError: If it stands for none.
    """
    path = Path(path)
    for file in (path, Path(f"{path}.zip"), path / AGENT):
        if file.is_file():
            return file
    where = f"no {AGENT} in {path}, so no finished run" if path.is_dir() else f"no agent file {path}"
    raise FileNotFoundError(f"there is {where}; train one with train_agent.py")


def check_agent_file(path: Path) -> None:
    """Refuse what is no whole agent file; its tensors are not read.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is cut off or of another kind.
    """
    with _opened(agent_file(path)):
        pass


def _read(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    with _opened(path) as (archive, description):
        parts = {
            name.removesuffix(".safetensors"): safetensors.torch.load(archive.read(name))
            for name in archive.namelist()
            if name.endswith(".safetensors")
        }
    for tensors in parts.values():
        check_finite(path, tensors)
    return description, parts


@contextmanager
def _opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, Any]]]:
    """An agent file and its description."""
    try:
        with zipfile.ZipFile(path) as archive:
            if "agent.json" not in archive.namelist():
                raise ValueError(
                    f"{path} holds no agent of ours; Stable-Baselines3's own files are read by its classes"
                )
            description = json.loads(archive.read("agent.json"))
            kind = description.get("kind") if isinstance(description, dict) else None
            if kind != KIND:
                raise ValueError(f"{path} holds {kind!r}, not a {KIND!r}")
            yield archive, description
    except (zipfile.BadZipFile, safetensors.SafetensorError, EOFError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is cut off or no agent file: {error}") from error


def _pack(tensors: dict[str, Tensor], header: dict[str, str] | None = None) -> bytes:
    return safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, header
    )


def _flatten(state: dict[str, Any] | None) -> dict[str, Tensor]:
    """Adam's moments and counters as tensors by name; its settings come from the constructor."""
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, entry in (state or {"state": {}})["state"].items()
        for name, value in entry.items()
    }


def _unflatten(tensors: dict[str, Tensor]) -> dict[str, Any]:
    entries: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        entries.setdefault(int(index), {})[name] = value
    return {"state": entries}


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
