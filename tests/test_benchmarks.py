"""The benchmarks run, in the tiniest size; what they time is nothing a test could judge."""

import importlib
import json
import pkgutil
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import benchmarks
from benchmarks import common, engine, faces, latency, report, rollout, throughput

SCRIPTS = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name != "common"]
ROLLOUT = "--preset tiny --precision float32 --rows 1 --horizon 1"


class ClaimedError(Exception):
    """Ends a benchmark before it measures anything."""


def start(program: Any, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["benchmark", *words.split()])
    program.main()


def run(program: Any, words: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    start(program, f"{words} --output {folder}", monkeypatch)
    (path,) = folder.glob("*.json")
    record: dict[str, Any] = json.loads(path.read_text())
    assert record["benchmark"] == path.stem
    monkeypatch.setattr(report, "RESULTS", folder)
    assert f"| {path.stem} | " in report.render()
    return record


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize(("word", "status"), [("--help", 0), ("--nonsense", 2)])
def test_every_script_reads_its_command_line_before_it_does_anything(
    name: str, word: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "PAGE", tmp_path / "benchmarks.md")
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    with pytest.raises(SystemExit) as stopped:
        start(importlib.import_module(f"benchmarks.{name}"), word, monkeypatch)
    assert stopped.value.code == status
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("engine", "--rounds 0"),
        ("face_memory", "--rows 32 -1"),
        ("face_memory", "--enhancer huge"),
        ("faces", "--rounds few"),
        ("faces", "--device abacus"),
        ("latency", "--calls 2"),
        ("latency", "--scale 3"),
        ("latency", "--methods magic"),
        ("precision", "--rows 0"),
        ("prepare", "lfw data/lfw --rounds 0"),
        ("rollout", "--horizon 0"),
        ("throughput", "--faces 1.5"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    name: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    with pytest.raises(SystemExit, match="2"):
        start(importlib.import_module(f"benchmarks.{name}"), words, monkeypatch)
    option = next(word for word in reversed(words.split()) if word.startswith("--"))
    assert f"error: argument {option}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words", "record", "difference"),
    [
        ("engine", "--updates 1", "engine-full-cpu", "updates 3 there, 1 here"),
        ("face_memory", "--rows 1 2", "face-memory-tiny", "rows [32, 256, 1024] there, [1, 2] here"),
        ("faces", "--parts speed sb3 --rounds 1", "faces-sb3-identity-n32", "rounds 5 there, 1 here"),
        ("faces", "--parts speed --rounds 1", "faces-speed-identity-cpu", "rounds 5 there, 1 here"),
        (
            "memory",
            "configs/lfw-x8.yaml --agent.n_faces 1",
            "memory-lfw-x8",
            "more ['--env.root', 'data/lfw'] there, ['--agent.n_faces', '1'] here",
        ),
        ("precision", "--rounds 1", "precision-full-n32", "rounds 7 there, 1 here"),
        ("prepare", "lfw elsewhere --rounds 2", "prepare-lfw", "root data/lfw there, elsewhere here"),
        (
            "rollout",
            "--rounds 1 --horizon 1",
            "rollout-full-bfloat16-n32",
            "horizon 5 there, 1 here; rounds 5",
        ),
        ("throughput", "--faces 1", "throughput-full-bfloat16-cpu", "faces 8 there, 1 here"),
    ],
)
def test_a_published_record_is_not_replaced_by_one_of_other_settings(
    name: str,
    words: str,
    record: str,
    difference: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / f"{record}.json"
    shutil.copy(common.RESULTS / path.name, path)
    published = path.read_text()
    with pytest.raises(SystemExit, match="2"):
        start(importlib.import_module(f"benchmarks.{name}"), f"{words} --output {tmp_path}", monkeypatch)
    printed = capsys.readouterr()
    assert not printed.out  # nothing was measured
    assert str(path) in printed.err
    assert difference in printed.err
    assert "--output" in printed.err
    assert path.read_text() == published
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("path", sorted(common.RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_the_command_of_a_published_record_may_be_repeated(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, *words = shlex.split(json.loads(path.read_text())["command"])[2:]
    script = importlib.import_module(module)

    def claim(name: str, *arguments: Any) -> common.RecordFile:
        record = common.claim(name, *arguments)
        if name == path.stem:
            raise ClaimedError
        return record

    monkeypatch.setattr(script, "claim", claim)
    monkeypatch.setattr("sys.argv", [module, *words])
    with pytest.raises(ClaimedError):
        script.main()


def test_a_record_is_replaced_by_one_of_the_same_settings_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rollout-tiny-float32-n1.json"
    command = f"python -m benchmarks.rollout --rounds 1 {ROLLOUT}"
    path.write_text(json.dumps({"benchmark": path.stem, "command": command}))  # of before settings were kept
    for _ in range(2):
        assert run(rollout, f"{ROLLOUT} --rounds 1", tmp_path, monkeypatch)["settings"] == {
            **{"preset": "tiny", "precision": "float32"},
            **{"rows": 1, "horizon": 1, "rounds": 1},
        }
    measured = path.read_text()
    with pytest.raises(SystemExit, match="2"):
        run(rollout, f"{ROLLOUT} --rounds 2", tmp_path, monkeypatch)
    assert path.read_text() == measured
    assert run(rollout, f"{ROLLOUT} --rounds 2", tmp_path / "elsewhere", monkeypatch)["ratio"] > 0


@pytest.mark.parametrize(
    "content", ["", "[]", '{"benchmark": "some"}', '{"command": "some"}', '{"command": "x -m y --rounds no"}']
)
def test_a_record_that_says_nothing_of_its_settings_is_left_alone(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "some.json").write_text(content)
    parser = common.make_parser("")
    parser.add_argument("--rounds", type=common.at_least(1), default=1)
    with pytest.raises(SystemExit, match="2"):
        common.claim("some", parser, parser.parse_args(["--output", str(tmp_path)]))
    assert "some.json does not say with what settings it was measured" in capsys.readouterr().err
    assert (tmp_path / "some.json").read_text() == content


def test_everything_is_measured_as_training_computes(tmp_path: Path) -> None:
    parser = common.make_parser("")
    with torch.backends.cudnn.flags(deterministic=False, benchmark=True, allow_tf32=True):
        common.claim("some", parser, parser.parse_args(["--output", str(tmp_path)]))
        flags = torch.backends.cudnn
        assert (flags.deterministic, flags.benchmark, flags.allow_tf32) == (True, False, False)


def test_a_place_that_is_no_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="2"):
        start(rollout, f"--output {tmp_path / 'file'}", monkeypatch)
    assert "cannot be a folder" in capsys.readouterr().err


def test_the_page_shows_the_cost_and_the_times_of_every_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "--methods bicubic srcnn --calls 3 --warmup 0 --batch 1 --batches 1"
    record = run(latency, words, tmp_path, monkeypatch)
    assert set(record["float32"]) == set(record["bfloat16"]) == {"bicubic", "srcnn"}
    for times in record["float32"].values():
        assert times["ms_lower_quartile"] <= times["ms_a_face"] <= times["ms_upper_quartile"]
    page = report.render()
    for table in ("cost", "float32", "bfloat16"):
        assert f"`latency-x8-cpu`, {table}:" in page
    assert f"| srcnn | {record['cost']['srcnn']['parameters']:,} |" in page


def test_the_speed_is_measured_in_as_many_rounds_as_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = []

    def interleave(*args: Any, **options: Any) -> dict[str, list[float]]:
        seconds = common.interleave(*args, **options)
        rounds.extend(len(taken) for taken in seconds.values())
        return seconds

    monkeypatch.setattr(faces, "interleave", interleave)
    monkeypatch.setattr(faces, "SIZES", (1,))
    assert set(run(faces, "--parts speed --rounds 2", tmp_path, monkeypatch)["by_rows"]) == {"1"}
    assert rounds == [2, 2]


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
