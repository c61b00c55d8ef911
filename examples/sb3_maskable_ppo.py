"""MaskablePPO of sb3-contrib, which may not look again where it has been.

    python -m examples.sb3_maskable_ppo --env-id FaceHallucination-Synthetic-x4 --total-timesteps 100000

Its hyperparameters are PPO's; the wrappers are A2C's with the mask upon them.
"""

from sb3_contrib import MaskablePPO

from examples.common import Arguments, hyperparameters, make_envs, make_parser, run


def main(argv: Arguments = None) -> MaskablePPO:
    """Learn where to look."""
    parser = make_parser(__doc__)
    parser.add_argument("--distance", type=float, default=8.0, help="of forbidden places, in pixels")
    args = parser.parse_args(argv)
    settings = hyperparameters("ppo", args)
    settings["env_wrapper"] = [
        "facehall_env.wrappers.VisitChannel",
        {"facehall_env.wrappers.StrideGridLocation": {"stride": 8}},
        {"facehall_env.wrappers.VisitMask": {"distance": args.distance}},
    ]
    timesteps = settings.pop("n_timesteps")
    envs = make_envs(args, settings)
    model = MaskablePPO(env=envs, seed=args.seed, verbose=1, **settings)
    return run(model, timesteps, args)


if __name__ == "__main__":
    main()
