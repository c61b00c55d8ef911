"""A cache folder of its own for every test, and small sources to fill it from."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from facehall_env.datasets.cache import Item, Recipe

from .samples import TEST, TRAIN, lfw_files, noise, people_list, write_files


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches and downloads go here, and the network ends at a port where nobody listens."""
    monkeypatch.setenv("FACEHALL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FACEHALL_LFW_URL", "http://127.0.0.1:9")
    return tmp_path / "data"


@pytest.fixture(scope="session")
def lfw_pictures() -> dict[str, bytes]:
    return lfw_files({**TRAIN, **TEST})


@pytest.fixture
def small_lfw(tmp_path: Path, lfw_pictures: dict[str, bytes]) -> Path:
    """A folder that holds ``lfw_funneled`` with ten pictures of six people, and the two lists."""
    root = tmp_path / "pictures"
    write_files(root / "lfw_funneled", lfw_pictures)
    write_files(root, {"peopleDevTrain.txt": people_list(TRAIN), "peopleDevTest.txt": people_list(TEST)})
    return root


@pytest.fixture
def raw_recipe(tmp_path: Path) -> Callable[..., Recipe]:
    """Recipes over a folder of raw 2x3 pictures, ``0.raw`` and so on; every reading of an item is counted."""

    def make(count: int = 5, *, fail_after: int | None = None) -> Recipe:
        source = tmp_path / "raw"
        source.mkdir(exist_ok=True)
        for k in range(len(list(source.iterdir())), count):  # what is there stays as it is, to the time stamp
            (source / f"{k:03d}.raw").write_bytes(noise(k, 2, 3, 1).tobytes())

        def items() -> Iterator[Item]:
            for number, path in enumerate(sorted(source.glob("*.raw"))):
                if number == fail_after:
                    raise KeyboardInterrupt
                make.reads += 1
                yield Item(path.stem, path.name, path.read_bytes())

        return Recipe(
            name="raw",
            source=source,
            crop={"size": [2, 3]},
            shape=(2, 3, 1),
            wanted=lambda path: path.suffix == ".raw",
            items=items,
            decode=lambda item: np.frombuffer(item.data, np.uint8).reshape(2, 3, 1),
        )

    make.reads = 0
    return make
