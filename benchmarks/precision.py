"""How much faster the enhancer runs in bfloat16 than in float32.

``python -m benchmarks.precision``; goal: at least 1.8 for the full-size network on a CPU with avx512_bf16.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import torch

from benchmarks.common import at_least, claim, interleave, make_parser, ratio
from facehall_env.core import HallucinationCore
from facehall_env.enhancer import PRESETS, make_enhancer


def main() -> None:
    """Time the two precisions in turns on the same batch."""
    parser = make_parser(__doc__)
    parser.add_argument("--preset", choices=[*PRESETS], default="full")
    parser.add_argument("--rows", type=at_least(1), default=32)
    parser.add_argument("--rounds", type=at_least(1), default=9)
    options = parser.parse_args()
    record = claim(f"precision-{options.preset}-n{options.rows}", parser, options)
    torch.manual_seed(0)
    single = HallucinationCore(enhancer=make_enhancer(options.preset))
    half = single.replica(precision="bfloat16")
    single.reset(torch.randint(0, 256, (options.rows, 3, 128, 128), dtype=torch.uint8))
    inputs = single.observe(torch.randint(single.geometry.locations, (options.rows,)))
    with torch.no_grad():
        seconds = interleave(
            {"float32": lambda: single.enhance(inputs), "bfloat16": lambda: half.enhance(inputs)},
            options.rounds,
        )
    cpuinfo = Path("/proc/cpuinfo")
    record.write(
        {
            "speedup": round(ratio(seconds, "float32", "bfloat16"), 3),
            "goal": "speedup >= 1.8 where the CPU has avx512_bf16",
            "avx512_bf16": cpuinfo.is_file() and "avx512_bf16" in cpuinfo.read_text(),
            "float32_ms_per_patch": round(1e3 * statistics.median(seconds["float32"]) / options.rows, 3),
            "bfloat16_ms_per_patch": round(1e3 * statistics.median(seconds["bfloat16"]) / options.rows, 3),
        },
    )


if __name__ == "__main__":
    main()
