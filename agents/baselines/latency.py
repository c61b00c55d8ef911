"""What one face costs a method: seconds on a device, and how many faces a second go through in batches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import torch

from agents.baselines.contract import Degradation, Hallucinator
from agents.baselines.cost import multiply_adds
from agents.baselines.looking import LOOKING, Looking
from agents.baselines.registry import make_hallucinator
from agents.policies import PolicyConfig
from facehall_env.core import Precision, wait_for
from facehall_env.datasets.synthetic import SyntheticFaces
from facehall_env.enhancer import make_enhancer

PRECISIONS: Final[tuple[Precision, ...]] = ("float32", "bfloat16")


def untrained(
    name: str, degradation: Degradation, preset: str, settings: Mapping[str, Any] | None = None
) -> Hallucinator:
    """A method in the size that it has when it has learned; how long it takes does not depend on its weights.

    SFH, whose exemplars are its size, takes drawn faces.

    Args:
        name: A key of `agents.baselines.HALLUCINATORS`.
        degradation: What it is made for.
        preset: Of the enhancer of agents.
        settings: Of the constructor of other methods.
    """
    torch.manual_seed(0)
    if name not in LOOKING:
        method = make_hallucinator(name, degradation, **(settings or {}))
        if name == "sfh":
            faces = SyntheticFaces("train", size=method.settings["exemplars"], image_size=degradation.height)
            return method.fit(faces)
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


def timed(
    method: Hallucinator, rows: int, calls: int, warmup: int, *, fewest: int, most_seconds: float
) -> list[float]:
    """Seconds of every counted call, the device waited for each time.

    Args:
        method: What is called.
        rows: Faces a call.
        calls: How many are counted.
        warmup: Calls before them that are not.
        fewest: How many are counted however long they take.
        most_seconds: Stop early after so long.
    """
    low = torch.rand(rows, *method.degradation.low_shape, device=method.device)
    begun, seconds = time.perf_counter(), list[float]()
    for call in range(warmup + calls):
        start = time.perf_counter()
        method.hallucinate(low)
        wait_for(low.device)
        now = time.perf_counter()
        if call >= warmup:
            seconds.append(now - start)
        if now - begun > most_seconds and len(seconds) >= fewest:
            break
    return seconds


def measure_latency(
    method: Hallucinator,
    *,
    calls: int = 50,
    warmup: int = 5,
    batch: int = 64,
    batches: int = 5,
    most_seconds: float = 120.0,
) -> dict[str, Any]:
    """Parameters, multiply-adds, and by precision the time of one face and the faces a second in batches.

    Args:
        method: On its device; its precision is left as the last one of `PRECISIONS`.
        calls: Counted calls on one face, at least three, of which the median and the quartiles are told.
        warmup: Calls before them.
        batch: Faces in a batch.
        batches: Counted batches, after one that is not.
        most_seconds: For the calls of one kind, see `timed`.

    Returns:
        JSON-able: ``parameters``, ``giga_multiply_adds``, and by precision ``ms_a_face``, ``ms_quartiles``,
        ``calls`` and ``faces_a_second_in_batches``.
    """
    values: dict[str, Any] = {
        "parameters": method.parameter_count,
        "giga_multiply_adds": round(multiply_adds(method) / 1e9, 4),
    }
    for precision in PRECISIONS:
        method.precision = precision
        one = [
            1e3 * seconds for seconds in timed(method, 1, calls, warmup, fewest=3, most_seconds=most_seconds)
        ]
        low, middle, high = statistics.quantiles(one, n=4, method="inclusive")
        together = timed(method, batch, batches, 1, fewest=1, most_seconds=most_seconds)
        many = statistics.median(together)
        values[precision] = {
            "ms_a_face": round(middle, 3),
            "ms_quartiles": [round(low, 3), round(high, 3)],
            "calls": len(one),
            "faces_a_second_in_batches": round(batch / many, 2),
        }
    return values
