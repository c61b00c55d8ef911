"""One SDM, trained once on a few drawn faces."""

import numpy as np
import pytest

from agents.landmarks import SDM, SDMConfig
from agents.landmarks.sources import Annotated, annotate
from facehall_env.datasets.synthetic import SyntheticFaces


@pytest.fixture(scope="session")
def drawn() -> Annotated:
    return annotate(SyntheticFaces("train"), range(40))


@pytest.fixture(scope="session")
def unseen() -> Annotated:
    return annotate(SyntheticFaces("test"), range(12))


@pytest.fixture(scope="session")
def sdm(drawn: Annotated) -> SDM:
    return SDM.train(drawn.pictures, drawn.points, config=SDMConfig(starts=3, stages=3))


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 40, 40, 1), dtype=np.uint8)
