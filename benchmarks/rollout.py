"""How much a batched rollout costs over the bare forward passes of its enhancer on the same batches.

``python -m benchmarks.rollout --preset full --precision bfloat16``; goal: at most 1.15 on a CPU at N = 32.
"""

from __future__ import annotations

import statistics

import torch

from benchmarks.common import at_least, claim, interleave, make_parser, ratio
from facehall_env.core import HallucinationCore
from facehall_env.enhancer import PRESETS, EnhancerInput, make_enhancer


def main() -> None:
    """Time rollouts against the same forward passes alone."""
    parser = make_parser(__doc__)
    parser.add_argument("--preset", choices=[*PRESETS], default="full")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--rows", type=at_least(1), default=32)
    parser.add_argument("--horizon", type=at_least(1), default=5)
    parser.add_argument("--rounds", type=at_least(1), default=7)
    options = parser.parse_args()
    record = claim(f"rollout-{options.preset}-{options.precision}-n{options.rows}", parser, options)
    torch.manual_seed(0)
    core = HallucinationCore(
        enhancer=make_enhancer(options.preset), precision=options.precision, horizon=options.horizon
    )
    faces = torch.randint(0, 256, (options.rows, 3, 128, 128), dtype=torch.uint8)
    locations = torch.randint(core.geometry.locations, (options.horizon, options.rows))
    seen: list[EnhancerInput] = []
    core.reset(faces)
    for location in locations:
        seen.append(core.observe(location))
        core.step(location)

    def rollout() -> None:
        core.reset(faces)
        for location in locations:
            core.step(location)

    @torch.no_grad()
    def forward() -> None:
        for inputs in seen:
            core.enhance(inputs)

    seconds = interleave({"rollout": rollout, "forward": forward}, options.rounds)
    record.write(
        {
            "ratio": round(ratio(seconds, "rollout", "forward"), 3),
            "goal": "ratio <= 1.15",
            "ms_per_patch": round(
                1e3 * statistics.median(seconds["forward"]) / options.horizon / options.rows, 3
            ),
        },
    )


if __name__ == "__main__":
    main()
