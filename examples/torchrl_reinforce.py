"""REINFORCE with TorchRL, through its GymEnv.

pip install torchrl
python examples/torchrl_reinforce.py --env-id FaceHallucination-Synthetic-x4 --total-timesteps 50000
"""

import argparse
import json
from collections.abc import Sequence

import torch
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.envs import Compose, GymEnv, ToTensorImage, TransformedEnv
from torchrl.modules import ConvNet, ProbabilisticActor

import facehall_env  # noqa: F401  (registers the ids)


def main(argv: Sequence[str] | None = None) -> ProbabilisticActor:
    """Collect a few episodes one after the other, update, and again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--env-id", default="FaceHallucination-Synthetic-x4")
    parser.add_argument("--total-timesteps", type=int, default=100_000)
    parser.add_argument("--episodes", type=int, default=8, help="a batch")
    parser.add_argument("--enhancer", default="pretrained")
    parser.add_argument("--env-kwargs", type=json.loads, default={}, help="JSON")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.manual_seed(args.seed)
    kwargs = {"reward": "delta", "enhancer": args.enhancer} | args.env_kwargs
    made = GymEnv(args.env_id, categorical_action_encoding=True, **kwargs)
    env = TransformedEnv(made, Compose(ToTensorImage()))
    env.set_seed(args.seed)
    look = ConvNet(
        num_cells=[32, 64, 64],
        kernel_sizes=[8, 4, 3],
        strides=[4, 2, 2],
        in_features=made.observation_spec["pixels"].shape[-1],
    )
    network = nn.Sequential(look, nn.LazyLinear(256), nn.ReLU(), nn.Linear(256, env.action_spec.n))
    policy = ProbabilisticActor(
        TensorDictModule(network, in_keys=["pixels"], out_keys=["logits"]),
        in_keys=["logits"],
        distribution_class=torch.distributions.Categorical,
        spec=env.action_spec,
    )
    policy(env.reset())  # settles the lazy layer
    optimizer = torch.optim.Adam(policy.parameters(), lr=2.5e-4)
    steps = 0
    while steps < args.total_timesteps:
        episodes = torch.stack([env.rollout(10_000, policy) for _ in range(args.episodes)])  # until they end
        steps += episodes.numel()
        rewards = episodes["next", "reward"].squeeze(-1)
        returns = rewards.flip(1).cumsum(1).flip(1)
        advantage = (returns - returns.mean(0)) / (returns.std() + 1e-8)
        log_prob = policy.get_dist(episodes).log_prob(episodes["action"])
        loss = -(advantage * log_prob).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {steps}: return {returns[:, 0].mean():.6f}")
    env.close()
    return policy


if __name__ == "__main__":
    main()
