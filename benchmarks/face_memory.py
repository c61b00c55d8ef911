"""Peak memory of the vector face: it grows with the number of rows, and not with that of the steps.

``python -m benchmarks.face_memory``; every measurement runs in a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

from benchmarks.common import at_least, claim, make_parser
from benchmarks.faces import ENHANCERS, vector, vector_episode


def peak_of(rows: int, horizon: int, enhancer: str) -> float:
    """Peak resident memory of a fresh process that plays an episode, in MiB."""
    command = [sys.executable, "-m", "benchmarks.face_memory", "--child", str(rows), str(horizon)]
    done = subprocess.run([*command, "--enhancer", enhancer], check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


def play(rows: int, horizon: int, enhancer: str) -> None:
    """Play an episode and the start of the next one, and print the peak in MiB."""
    vector_episode(vector(rows, horizon=horizon, enhancer=enhancer))()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Measure all sizes at both horizons."""
    parser = make_parser(__doc__)
    parser.add_argument("--rows", nargs="+", type=at_least(1), default=[32, 256, 1024])
    parser.add_argument("--horizons", nargs=2, type=at_least(1), default=[10, 50])
    parser.add_argument("--enhancer", choices=ENHANCERS, default="tiny")
    parser.add_argument("--child", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        play(*options.child, options.enhancer)
        return
    record = claim(f"face-memory-{options.enhancer}", parser, options, ("rows", "horizons", "enhancer"))
    short, long = options.horizons
    peaks = {
        rows: {horizon: round(peak_of(rows, horizon, options.enhancer)) for horizon in (short, long)}
        for rows in options.rows
    }
    few, many = min(options.rows), max(options.rows)
    record.write(
        {
            "growth_with_steps": round(max(peak[long] / peak[short] for peak in peaks.values()), 3),
            "goal": f"growth_with_steps <= 1.05 from {short} to {long} steps",
            "mib_per_row": round((peaks[many][long] - peaks[few][long]) / max(many - few, 1), 2),
            "peak_mib": {
                f"{rows} rows": {f"{t} steps": mib for t, mib in peak.items()} for rows, peak in peaks.items()
            },
        },
    )


if __name__ == "__main__":
    main()
