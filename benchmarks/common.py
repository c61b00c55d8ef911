"""What the benchmarks share: interleaved timing, so that noise hits both sides alike, and records."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from agents.evaluation import device_in_words
from agents.records import provenance

RESULTS = Path(__file__).parent.parent / "results" / "benchmarks"


def interleave(
    functions: dict[str, Callable[[], Any]], rounds: int, warmup: int = 2
) -> dict[str, list[float]]:
    """Seconds of every call, the functions taking turns.

    Args:
        functions: By name what to time.
        rounds: Counted calls of each.
        warmup: Calls of each that are not counted.
    """
    for _ in range(warmup):
        for function in functions.values():
            function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: dict[str, list[float]], over: str, under: str) -> float:
    """Median of the ratios of neighbouring calls: slow drifts of the machine cancel."""
    return statistics.median(a / b for a, b in zip(seconds[over], seconds[under], strict=True))


def write(name: str, values: dict[str, Any], device: str = "cpu") -> None:
    """Print a result and keep it as results/benchmarks/NAME.json."""
    record = {"benchmark": name, **values, "device": device_in_words(torch.device(device)), **provenance()}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))
