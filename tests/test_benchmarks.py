"""The benchmarks of the engine run, in the tiniest size; what they time is nothing a test could judge."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import common, engine, report, throughput


def run(program: Any, words: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(common, "RESULTS", folder)
    monkeypatch.setattr("sys.argv", ["benchmark", *words.split()])
    program.main()
    (path,) = folder.glob("*.json")
    record: dict[str, Any] = json.loads(path.read_text())
    assert record["benchmark"] == path.stem
    monkeypatch.setattr(report, "RESULTS", folder)
    assert f"| {path.stem} | " in report.render()
    return record


def test_throughput_compares_every_phase_with_the_bare_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "--preset tiny --precision float32 --faces 1 --rollouts 2 --horizon 2 --updates 1 --rounds 1"
    record = run(throughput, words, tmp_path, monkeypatch)
    assert record["rows"] == 2
    assert set(record["phases"]) == {
        *("rollout", "policy", "enhancer", "iteration"),
        *("bare_forward", "bare_training", "bare"),
    }
    parts = [1 / record["phases"][name]["faces_per_second"] for name in ("rollout", "policy", "enhancer")]
    whole = 1 / record["phases"]["iteration"]["faces_per_second"]
    assert sum(parts) == pytest.approx(whole, rel=0.05)  # but for rounding
    assert "`throughput-tiny-float32-cpu`, phases:" in report.render()


@pytest.mark.slow
def test_the_engine_compares_every_switch_with_the_reference_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "--preset tiny --precisions float32 --switches channels-last --rows 2 --horizon 1 --updates 1"
    words += " --rounds 1 --goals --episodes 4 --calls 3 --batch 2 --batches 1"
    record = run(engine, words, tmp_path, monkeypatch)
    assert set(record["float32"]) == {"reference", "channels-last"}
    assert record["float32"]["channels-last"]["largest_difference_of_a_pixel"] < 1e-4
    assert set(record["prefetch"]) == {"off", "on"}
    assert record["epoch"]
    assert any(name.startswith("answers_") for name in record)
