"""What holds for all tests of what learns."""

import tempfile

import pytest


@pytest.fixture(autouse=True)
def _default_loggers_write_here(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stable-Baselines3 makes a folder for every logger that was given none."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.getbasetemp()))
