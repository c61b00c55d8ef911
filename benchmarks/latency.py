"""What one 128x128 face costs every method, and how many faces a second go through in batches.

``python -m benchmarks.latency`` (``--device cuda``, ``--scale 4``, ``--batch 256``). Same device, same run;
float32 and bfloat16 apart. ``python evaluate.py table4`` makes the paper's table of such measurements.
"""

from __future__ import annotations

import gc
from typing import Any

import torch

from agents.baselines import HALLUCINATORS, Degradation
from agents.baselines.latency import PRECISIONS, measure_latency, untrained
from benchmarks.common import at_least, claim, make_parser, usable_device
from facehall_env.enhancer import PRESETS
from facehall_env.resample import PROTOCOLS

METHODS = ("bicubic", "mzq", "srcnn", "vdsr", "cnn16", "gln", "bccnn", "attention_fh", "raster_scan")


def tables(measured: dict[str, dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """The cost of every method, and by precision its times, as the tables that the page shows.

    Args:
        measured: By method what `measure_latency` says of it.
    """
    found: dict[str, dict[str, dict[str, float]]] = {
        "cost": {
            method: {key: values[key] for key in ("parameters", "giga_multiply_adds")}
            for method, values in measured.items()
        }
    }
    for precision in PRECISIONS:
        found[precision] = {}
        for method, values in measured.items():
            times = dict(values[precision])
            times["ms_lower_quartile"], times["ms_upper_quartile"] = times.pop("ms_quartiles")
            found[precision][method] = times
    return found


def main() -> None:
    """Measure one method after the other, and write one record."""
    parser = make_parser(__doc__)
    parser.add_argument("--device", type=usable_device, default="cpu")
    parser.add_argument("--scale", type=at_least(1), default=8)
    parser.add_argument("--protocol", choices=PROTOCOLS, default="aligned")
    parser.add_argument("--preset", choices=[*PRESETS], default="full", help="of Attention-FH's enhancer")
    parser.add_argument("--methods", nargs="+", choices=[*HALLUCINATORS], default=[*METHODS])
    parser.add_argument("--calls", type=at_least(3), default=50, help="counted calls on one face")
    parser.add_argument("--warmup", type=at_least(0), default=5, help="calls before them")
    parser.add_argument("--batch", type=at_least(1), default=64, help="faces in a batch")
    parser.add_argument("--batches", type=at_least(1), default=5, help="counted batches")
    parser.add_argument("--name", help="of the record; by default latency-xSCALE-DEVICE")
    options = parser.parse_args()
    try:
        degradation = Degradation(3, 128, 128, options.scale, options.protocol)
    except ValueError as error:
        parser.error(f"argument --scale: {error}")
    kind = torch.device(options.device).type
    record = claim(options.name or f"latency-x{options.scale}-{kind}", parser, options)
    measured: dict[str, dict[str, Any]] = {}
    for name in options.methods:
        method = untrained(name, degradation, options.preset).to(options.device)
        measured[name] = measure_latency(
            method,
            calls=options.calls,
            warmup=options.warmup,
            batch=options.batch,
            batches=options.batches,
        )
        print(name, measured[name], flush=True)
        del method
        gc.collect()  # the matrices of one method need not lie beside the next one's
    slowest = max(values[precision]["ms_a_face"] for values in measured.values() for precision in PRECISIONS)
    record.write({"slowest_ms_a_face": slowest, "goal": "report", **tables(measured)}, options.device)


if __name__ == "__main__":
    main()
