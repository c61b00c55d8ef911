"""A2C of Stable-Baselines3 with a channel of visits and a coarse grid of places (both are wrappers).

python -m examples.sb3_a2c --env-id FaceHallucination-Synthetic-x4 --total-timesteps 100000
"""

from stable_baselines3 import A2C

from examples.common import Arguments, hyperparameters, make_envs, make_parser, run


def main(argv: Arguments = None) -> A2C:
    """Learn where to look."""
    args = make_parser(__doc__).parse_args(argv)
    settings = hyperparameters("a2c", args)
    timesteps = settings.pop("n_timesteps")
    envs = make_envs(args, settings)
    model = A2C(env=envs, seed=args.seed, verbose=1, **settings)
    return run(model, timesteps, args)


if __name__ == "__main__":
    main()
