"""What the training engine costs over the network that it trains, on the same device and precision.

``python -m benchmarks.throughput --preset full --precision bfloat16``

Three phases of an iteration, in faces a second, and two ratios: the policy's rollout against the bare forward
passes of the enhancer, and a whole iteration (rollout, REINFORCE, enhancer's updates) against these forward
passes and bare forward and backward passes on as many patches as the enhancer's updates see.
"""

from __future__ import annotations

import statistics

import gymnasium as gym
import torch
from stable_baselines3.common.logger import Logger

import facehall_env  # noqa: F401 (registers the ids)
from agents.enhancement import patch_error
from agents.reinforce import RecurrentReinforce
from benchmarks.common import at_least, claim, interleave, make_parser, ratio, usable_device
from facehall_env.core import wait_for
from facehall_env.enhancer import PRESETS, EnhancerInput, make_enhancer


def main() -> None:
    """Time the phases in turn with the bare passes."""
    parser = make_parser(__doc__)
    parser.add_argument("--preset", choices=[*PRESETS], default="full")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--policy-precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--rows-per-pass", type=at_least(1), default=8)
    parser.add_argument("--device", type=usable_device, default="cpu")
    parser.add_argument("--faces", type=at_least(1), default=8)
    parser.add_argument("--rollouts", type=at_least(1), default=4)
    parser.add_argument("--horizon", type=at_least(1), default=25)
    parser.add_argument("--updates", type=at_least(1), default=25, help="of the enhancer, an iteration")
    parser.add_argument("--rounds", type=at_least(1), default=3)
    options = parser.parse_args()
    name = f"throughput-{options.preset}-{options.precision}-{torch.device(options.device).type}"
    name += "-policy-bfloat16" * (options.policy_precision == "bfloat16")
    record = claim(name, parser, options)
    torch.manual_seed(0)
    env = gym.make(
        "FaceHallucination-Synthetic-x8",
        horizon=options.horizon,
        precision=options.precision,
        device=options.device,
        data_options={"size": 64},
    )
    env.unwrapped.set_enhancer(make_enhancer(options.preset))  # type: ignore[attr-defined]
    agent = RecurrentReinforce(
        "RecurrentPolicy",
        env,
        n_faces=options.faces,
        n_rollouts=options.rollouts,
        imitation_updates=0,
        enhancer_updates=options.updates,
        rows_per_pass=options.rows_per_pass,
        policy_precision=options.policy_precision,
        seed=0,
    )
    agent.set_logger(Logger(None, []))
    _, callback = agent._setup_learn(0)  # learn() would, before its first iteration
    agent.collect_rollouts(callback)
    core, rows = agent.core, agent.buffer.rows
    core.reset(agent.buffer.high_resolution)
    seen: list[EnhancerInput] = []
    for location in agent.buffer.locations:
        seen.append(core.observe(location))
        core.step(location)
    size = agent.enhancer_batch_size
    batches = [
        (inputs, target.contiguous(), inside)
        for inputs, target, inside in agent.buffer.patches(
            core.geometry, size, torch.Generator().manual_seed(0), initial_patch=True
        )
    ][: options.updates]
    faces = agent.faces.next()
    agent.faces.next = lambda: faces  # type: ignore[method-assign] # the data set's speed is prepare's affair

    @torch.no_grad()
    def bare_forward() -> None:
        for inputs in seen:
            core.enhance(inputs)
        wait_for(agent.device)

    def bare_training() -> None:
        for inputs, target, inside in batches:
            patch_error(core.enhance(inputs), target, inside).backward()  # type: ignore[no-untyped-call]
        wait_for(agent.device)

    def rollout() -> None:
        agent.collect_rollouts(callback)
        wait_for(agent.device)

    def policy() -> None:
        agent.train()
        wait_for(agent.device)

    def enhancer() -> None:
        agent.train_enhancer()
        wait_for(agent.device)

    phases = {"rollout": rollout, "policy": policy, "enhancer": enhancer}
    bare = {"bare_forward": bare_forward, "bare_training": bare_training}
    seconds = interleave({**phases, **bare}, options.rounds, warmup=1)
    seconds["iteration"] = [sum(parts) for parts in zip(*(seconds[name] for name in phases), strict=True)]
    seconds["bare"] = [sum(parts) for parts in zip(*(seconds[name] for name in bare), strict=True)]
    record.write(
        {
            "iteration_of_bare": round(ratio(seconds, "bare", "iteration"), 3),
            "rollout_of_bare": round(ratio(seconds, "bare_forward", "rollout"), 3),
            "goal": "iteration_of_bare >= 0.85, rollout_of_bare >= 0.9",
            "phases": {
                name: {"faces_per_second": round(rows / statistics.median(seconds[name]), 2)}
                for name in (*phases, "iteration", *bare, "bare")
            },
            "rows": rows,
            "enhancer_updates": len(batches),
            "enhancer_batch_size": size,
        },
        device=options.device,
    )


if __name__ == "__main__":
    main()
