"""PPO of Stable-Baselines3 on pictures, all episodes enhanced in one batch.

    python -m examples.sb3_ppo --env-id FaceHallucination-Synthetic-x4 --total-timesteps 100000
    python -m examples.sb3_ppo --env-id FaceHallucination-LFW-x8 --env-kwargs '{"root": "data/lfw"}' --coupled

--coupled trains the enhancer as well, between the rollouts, on the patches that were just looked at.
"""

from stable_baselines3 import PPO

from agents.callbacks import EnhancerPhase
from examples.common import Arguments, hyperparameters, make_envs, make_parser, run


def main(argv: Arguments = None) -> PPO:
    """Learn where to look, and with --coupled how to enhance."""
    parser = make_parser(__doc__)
    parser.add_argument("--coupled", action="store_true", help="train the enhancer between the rollouts")
    args = parser.parse_args(argv)
    settings = hyperparameters("ppo", args)
    timesteps = settings.pop("n_timesteps")
    envs = make_envs(args, settings)
    model = PPO(env=envs, seed=args.seed, verbose=1, **settings)
    return run(model, timesteps, args, EnhancerPhase() if args.coupled else None)


if __name__ == "__main__":
    main()
