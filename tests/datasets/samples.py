"""Small data sets in the official layouts, made of noise."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TRAIN = {"Ann_Lee": 2, "Bo": 1, "Cy_Van_Dyk": 3, "Di_Wu": 1}
TEST = {"Ed_Ray": 2, "Flo": 1}


def noise(seed: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encode(pixels: NDArray[np.uint8], format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def pack(path: Path, files: Mapping[str, bytes]) -> Path:
    """Writes an archive of the kind that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    mode = {".tgz": "w:gz", ".gz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2", ".tar": "w:"}[path.suffix]
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def lfw_files(people: Mapping[str, int]) -> dict[str, bytes]:
    """``NAME/NAME_0001.jpg`` and so on, noise of 250x250."""
    names = [f"{name}/{name}_{k:04d}.jpg" for name, count in people.items() for k in range(1, count + 1)]
    return {name: encode(noise(seed, 250, 250, 3), quality=50) for seed, name in enumerate(names)}


def people_list(people: Mapping[str, int]) -> bytes:
    return "".join([f"{len(people)}\n", *(f"{name}\t{count}\n" for name, count in people.items())]).encode()
