"""Train an agent and its enhancer: ``python train_agent.py --config configs/demo.yaml``."""

from __future__ import annotations

import sys

from agents.configuration import make_parser, read_experiment
from agents.training import TrainingRun


def main() -> int:
    """Parse, train, save; a run that was cut off goes on with the same command."""
    parser = make_parser()
    arguments = parser.parse_args()
    try:
        run = TrainingRun(read_experiment(arguments), parser.dump(arguments, skip_unset=False))
        run.train()
    except (ValueError, FileNotFoundError) as error:
        print(f"train_agent.py: {error}", file=sys.stderr)
        return 2
    print(f"the agent is in {run.folder / 'agent.zip'}; measure it with:")
    print(f"python evaluate.py measure --run {run.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
