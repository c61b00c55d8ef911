"""An agent as one file: a zip of safetensors and JSON, read without pickle."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import safetensors.torch
import torch
from torch import Tensor, nn

from agents.policies import PolicyConfig
from facehall_env._version import __version__

if TYPE_CHECKING:
    from agents.reinforce import RecurrentReinforce

_KIND: Final = "facehall-agent"


def save_agent(agent: RecurrentReinforce, path: str | Path, *, without_enhancer: bool = False) -> None:
    """Write an agent; the file is complete or not there at all.

    Args:
        agent: What to write.
        path: The file; ``.zip`` is added where there is no ending.
        without_enhancer: Leave the enhancer's weights out.
    """
    path = Path(path)
    path = path if path.suffix else path.with_suffix(".zip")
    path.parent.mkdir(parents=True, exist_ok=True)
    arguments = {name: getattr(agent, name) for name in agent.HYPERPARAMETERS}
    description = {
        "kind": _KIND,
        "version": __version__,
        "policy": asdict(agent.policy.config),
        "arguments": {name: value for name, value in arguments.items() if not callable(value)},
        "num_timesteps": agent.num_timesteps,
        "imitated": agent.imitated,
        "n_updates": agent._n_updates,
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(temporary, "w") as archive:
            archive.writestr("agent.json", json.dumps(description, indent=2))
            policy = dict(agent.policy.state_dict()) | {"baseline_values": agent.baseline_values.detach()}
            archive.writestr("policy.safetensors", _pack(policy))
            archive.writestr("optimizer.safetensors", _pack(_flatten(agent.optimizer.state_dict())))
            enhancer = agent.core.enhancer if hasattr(agent, "core") else None
            if isinstance(enhancer, nn.Module) and not without_enhancer:
                archive.writestr("enhancer.safetensors", _pack(enhancer.state_dict()))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_agent(
    kind: type[RecurrentReinforce],
    path: str | Path,
    env: Any,
    device: torch.device | str | None,
    changes: dict[str, Any],
) -> RecurrentReinforce:
    """Read what `save_agent` wrote; see `RecurrentReinforce.load`."""
    path = Path(path)
    if not path.is_file() and path.with_name(path.name + ".zip").is_file():
        path = path.with_name(path.name + ".zip")
    if not path.is_file():
        raise FileNotFoundError(f"there is no agent file {path}; train one with train_agent.py")
    description, tensors = _read(path)
    config = PolicyConfig(**description["policy"])
    arguments = {name: _tuples(value) for name, value in description["arguments"].items()} | changes
    task_fields = ("channels", "height", "width", "patch_height", "patch_width")
    policy_kwargs = {name: value for name, value in description["policy"].items() if name not in task_fields}
    agent = kind(env=env, policy_kwargs=policy_kwargs, device=device, **arguments)
    if env is None:
        agent._build(config)
    elif agent.policy.config != config:
        raise ValueError(
            f"{path} holds a policy for {config}, which does not fit the environment's {agent.policy.config}"
        )
    baseline = tensors["policy"].pop("baseline_values")
    agent.policy.load_state_dict(tensors["policy"])
    agent.num_timesteps, agent.imitated = description["num_timesteps"], description["imitated"]
    agent._n_updates = description["n_updates"]
    if env is not None:
        if baseline.shape == agent.baseline_values.shape:
            with torch.no_grad():
                agent.baseline_values.copy_(baseline)
            agent.optimizer.load_state_dict(_unflatten(tensors["optimizer"], agent.optimizer.state_dict()))
        if "enhancer" in tensors and isinstance(agent.core.enhancer, nn.Module):
            try:
                agent.core.enhancer.load_state_dict(tensors["enhancer"])
            except RuntimeError as error:
                raise ValueError(
                    f"the enhancer in {path} does not fit the environment's; attach one of the same shape "
                    f"with env.unwrapped.set_enhancer(...) before loading: {error}"
                ) from error
    return agent


def _read(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            if "agent.json" not in names:
                raise ValueError(
                    f"{path} holds no agent of ours; Stable-Baselines3's own files are read by its classes"
                )
            description = json.loads(archive.read("agent.json"))
            tensors = {
                name.removesuffix(".safetensors"): safetensors.torch.load(archive.read(name))
                for name in names
                if name.endswith(".safetensors")
            }
    except (zipfile.BadZipFile, safetensors.SafetensorError, EOFError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is cut off or no agent file: {error}") from error
    if description.get("kind") != _KIND:
        raise ValueError(f"{path} holds {description.get('kind')!r}, not a {_KIND!r}")
    return description, tensors


def _pack(tensors: dict[str, Tensor]) -> bytes:
    return safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})


def _flatten(state: dict[str, Any]) -> dict[str, Tensor]:
    """Adam's moments and counters as tensors by name; its settings come from the constructor."""
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, entry in state["state"].items()
        for name, value in entry.items()
    }


def _unflatten(tensors: dict[str, Tensor], state: dict[str, Any]) -> dict[str, Any]:
    entries: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        entries.setdefault(int(index), {})[name] = value
    return {"state": entries, "param_groups": state["param_groups"]}


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
