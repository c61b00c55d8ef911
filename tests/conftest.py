"""Where the tests find real pictures."""

import os
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest
from hypothesis import settings

from agents.checkpoints import CheckpointFolder

settings.register_profile("facehall", deadline=None)  # a busy machine is no failure
settings.load_profile("facehall")


@pytest.fixture(scope="session", autouse=True)
def one_thread_for_drawing():
    """OpenCV's threads wait for each other by spinning, which takes for ever on a busy machine."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(threads)


class KilledError(Exception):
    """Stands for the end of a process."""


@pytest.fixture
def killed_after(monkeypatch):
    """A context in which the run dies right after it wrote so many checkpoints."""

    @contextmanager
    def dying(checkpoints):
        write, written = CheckpointFolder.write, 0

        def write_then_die(folder, state):
            nonlocal written
            path = write(folder, state)
            written += 1
            if written == checkpoints:
                raise KilledError
            return path

        with monkeypatch.context() as patch:
            patch.setattr(CheckpointFolder, "write", write_then_die)
            with pytest.raises(KilledError):
                yield

    return dying


def _data(folder: str, what: str) -> Path:
    root = Path(os.environ.get("FACEHALL_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not (root / folder).is_dir():
        pytest.skip(f"needs {what}: set FACEHALL_TEST_DATA to a folder that holds {folder}/")
    return root / folder


@pytest.fixture(scope="session")
def lfw_root() -> Path:
    """Folder of LFW's archive and people lists."""
    return _data("lfw", "the pictures of LFW")


@pytest.fixture(scope="session")
def bioid_root() -> Path:
    """Folder of BioID's archive."""
    return _data("bioid", "the pictures of BioID")
