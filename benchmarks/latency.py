"""Table 4: what one 128x128 face costs every method, and how many faces a second go through in batches.

Same device, same run; float32 and bfloat16 apart. Speed does not depend on the weights' values, so networks
start untrained.

python -m benchmarks.latency [--device cuda] [--scale 8] [--batch 64]
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from dataclasses import asdict
from typing import Any

import torch

from agents.baselines import Degradation, Hallucinator, make_hallucinator
from agents.baselines.cost import multiply_adds
from agents.baselines.looking import Looking
from agents.policies import PolicyConfig
from benchmarks.common import write
from facehall_env.enhancer import make_enhancer
from facehall_env.resample import ProtocolName

ONE_SHOT = ("bicubic", "mzq", "srcnn", "vdsr", "cnn16", "gln", "bccnn")
LOOKING = ("attention_fh", "raster_scan")
PRECISIONS = ("float32", "bfloat16")


def make(name: str, degradation: Degradation, preset: str) -> Hallucinator:
    torch.manual_seed(0)
    if name not in LOOKING:
        method = make_hallucinator(name, degradation)
    else:
        channels, height, width = degradation.high_shape
        enhancer = make_enhancer(preset, shape=degradation.high_shape).config
        policy = PolicyConfig(
            channels=channels,
            height=height,
            width=width,
            patch_height=enhancer.patch_height,
            patch_width=enhancer.patch_width,
        )
        method = Looking(
            degradation,
            looker=name,
            enhancer=asdict(enhancer),
            policy=asdict(policy) if name == "attention_fh" else None,
        )
    method.fitted = True
    return method


def timed(method: Hallucinator, rows: int, calls: int, warmup: int) -> list[float]:
    """Seconds of every counted call on `rows` faces, the device waited for each time."""
    low = torch.rand(rows, *method.degradation.low_shape, device=method.device)
    seconds = []
    for call in range(warmup + calls):
        start = time.perf_counter()
        method.hallucinate(low)
        if low.device.type != "cpu":
            torch.accelerator.synchronize()
        if call >= warmup:
            seconds.append(time.perf_counter() - start)
    return seconds


def measure(method: Hallucinator, calls: int, warmup: int, batch: int, batches: int) -> dict[str, Any]:
    values: dict[str, Any] = {
        "parameters": method.parameter_count,
        "giga_multiply_adds": round(multiply_adds(method) / 1e9, 4),
    }
    for precision in PRECISIONS:
        method.precision = precision  # type: ignore[assignment]
        one = statistics.median(timed(method, 1, calls, warmup))
        many = statistics.median(timed(method, batch, batches, 1))
        values[precision] = {
            "ms_a_face": round(1e3 * one, 3),
            "faces_a_second_in_batches": round(batch / many, 2),
        }
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--scale", type=int, default=8)
    parser.add_argument("--protocol", default="aligned")
    parser.add_argument("--preset", default="full", help="of Attention-FH's enhancer")
    parser.add_argument("--methods", nargs="+", default=[*ONE_SHOT, *LOOKING])
    parser.add_argument("--calls", type=int, default=50, help="counted calls on one face")
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64, help="faces in a batch")
    parser.add_argument("--batches", type=int, default=5, help="counted batches")
    parser.add_argument("--name", default=None, help="of the record")
    options = parser.parse_args()
    protocol: ProtocolName = options.protocol
    degradation = Degradation(3, 128, 128, options.scale, protocol)
    values: dict[str, Any] = {
        key: getattr(options, key) for key in ("scale", "protocol", "preset", "calls", "batch", "batches")
    }
    values["methods"] = {}
    for name in options.methods:
        method = make(name, degradation, options.preset).to(options.device)
        values["methods"][name] = measure(
            method, options.calls, options.warmup, options.batch, options.batches
        )
        print(name, values["methods"][name], flush=True)
        del method
        gc.collect()  # the matrices of one method need not lie beside the next one's
    kind = torch.device(options.device).type
    write(options.name or f"latency-x{options.scale}-{kind}", values, options.device)


if __name__ == "__main__":
    main()
