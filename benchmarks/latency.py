"""What one 128x128 face costs every method, and how many faces a second go through in batches.

Same device, same run; float32 and bfloat16 apart. ``python evaluate.py table4`` makes the paper's table of
such measurements.

python -m benchmarks.latency [--device cuda] [--scale 8] [--batch 64]
"""

from __future__ import annotations

import argparse
import gc
from typing import Any

import torch

from agents.baselines import Degradation
from agents.baselines.latency import measure_latency, untrained
from benchmarks.common import write
from facehall_env.resample import ProtocolName

METHODS = ("bicubic", "mzq", "srcnn", "vdsr", "cnn16", "gln", "bccnn", "attention_fh", "raster_scan")


def main() -> None:
    torch.backends.cudnn.allow_tf32 = False  # as evaluate.py does, or float32 would be TF32 on CUDA devices
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--scale", type=int, default=8)
    parser.add_argument("--protocol", default="aligned")
    parser.add_argument("--preset", default="full", help="of Attention-FH's enhancer")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
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
        method = untrained(name, degradation, options.preset).to(options.device)
        values["methods"][name] = measure_latency(
            method,
            calls=options.calls,
            warmup=options.warmup,
            batch=options.batch,
            batches=options.batches,
        )
        print(name, values["methods"][name], flush=True)
        del method
        gc.collect()  # the matrices of one method need not lie beside the next one's
    kind = torch.device(options.device).type
    write(options.name or f"latency-x{options.scale}-{kind}", values, options.device)


if __name__ == "__main__":
    main()
