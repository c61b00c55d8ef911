"""RecurrentPPO of sb3-contrib: an LSTM remembers where the policy has been.

python -m examples.sb3_recurrent_ppo --env-id FaceHallucination-Synthetic-x4 --total-timesteps 100000
"""

from sb3_contrib import RecurrentPPO

from examples.common import Arguments, hyperparameters, make_envs, make_parser, run


def main(argv: Arguments = None) -> RecurrentPPO:
    """Learn where to look."""
    args = make_parser(__doc__).parse_args(argv)
    settings = hyperparameters("ppo_lstm", args)
    timesteps = settings.pop("n_timesteps")
    envs = make_envs(args, settings)
    model = RecurrentPPO(env=envs, seed=args.seed, verbose=1, **settings)
    return run(model, timesteps, args)


if __name__ == "__main__":
    main()
