"""Train and measure landmark predictors: ``python -m agents.landmarks train | eyes | render``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final, Literal

import numpy as np
from jsonargparse import auto_cli

from agents.landmarks.dlib68 import DlibPredictor, detect_boxes
from agents.landmarks.measurement import (
    blank_record,
    check_replaceable,
    error_record,
    landmark_table,
    render_page,
    update_landmark_records,
)
from agents.landmarks.points import default_boxes
from agents.landmarks.sdm import SDM, SDMConfig
from agents.landmarks.sources import Annotated, KnowsLandmarks, annotate, bioid_eyes, degraded
from facehall_env.arguments import whole
from facehall_env.datasets import FaceDataset, load_dataset
from facehall_env.resample import ProtocolName

Truth = Literal["dataset", "dlib"]
_OF_DLIB: Final = "iBUG 300-W"


def train(
    out: Path,
    dataset: str = "synthetic",
    root: str | None = None,
    truth: Truth = "dataset",
    scale: int = 1,
    protocol: ProtocolName = "aligned",
    faces: int = 400,
    test_faces: int = 200,
    test_dataset: str | None = None,
    test_root: str | None = None,
    test_truth: Truth | None = None,
    sdm: SDMConfig | None = None,
    measure_dlib: bool = False,
    records: Path = Path("results/landmarks/errors.json"),
) -> None:
    """Train an SDM for 68 points on centred faces, measure it on the test split, write the record.

    Args:
        out: The safetensors file to write.
        dataset: synthetic, lfw, bioid (aligned) or folder.
        root: Where the pictures lie.
        truth: dataset: its own points, which drawn faces have; dlib: dlib's answers on the original pictures
            (extra "dlib"; weights for non-commercial use only).
        scale: Train on I_0 of this scale; 1: on the original pictures.
        protocol: How I_0 is made.
        faces: Training faces, evenly spread over the split.
        test_faces: Test faces, evenly spread over the split.
        test_dataset: Measure on another data set than the one that was trained on.
        test_root: Where that one's pictures lie.
        test_truth: Where that one's points come from.
        sdm: Settings of the training.
        measure_dlib: Measure dlib's predictor too, on the same pictures.
        records: The file to update.
    """
    whole("scale", scale)
    whole("test_faces", test_faces, 2)
    _check_out(out)
    dlib = DlibPredictor() if measure_dlib else None
    known = _faces(load_dataset(dataset, root=root, split="train"), faces, truth, scale, protocol)
    other = test_dataset is not None
    found = _faces(
        load_dataset(test_dataset or dataset, root=test_root if other else root, split="test"),
        test_faces,
        test_truth or truth,
        scale,
        protocol,
    )
    words = {"scale": scale, "protocol": protocol if scale > 1 else "-"}
    named = f"{len(known.pictures)} faces of {known.dataset}"
    blanks = [blank_record(name, found, trained_on=named, **words) for name in ("mean_shape", "sdm")]
    if dlib is not None:
        blanks.append(blank_record("dlib", found, trained_on=_OF_DLIB, **words))
    check_replaceable(records, blanks)
    model = _trained(known, sdm)
    model.save(out)
    boxes = default_boxes(*found.pictures.shape[:3])
    rows = [
        error_record("mean_shape", model.mean_shape(boxes), found, trained_on=named, **words),
        error_record("sdm", model.predict(found.pictures), found, trained_on=named, **words),
    ]
    if dlib is not None:
        points = dlib.predict(found.pictures)
        rows.append(error_record("dlib", points, found, trained_on=_OF_DLIB, **words))
    _report(records, rows, out)


def eyes(
    out: Path,
    root: str | None = None,
    sdm: SDMConfig | None = None,
    detect: bool = False,
    records: Path = Path("results/landmarks/errors.json"),
) -> None:
    """Train an SDM for both eyes on BioID's whole pictures, measure it on the test split, write the record.

    Args:
        out: The safetensors file to write.
        root: Folder or archive of BioID.
        sdm: Settings of the training.
        detect: Measure with the boxes of dlib's detector too (extra "dlib").
        records: The file to update.
    """
    _check_out(out)
    known, test = bioid_eyes(root, "train"), bioid_eyes(root, "test", seed=1)
    assert test.boxes is not None  # whole pictures always have them
    words = {"scale": 1, "protocol": "-", "trained_on": f"{len(known.pictures)} pictures of bioid"}
    check_replaceable(records, [blank_record(name, test, **words) for name in ("mean_shape", "sdm")])
    model = _trained(known, sdm or SDMConfig(ridge=1.0))
    model.save(out)
    rows = [
        error_record("mean_shape", model.mean_shape(test.boxes), test, **words),
        error_record("sdm", model.predict(test.pictures, test.boxes), test, **words),
    ]
    if detect:
        boxes = detect_boxes(test.pictures)
        seen = np.isfinite(boxes[:, 0])
        points = model.predict(test.pictures[seen], boxes[seen])
        part = test._replace(pictures=test.pictures[seen], points=test.points[seen], boxes=boxes[seen])
        rows.append(error_record("sdm in detected boxes", points, part, **words))
    _report(records, rows, out)


def render(page: Path = Path("docs/landmarks.md"), root: Path = Path()) -> None:
    """Render a page's table from its records.

    Args:
        page: The Markdown file.
        root: Where the records' names start.
    """
    print(f"{page}: {'up to date' if render_page(page, root) else 'rendered'}")


def _faces(source: FaceDataset, count: int, truth: Truth, scale: int, protocol: ProtocolName) -> Annotated:
    """Faces evenly spread over a split, degraded if the scale is not 1."""
    if truth == "dataset" and not isinstance(source, KnowsLandmarks):
        raise ValueError(
            f"{source.name!r} has no landmarks of its own: let dlib find them, --truth dlib (or --test_truth "
            "dlib for the faces to measure on; both need the extra 'dlib'), or take --dataset synthetic"
        )
    total = min(len(source), 100_000)  # a million drawn faces need not be spread over
    indices = np.linspace(0, total - 1, min(whole("faces", count, 2), total)).astype(int).tolist()
    found = annotate(source, indices, DlibPredictor() if truth == "dlib" else None)
    return found._replace(pictures=degraded(found.pictures, scale, protocol)) if scale > 1 else found


def _check_out(out: Path) -> None:
    """Refuse what no file can be written to, before hours of training."""
    if out.is_dir():
        raise ValueError(f"out is {out}, which is a folder: name a file")
    out.parent.mkdir(parents=True, exist_ok=True)


def _trained(faces: Annotated, config: SDMConfig | None) -> SDM:
    def report(stage: int, distance: float) -> None:
        print(f"stage {stage}: {distance:.2f} of 128 pixels left on the training faces", file=sys.stderr)

    return SDM.train(faces.pictures, faces.points, faces.boxes, config=config, report=report)


def _report(path: Path, rows: list[dict[str, object]], out: Path) -> None:
    update_landmark_records(path, rows)
    print(landmark_table(rows))
    print(f"records: {path}\nSDM: {out}")


def main(arguments: list[str] | None = None) -> int:
    """Run the sub-command that was asked for."""
    try:
        auto_cli(
            {"train": train, "eyes": eyes, "render": render},
            args=arguments,
            prog="python -m agents.landmarks",
            as_positional=False,
        )
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
