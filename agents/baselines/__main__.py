"""Train a method: ``python -m agents.baselines --config configs/baselines/NAME.yaml``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from agents.baselines.configuration import parse
from agents.baselines.run import WEIGHTS, BaselineRun
from agents.distributed import refuse_several
from agents.divergence import DivergenceError


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, train, save; a run that was cut off goes on with the same command."""
    try:
        refuse_several("the training of a method")
        run = BaselineRun(*parse(sys.argv[1:] if arguments is None else arguments))
        run.train()
    except (ValueError, OSError, DivergenceError) as error:
        print(f"agents.baselines: {error}", file=sys.stderr)
        return 2
    print(f"{run.method.name} is in {run.folder / WEIGHTS}; measure it with:")
    print(f"python evaluate.py baseline --run {run.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
