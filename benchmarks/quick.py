"""How long the paper's tables and figures take in tiny size, from nothing: ``evaluate.py ... --quick``.

``python -m benchmarks.quick``; goal: all of them within 15 minutes on two cores. One process after the other
in a fresh folder, as a reader would type them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from typing import Final

from benchmarks.common import claim, make_parser

COMMANDS: Final = ("table1", "table2", "table3", "table4", "figure3", "figure5")


def main() -> None:
    """Make everything, and write down the minutes."""
    parser = make_parser(__doc__)
    record = claim("quick", parser, parser.parse_args())
    minutes = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in COMMANDS:
            words = [
                sys.executable,
                "evaluate.py",
                name,
                "--quick",
                "--output",
                folder,
                "--progress-bar",
                "false",
            ]
            words += [] if name == "table4" else ["--runs", folder]
            started = time.monotonic()
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
            minutes[name] = round((time.monotonic() - started) / 60.0, 2)
            print(f"{name}: {minutes[name]} minutes", flush=True)
    record.write(
        {
            "minutes": round(sum(minutes.values()), 1),
            "goal": "minutes <= 15 for all tables and figures on two cores",
            "by_command": {"evaluate.py": minutes},
        },
    )


if __name__ == "__main__":
    main()
