"""Scripts that measure speed and memory; each writes its record to results/benchmarks, or to ``--output``."""
