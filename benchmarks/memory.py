"""Peak resident memory of a training run: a few updates of each phase with its own batch sizes.

``python -m benchmarks.memory configs/lfw-x8.yaml --env.root data/lfw``; goal: under 6 GiB.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from agents import configuration
from benchmarks.common import claim, make_parser


def main() -> None:
    """Run the training script for one iteration and ask the system what it took."""
    parser = make_parser(__doc__)
    parser.add_argument("config", help="of train_agent.py; whatever else is given goes to it as well")
    options, more = parser.parse_known_args()
    config, options.more = options.config, more
    record = claim(f"memory-{Path(config).stem}", parser, options)
    experiment = configuration.read_experiment(
        configuration.make_parser().parse_args(["--config", config, *more])
    )
    agent = experiment.agent
    steps = agent["n_faces"] * agent["n_rollouts"] * experiment.env.horizon
    short = ["--pretraining.updates", "25", "--agent.imitation_updates", "1", "--total_timesteps", str(steps)]
    with tempfile.TemporaryDirectory() as folder:
        place = ["--run.folder", str(Path(folder) / "run"), "--run.progress_bar", "false"]
        command = [sys.executable, "train_agent.py", "--config", config, *more, *short, *place]
        subprocess.run(command, check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
    record.write(
        {
            "peak_rss_gib": round(peak, 2),
            "goal": "peak_rss_gib < 6",
            "rows": agent["n_faces"] * agent["n_rollouts"],
            "faces": "memory-mapped",
        },
    )


if __name__ == "__main__":
    main()
