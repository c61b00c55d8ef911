"""PPO with an LSTM in one file, in the manner of CleanRL, on `gymnasium.make_vec`.

    python examples/cleanrl_ppo_lstm.py --env-id FaceHallucination-Synthetic-x4 --total-timesteps 100000

All episodes have the same length and are in step, so a rollout is one episode a row: no padding, no masks,
nothing to bootstrap, the LSTM is called once over all steps, and minibatches are whole rows.
"""

import argparse
import json
from collections.abc import Sequence

import gymnasium as gym
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Categorical

import facehall_env  # noqa: F401  (registers the ids)


class Agent(nn.Module):
    """Convolutions over the picture, an LSTM, and two heads."""

    def __init__(self, shape: tuple[int, ...], actions: int) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv2d(shape[2], 32, 8, stride=4), nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2), nn.ReLU(),
            nn.Conv2d(64, 64, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(256), nn.ReLU(),
        )  # fmt: skip
        self.lstm = nn.LSTM(256, 128)
        self.actor, self.critic = nn.Linear(128, actions), nn.Linear(128, 1)
        self(torch.zeros(1, 1, *shape, dtype=torch.uint8))  # settles the lazy layer

    def forward(self, pictures: Tensor, memory: tuple[Tensor, Tensor] | None = None):
        """Policies and values of T steps of N rows, from uint8 (T, N, H, W, C)."""
        seen = self.look(pictures.flatten(0, 1).permute(0, 3, 1, 2).float() / 255.0)
        hidden, memory = self.lstm(seen.view(*pictures.shape[:2], -1), memory)
        return Categorical(logits=self.actor(hidden)), self.critic(hidden).squeeze(2), memory


def main(argv: Sequence[str] | None = None) -> Agent:
    """Collect one episode a row, update, and again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--env-id", default="FaceHallucination-Synthetic-x4")
    parser.add_argument("--total-timesteps", type=int, default=1_000_000)
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--enhancer", default="pretrained")
    parser.add_argument("--env-kwargs", type=json.loads, default={}, help="JSON")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.manual_seed(args.seed)
    kwargs = {"reward": "delta", "enhancer": args.enhancer} | args.env_kwargs
    envs = gym.make_vec(args.env_id, num_envs=args.num_envs, **kwargs)
    agent = Agent(envs.single_observation_space.shape, int(envs.single_action_space.n))
    optimizer = torch.optim.Adam(agent.parameters(), lr=2.5e-4, eps=1e-5)
    steps = 0
    while steps < args.total_timesteps:
        picture, told = envs.reset(seed=args.seed if steps == 0 else None)
        memory, over, rollout = None, False, []
        while not over:
            pictures = torch.as_tensor(picture)
            with torch.no_grad():
                policy, value, memory = agent(pictures[None], memory)
                action = policy.sample()
            picture, reward, terminated, _, told = envs.step(action[0].numpy())
            rollout.append(
                (pictures, action[0], policy.log_prob(action)[0], value[0], torch.as_tensor(reward))
            )
            over = bool(terminated.all())
        steps += len(rollout) * args.num_envs
        pictures, actions, log_probs, values, rewards = map(torch.stack, zip(*rollout, strict=True))
        returns = (rewards / rewards.std().clamp_min(1e-8)).float().flip(0).cumsum(0).flip(0)  # gamma = 1
        for _ in range(4):
            for rows in torch.randperm(args.num_envs).chunk(4):
                policy, value, _ = agent(pictures[:, rows])
                ratio = (policy.log_prob(actions[:, rows]) - log_probs[:, rows]).exp()
                advantage = returns[:, rows] - values[:, rows]
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                gain = torch.min(advantage * ratio, advantage * ratio.clamp(0.9, 1.1)).mean()
                loss = 0.5 * F.mse_loss(value, returns[:, rows]) - gain - 1e-3 * policy.entropy().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()
        print(
            f"step {steps}: gained {told['psnr_gain'].mean():+.3f} dB, covered {told['coverage'].mean():.2f}"
        )
    envs.close()
    return agent


if __name__ == "__main__":
    main()
