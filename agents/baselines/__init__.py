"""The systems that the paper compares with, and every other way from a small face to a large one.

All answer behind one contract, `agents.baselines.contract.Hallucinator`; `make_hallucinator` and
`load_hallucinator` find them by the names of the records.
"""

from agents.baselines.contract import Degradation, Hallucinator
from agents.baselines.registry import (
    HALLUCINATORS,
    hallucinator_class,
    load_hallucinator,
    make_hallucinator,
)

__all__ = [
    "HALLUCINATORS",
    "Degradation",
    "Hallucinator",
    "hallucinator_class",
    "load_hallucinator",
    "make_hallucinator",
]
