"""Train an agent and its enhancer: ``python train_agent.py --config configs/demo.yaml``."""

from __future__ import annotations

import sys

from agents.configuration import make_parser, read_experiment
from agents.distributed import end, join, leave
from agents.divergence import DivergenceError
from agents.runs import AGENT
from agents.training import TrainingRun


def main() -> int:
    """Parse, train, save; a run that was cut off goes on with the same command.

    Several processes share a run under ``torchrun``, on one machine or on several.
    """
    parser = make_parser()
    arguments = parser.parse_args()
    ranks = join()
    try:
        run = TrainingRun(read_experiment(arguments), parser.dump(arguments, skip_unset=False), ranks)
        run.train()
    except (ValueError, OSError, DivergenceError) as error:
        print(f"train_agent.py: {error}", file=sys.stderr)
        return 2
    finally:
        leave()
    if not ranks.first:
        return 0
    print(f"the agent is in {run.folder / AGENT}; measure it with:")
    print(f"python evaluate.py measure --run {run.folder}")
    return 0


if __name__ == "__main__":
    end(main())
