"""How many images a second ``facehall-prepare`` decodes, crops and stores.

``python -m benchmarks.prepare lfw data/lfw``; goal: at least 1,500 for LFW on two cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

from benchmarks.common import at_least, claim, make_parser
from facehall_env.datasets import load_dataset


def main() -> None:
    """Time whole runs of the command, each into an empty cache."""
    parser = make_parser(__doc__)
    parser.add_argument("dataset", choices=["lfw", "bioid", "folder"])
    parser.add_argument("root")
    parser.add_argument("--rounds", type=at_least(1), default=3)
    options = parser.parse_args()
    record = claim(f"prepare-{options.dataset}", parser, options)
    command = [sys.executable, "-m", "facehall_env.datasets", options.dataset, options.root, "--quiet"]
    seconds = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as cache:
            start = time.perf_counter()
            subprocess.run(command, check=True, env=os.environ | {"FACEHALL_DATA": cache})
            seconds.append(time.perf_counter() - start)
    images = sum(
        len(load_dataset(options.dataset, root=options.root, split=split))
        for split in ("train", "val", "test")
    )
    record.write(
        {
            "images_per_second": round(images / min(seconds)),
            "goal": "images_per_second >= 1500",
            "images": images,
            "seconds": [round(value, 2) for value in seconds],
            "note": "the whole command with the start of Python; the best of the rounds",
            "processors": os.cpu_count(),
        },
    )


if __name__ == "__main__":
    main()
