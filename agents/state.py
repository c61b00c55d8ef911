"""All that learning has changed in an agent, as tensors and plain values: what checkpoints hold."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from agents.reinforce import RecurrentReinforce


def training_state(agent: RecurrentReinforce) -> dict[str, Any]:
    """Weights, optimisers, generators and positions of an agent; see `load_training_state`."""
    enhancer, trainer = agent.enhancer, agent.enhancer_trainer
    return {
        "policy": agent.policy.state_dict(),
        "baseline_values": agent.baseline_values,
        "optimizer": agent.optimizer.state_dict(),
        "enhancer": enhancer.state_dict() if isinstance(enhancer, nn.Module) else {},
        "enhancer_optimizer": None if trainer is None else trainer.state_dict(),
        "enhancer_learner": {} if trainer is None else trainer.learner_state(),
        "generator": agent.generator.get_state(),
        "order_generator": agent.order_generator.get_state(),
        **agent.positions(),
        "num_timesteps": agent.num_timesteps,
        "imitated": agent.imitated,
        "plan": agent.plan,
        "n_updates": agent._n_updates,
    }


def load_training_state(agent: RecurrentReinforce, state: dict[str, Any]) -> None:
    """Go on from `training_state`; parts that are missing stay as they are.

    The settings of the optimisers (learning rate, betas) are the agent's own, so that a run can go on with
    others.

    Raises:
        ValueError: If weights do not fit; then nothing was changed.
    """
    enhancer, trainer = agent.enhancer, agent.enhancer_trainer
    check_weights(agent.policy, state["policy"], "policy")
    if state.get("enhancer") and isinstance(enhancer, nn.Module):
        check_weights(enhancer, state["enhancer"], "enhancer")
        enhancer.load_state_dict(state["enhancer"])
    agent.policy.load_state_dict(state["policy"])
    agent.load_baseline_values(state["baseline_values"])
    load_moments(agent.optimizer, state.get("optimizer"))
    if trainer is not None:
        load_moments(trainer.optimizer, state.get("enhancer_optimizer"))
        trainer.load_learner_state(state.get("enhancer_learner") or {})
    for name in ("generator", "order_generator"):
        _set_generator(getattr(agent, name), state.get(name))
    agent.load_positions({name: state[name] for name in ("faces", "imitation_batches") if name in state})
    agent.num_timesteps, agent.imitated = state["num_timesteps"], state["imitated"]
    agent._n_updates = state["n_updates"]
    agent.plan = state.get("plan", agent.plan)


def load_moments(optimizer: torch.optim.Optimizer, state: dict[str, Any] | None) -> None:
    """Take an optimiser's running moments over, parameter by parameter, and nothing else."""
    if state is None:
        return
    own = optimizer.state_dict()
    count = sum(len(group["params"]) for group in own["param_groups"])
    moments = {index: entry for index, entry in state["state"].items() if index < count}
    optimizer.load_state_dict({"state": moments, "param_groups": own["param_groups"]})


def check_weights(network: nn.Module, weights: dict[str, Tensor], what: str) -> None:
    """Refuse weights that belong to a network of another shape, before any of them is copied.

    Raises:
        ValueError: Naming the first weight that differs.
    """
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in sorted(set(own) | set(given)):
        if own.get(name) != given.get(name):
            raise ValueError(
                f"the {what}'s weights do not fit: {name} is {given.get(name, 'missing')} where the network "
                f"has {own.get(name, 'no such weight')}"
            )


def _set_generator(generator: torch.Generator, state: Tensor | None) -> None:
    """Go on drawing where another generator stopped; one of another kind of device cannot be continued."""
    if state is not None and state.shape == generator.get_state().shape:
        generator.set_state(state.cpu())


def weights_digest(*measured: object) -> str | None:
    """By which a record knows what was measured again: the beginning of the SHA-256 of all weights.

    Args:
        measured: Networks, in this order; what is no module has no weights.

    Returns:
        Sixteen hexadecimal digits; None if there are no weights.
    """
    networks = [network for network in measured if isinstance(network, nn.Module)]
    states = [network.state_dict() for network in networks]
    if not any(states):
        return None
    digest = hashlib.sha256()
    for state in states:
        for name, weight in state.items():
            digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
            digest.update(weight.detach().contiguous().reshape(-1).cpu().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
