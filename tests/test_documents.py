"""The documents say what the records say."""

from pathlib import Path

import pytest

from agents.records import render_text
from benchmarks import report

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_tables_are_rendered_from_the_records(path: Path) -> None:
    text = path.read_text()
    assert render_text(text, ROOT, path.name)[0] == text, f"run python -m agents.records render {path.name}"


def test_benchmarks_page_is_rendered_from_the_records() -> None:
    assert report.PAGE.read_text() == report.render(), "run python -m benchmarks.report"


def test_a_changed_number_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(report.render().replace("| goal |", "| aim |"))
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr("sys.argv", ["report", "--check"])
    assert report.main() == 1
    monkeypatch.setattr("sys.argv", ["report"])
    assert report.main() == 0
    assert page.read_text() == report.render()
