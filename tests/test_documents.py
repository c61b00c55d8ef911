"""The benchmarks page says what the records say (the tables of the other pages: test_records.py)."""

from pathlib import Path

import pytest

from agents.landmarks.measurement import render_page
from agents.records.differences import render_differences
from benchmarks import report


def test_benchmarks_page_is_rendered_from_the_records() -> None:
    assert report.PAGE.read_text() == report.render(), "run python -m benchmarks.report"


def test_landmarks_page_is_rendered_from_the_records() -> None:
    root = report.PAGE.parents[1]
    assert render_page(root / "docs" / "landmarks.md", root, check=True), (
        "run python -m agents.landmarks render"
    )


def test_findings_are_rendered_from_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    root = report.PAGE.parents[1]
    monkeypatch.chdir(root)
    assert render_differences(root / "docs" / "findings.md", check=True), (
        "run python -m agents.records differences docs/findings.md"
    )


def test_a_changed_number_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(report.render().replace("| goal |", "| aim |"))
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr("sys.argv", ["report", "--check"])
    assert report.main() == 1
    monkeypatch.setattr("sys.argv", ["report"])
    assert report.main() == 0
    assert page.read_text() == report.render()
