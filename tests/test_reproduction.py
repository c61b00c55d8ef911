"""The paper's tables from one command: what is missing is made, row by row, and rendered beside the paper."""

import itertools
import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

import evaluate
from agents.ablations import VARIANTS
from agents.baselines import Degradation, make_hallucinator
from agents.baselines.configuration import TRAINABLE
from agents.paper import paper_row
from agents.records import Record, load_records, save_images, save_records
from agents.records.images import images_path
from agents.reproduction.__main__ import main as render_pages
from agents.reproduction.cells import ROOT, Cell
from agents.reproduction.collecting import choose, collect
from agents.reproduction.figures import FigureRequest, draw_figure
from agents.reproduction.latency import (
    LatencyRequest,
    latency_page,
    make_latency_table,
    read_latencies,
)
from agents.reproduction.making import Maker
from agents.reproduction.pages import render_page
from agents.reproduction.rendering import render
from agents.reproduction.request import Request
from agents.reproduction.rows import TABLES
from agents.reproduction.tables import make_table
from tests.conftest import KilledError

TINY: dict[str, dict[str, Any]] = {
    "agent": {
        "env": {"precision": "float32", "patch_size": [15, 11], "horizon": 2},
        "enhancer": {"preset": "tiny"},
        "pretraining": {"updates": 2, "batch_size": 2, "warmup": 1},
        "policy": {
            "stride": 8,
            "picture_features": 4,
            "history_features": 4,
            "lstm_features": 4,
            "head_channels": 2,
        },
        "agent": {
            "n_faces": 1,
            "n_rollouts": 2,
            "imitation_updates": 1,
            "imitation_faces": 1,
            "imitation_epochs": 1,
            "enhancer_updates": 1,
            "enhancer_batch_size": 2,
        },
        "total_timesteps": 1,
        "run": {"validation_faces": 0},
    },
    "srcnn": {
        "settings": {"widths": [2, 2]},
        "training": {"updates": 2, "batch_size": 2, "warmup": 1},
        "run": {"validation_faces": 0},
    },
    "mzq": {"settings": {"patch_size": 2, "overlap": 0}},
}


@pytest.fixture
def tiny(tmp_path: Path) -> dict[str, Any]:
    """Arguments of a request in the tiniest size."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name, values in TINY.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))
    return {
        "dataset": "synthetic",
        "data": {"size": 4, "image_size": 32},
        "overrides": folder,
        "runs": tmp_path / "runs",
        "output": tmp_path / "made",
        "device": "cpu",
        "progress_bar": False,
    }


PRETRAINED = "24,000 patches at random; 0 episodes imitating; 0 of REINFORCE; 1 min on cpu in bfloat16"


def a_record(**changes: Any) -> Record:
    known: dict[str, Any] = {
        "method": "srcnn",
        "dataset": "lfw-deepfunneled",
        "split": "test",
        "scale": 8,
        "protocol": "torch7",
        "preset": "srcnn-lfw-x8-torch7",
        "precision": "float32",
        "seed": 0,
        "psnr": 23.0,
        "psnr_y": 24.0,
        "ssim": 0.7,
        "fsim": 0.8,
        "n": 3,
        "seconds_per_image": 0.1,
        "device": "a machine",
        "budget": "20,000 updates",
        "commit": "unknown",
        "versions": {},
        "command": "python",
        "date": "2026-01-01",
    }
    return Record(**(known | changes))


def write(path: Path, *records: Record, gap: float = 0.0) -> None:
    """Records and their images, whose values differ by chance and by the gap."""
    save_records(path, records)
    for record in records:
        values = [record.psnr - 0.1, record.psnr, record.psnr + 0.1]
        columns = dict.fromkeys(("psnr", "psnr_y", "ssim", "fsim"), values)
        save_images(images_path(path, record), {"index": [0, 1, 2], "id": ["a", "b", "c"], **columns})


def test_rows_are_what_can_be_trained_and_what_the_paper_prints() -> None:
    for table in TABLES.values():
        for row in table.rows:
            known = {"input": ("bicubic",), "agent": tuple(VARIANTS), "method": TRAINABLE}
            assert row.method in known[row.kind]
            assert (row.mode is not None) == (row.kind == "agent" and VARIANTS[row.method].has_policy)  # type: ignore[index]
        assert table.row(table.reference) in table.rows
    first = [row.method for row in TABLES["table1"].rows if row.mode != "sampled" and row.method != "edsr"]
    assert all(paper_row(method, "bioid", 4) for method in first)
    assert len(first) == 8


def test_a_killed_table_goes_on_at_the_first_missing_row(
    tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request("table1", **tiny, scales=(4,), rows=("bicubic", "mzq", "srcnn", "attention_fh"))
    made: list[str] = []
    measure = Maker._measure

    def die(maker: Maker, cell: Cell) -> None:
        if len(made) == 3:
            raise KilledError
        made.append(str(cell))
        measure(maker, cell)

    with monkeypatch.context() as patch:
        patch.setattr(Maker, "_measure", die)
        with pytest.raises(KilledError):
            make_table(request)
    # MZQ does not read I_0: one measurement is both protocols'
    assert made == ["bicubic x4, aligned", "mzq x4, aligned", "srcnn x4, aligned"]
    page = (request.folder / "table1.md").read_text()
    assert page.count("| missing |") == 4
    stamps = {path: path.stat().st_mtime_ns for path in request.folder.rglob("*.csv")}

    made.clear()
    monkeypatch.setattr(Maker, "_measure", lambda maker, cell: (made.append(str(cell)), measure(maker, cell)))
    rendered = make_table(request)
    assert made == [
        "attention_fh x4, aligned",
        "bicubic x4, torch7",
        "srcnn x4, torch7",
        "attention_fh x4, torch7",
    ]
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert rendered.missing == ()
    page = (request.folder / "table1.md").read_text()
    assert "Missing" not in page
    assert "2 updates of 2 faces" in page  # a budget is said
    tabular = (request.folder / "table1.tex").read_text()
    assert tabular.startswith("% Table 1: ")
    assert tabular.count(r" \\") == 1 + 8
    assert r"x4 & torch7 & Attention-FH & " in tabular
    records = {(r.method, r.protocol): r for r in load_records(request.new_records)}
    assert len(records) == 8
    line = next(line for line in page.splitlines() if line.startswith("| x4 | torch7 | SRCNN "))
    assert f"| {records['srcnn', 'torch7'].psnr:.2f} |" in line

    made.clear()
    again = make_table(replace(request, train=False, data=None))
    assert (made, again.table) == ([], rendered.table)


def test_a_run_that_starts_from_another_waits_for_it(tiny: dict[str, Any]) -> None:
    chain = {
        "srcnn-synthetic-x4-torch7": tiny["runs"] / "srcnn-synthetic-x4",
        # As the committed configurations say it, wherever the runs of this table lie
        "srcnn-synthetic-x4": Path("runs/cpu/srcnn-synthetic-x8"),
        "synthetic-x4": Path("runs/synthetic-x8/agent.zip"),
    }
    for name, start in chain.items():
        (tiny["overrides"] / f"{name}.yaml").write_text(yaml.safe_dump({"start_from": str(start)}))
    rows = ("srcnn", "attention_fh")
    make_table(Request("table1", **tiny, scales=(4,), protocols=("torch7",), rows=rows[:1]))
    make_table(Request("table1", **tiny, scales=(4,), protocols=("aligned",), rows=rows[1:]))
    trained = {path.parent.name for path in tiny["runs"].rglob("budget.json")}
    assert trained == {*chain, "srcnn-synthetic-x8", "synthetic-x8"}
    # Only what was asked for is measured
    budgets = {
        (r.method, r.scale, r.protocol): r.budget for r in load_records(tiny["output"] / "records.json")
    }
    assert set(budgets) == {("srcnn", 4, "torch7"), ("attention_fh", 4, "aligned")}
    assert budgets["srcnn", 4, "torch7"].endswith(" after srcnn-synthetic-x4")
    assert budgets["attention_fh", 4, "aligned"].endswith(" after synthetic-x8")


def test_runs_that_start_from_one_another_are_refused(tiny: dict[str, Any]) -> None:
    for scale, other in ((4, 8), (8, 4)):
        start = tiny["runs"] / f"srcnn-synthetic-x{other}"
        path = tiny["overrides"] / f"srcnn-synthetic-x{scale}.yaml"
        path.write_text(yaml.safe_dump({"start_from": str(start)}))
    with pytest.raises(ValueError, match="srcnn x4, aligned after srcnn x8, aligned after srcnn x4, aligned"):
        make_table(Request("table1", **tiny, scales=(4,), protocols=("aligned",), rows=("srcnn",)))
    assert not tiny["runs"].exists()


def test_seeds_share_a_line_and_say_how_many_there_are(tiny: dict[str, Any]) -> None:
    request = Request("table3", **tiny, scales=(4,), protocols=("aligned",), rows=("random_patch",))
    make_table(replace(request, data={"size": 2, "image_size": 32}))
    rendered = make_table(replace(request, train=False))
    assert [line[2] for line in rendered.table.rows] == ["Random patch (3 seeds)"]
    assert " ± " in rendered.table.rows[0][3]
    records = load_records(request.new_records)
    assert [(r.method, r.seed, r.preset) for r in records] == [
        ("random_patch", seed, "random_patch-synthetic-x4") for seed in (0, 1, 2)
    ]
    save_records(request.new_records, records[:2])
    rendered = make_table(replace(request, train=False))
    assert rendered.table.rows[0][9].startswith("2 of 3 seeds: ")
    assert [cell.seed for cell in rendered.missing] == [2]


def test_committed_records_make_a_table_without_data(tmp_path: Path) -> None:
    write(tmp_path / "one.json", a_record(), a_record(method="bicubic", psnr=21.9, preset="default"))
    policy = {"method": "attention_fh", "mode": "argmax", "preset": "lfw-x8-torch7", "psnr": 24.6}
    write(tmp_path / "two.json", a_record(**policy))
    request = Request(
        "table1",
        records=(str(tmp_path),),
        scales=(8,),
        protocols=("torch7",),
        train=False,
        output=tmp_path / "out",
    )
    rendered = make_table(request)
    lines = {line[2]: line for line in rendered.table.rows}
    assert lines["SRCNN"][6:8] == ["+1.10 [+1.10, +1.10]", "-1.60 [-1.60, -1.60]"]
    assert lines["SRCNN"][-3:] == ["20,000 updates", "23.92", "-0.92"]
    assert lines["Attention-FH"][-2:] == ["26.17 / 0.7604 / 0.8630", "-1.57"]
    assert lines["VDSR"][3:] == ["-"] * 6 + ["missing", "24.12", "-"]
    assert [cell.row.method for cell in rendered.missing][:2] == ["sfh", "bccnn"]
    command = (
        "`python evaluate.py table1 --dataset lfw --root data/lfw --rows vdsr --scales 8 --protocols torch7 "
        f"--records {tmp_path} --output {tmp_path / 'out'}`"
    )
    assert f"- VDSR: {command}" in rendered.markdown()
    # A pattern, too, and without the images no interval
    for path in tmp_path.glob("*/*.csv"):
        path.unlink()
    found = collect([str(tmp_path / "*.json")])
    assert [line[6] for line in render(request, found).table.rows if line[2] == "SRCNN"] == ["+1.10"]


def test_a_row_of_fewer_faces_is_compared_on_these(tmp_path: Path) -> None:
    bicubic = a_record(method="bicubic", preset="default", psnr=22.0)
    write(tmp_path / "all.json", bicubic)
    save_records(tmp_path / "few.json", [few := a_record(n=2)])
    columns = {name: [23.0, 23.1] for name in ("psnr", "psnr_y", "ssim", "fsim")}
    save_images(images_path(tmp_path / "few.json", few), {"index": [0, 1], "id": ["a", "b"], **columns})
    request = Request(
        "table1", rows=("srcnn",), scales=(8,), protocols=("torch7",), train=False, output=tmp_path
    )
    [line] = render(request, collect([tmp_path / "all.json", tmp_path / "few.json"])).table.rows
    assert line[6] == "+1.10 [+1.10, +1.10]"  # 21.9 and 22.0 of bicubic's 21.9, 22.0 and 22.1


def test_which_of_several_records_stands_in_the_table(tmp_path: Path) -> None:
    cell = Cell(TABLES["table1"].row("srcnn"), "lfw", 8, "torch7")
    own, few = a_record(psnr=22.0), a_record(preset="other", psnr=25.0)
    write(tmp_path / "a.json", own, few)
    write(tmp_path / "b.json", replace(few, n=2), a_record(scale=4), a_record(protocol="aligned"))
    found = collect([tmp_path])

    def chosen(n: int | None = None, preset: str | None = None) -> Record | None:
        best = choose(cell, found, "test", n, preset)
        return None if best is None else best.record

    assert chosen(preset="srcnn-lfw-x8-torch7") == own
    assert chosen(n=2) == replace(few, n=2)
    assert chosen(n=5) is None
    morning, evening = (replace(own, date=f"2026-01-01T{hour}:00:00") for hour in ("09", "18"))
    write(tmp_path / "d.json", evening)
    write(tmp_path / "e.json", morning)
    found = collect([tmp_path])
    assert chosen(preset="srcnn-lfw-x8-torch7") == evening
    save_records(tmp_path / "c.json", [a_record(dataset="lfw-funneled")])
    with pytest.raises(ValueError, match="measured on lfw-deepfunneled and on lfw-funneled"):
        choose(cell, collect([tmp_path]), "test")


def test_agents_that_borrow_a_policys_enhancer_are_no_ablation(tmp_path: Path) -> None:
    patch = TABLES["table3"].row("random_patch")
    cell = Cell(patch, "lfw", 8, "torch7")
    borrowed = a_record(method="random_patch", preset="lfw-x8")
    save_records(
        tmp_path / "a.json", [borrowed, a_record(method="attention_fh", mode="argmax", preset="lfw-x8")]
    )
    assert choose(cell, collect([tmp_path]), "test") is None
    own = a_record(method="random_patch", preset="random_patch-lfw-x8-torch7", budget=PRETRAINED)
    save_records(tmp_path / "b.json", [own])
    assert choose(cell, collect([tmp_path]), "test").record == own  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("method", "budget"),
    [
        # The policy's own record is not there, as where measuring was cut off before it
        ("random_patch", PRETRAINED.replace("0 of REINFORCE", "768 of REINFORCE")),
        ("random_patch", PRETRAINED.replace("0 episodes", "20 episodes")),
        ("raster_scan", PRETRAINED),
        ("greedy_oracle", PRETRAINED),
    ],
)
def test_agents_whose_enhancer_learned_from_others_are_no_ablation(
    tmp_path: Path, method: str, budget: str
) -> None:
    cell = Cell(TABLES["table3"].row(method), "lfw", 8, "torch7")
    save_records(tmp_path / "a.json", [a_record(method=method, preset="lfw-x8", budget=budget)])
    assert choose(cell, collect([tmp_path]), "test") is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": ("srcn",)}, "no row 'srcn' in this table; its rows are bicubic, sfh"),
        ({"scales": (2,)}, "scales is 2, but the tables have 4 and 8"),
        ({"protocols": ()}, "protocols is empty"),
        ({"table": "table2", "dataset": "bioid"}, "dataset is 'bioid', but table2 can be made of lfw, synth"),
        ({"dataset": "celeba"}, "dataset is 'celeba'"),
        ({"quick": True, "root": "data/lfw"}, "quick draws its own faces"),
        ({"limit": 0}, "limit is 0"),
    ],
)
def test_unfit_requests_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Request(**({"table": "table1"} | options))


def test_what_is_not_there_is_said_before_anything_is_trained(tmp_path: Path, tiny: dict[str, Any]) -> None:
    nowhere = tiny | {"dataset": "lfw", "root": str(tmp_path / "nowhere"), "data": {}}
    with pytest.raises(FileNotFoundError, match="nowhere"):
        make_table(Request("table1", **nowhere))
    with pytest.raises(FileNotFoundError, match="no records at"):
        make_table(Request("table1", **tiny, records=(str(tmp_path / "none"),)))
    with pytest.raises(FileNotFoundError, match="overrides"):
        Request("table1", overrides=tmp_path / "none")
    # The last row's folder holds another run: the first row is not begun
    other = tmp_path / "runs" / "srcnn-synthetic-x4"
    other.mkdir(parents=True)
    for name in ("method.safetensors", "budget.json"):
        (other / name).touch()
    (other / "config.yaml").write_text(yaml.safe_dump({"method": "vdsr", "run": {"seed": 0}}))
    request = Request("table1", **tiny, scales=(4,), protocols=("aligned",), rows=("mzq", "srcnn"))
    with pytest.raises(ValueError, match="its method is 'vdsr'"):
        make_table(request)
    assert not (tmp_path / "made").exists()
    assert list((tmp_path / "runs").iterdir()) == [other]


def finish(folder: Path, config: dict[str, Any], result: str, content: bytes) -> None:
    """What looks like a finished run."""
    folder.mkdir(parents=True)
    (folder / "budget.json").touch()
    (folder / result).write_bytes(content)
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"run": {"seed": 0}}))


@pytest.mark.parametrize("row", ["srcnn", "attention_fh"])
def test_broken_weights_are_refused_before_anything_is_trained(row: str, tiny: dict[str, Any]) -> None:
    synthetic = {"method": "srcnn", "scale": 4, "protocol": "aligned", "data": {"name": "synthetic"}}
    agent = {"name": row, "env": {"id": "FaceHallucination-Synthetic-x4", "protocol": "aligned"}}
    name, result, config = {
        "srcnn": ("srcnn-synthetic-x4", "method.safetensors", synthetic),
        "attention_fh": ("synthetic-x4", "agent.zip", agent),
    }[row]
    finish(tiny["runs"] / name, config, result, b"no")
    some: dict[str, Any] = {"scales": (4,), "protocols": ("aligned",)}
    with pytest.raises(ValueError, match=f"{name}/{result}.* cut off"):
        make_table(Request("table1", **tiny, **some, rows=("mzq", row)))
    with pytest.raises(ValueError, match=f"{name}/{result}.* cut off"):
        draw_figure(FigureRequest("figure3", **tiny, **some, rows=("mzq", row), faces_shown=1))
    assert [path.name for path in tiny["runs"].iterdir()] == [name]
    assert not tiny["output"].exists()


def test_weights_of_another_method_are_refused(tiny: dict[str, Any]) -> None:
    folder = tiny["runs"] / "srcnn-synthetic-x4"
    finish(
        folder,
        {"method": "srcnn", "scale": 4, "protocol": "aligned", "data": {"name": "synthetic"}},
        "x",
        b"",
    )
    make_hallucinator("bicubic", Degradation(height=32, width=32, scale=4)).save(
        folder / "method.safetensors"
    )
    with pytest.raises(ValueError, match=r"is to hold srcnn, but it holds bicubic"):
        make_table(Request("table1", **tiny, scales=(4,), protocols=("aligned",), rows=("srcnn",)))


@pytest.mark.parametrize(
    ("row", "file", "values"),
    [
        ("srcnn", "srcnn", {"start_from": "nowhere/method.safetensors"}),
        ("attention_fh", "agent", {"start_from": "nowhere/agent.zip"}),
        ("attention_fh", "agent", {"enhancer": {"weights": "nowhere/enhancer.safetensors"}}),
        ("attention_fh", "agent", {"enhancer": {"prior": "nowhere"}}),
    ],
)
def test_a_start_that_is_not_there_is_said_first(
    row: str, file: str, values: dict[str, Any], tiny: dict[str, Any]
) -> None:
    (tiny["overrides"] / f"{file}.yaml").write_text(yaml.safe_dump(TINY[file] | values))
    request = Request("table1", **tiny, scales=(4,), protocols=("aligned",), rows=("mzq", row))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        make_table(request)
    assert not tiny["runs"].exists()


def test_no_method_is_measured_on_faces_that_it_learned_from(tiny: dict[str, Any]) -> None:
    trainval = TINY["mzq"] | {"data": {"split": "trainval"}}
    cell = Cell(TABLES["table1"].row("mzq"), "lfw", 4, "aligned")
    assert "mzq-lfw-x4.yaml" in " ".join(Request("table1", runs=tiny["runs"]).maker.recipe.words(cell))
    with pytest.raises(ValueError, match="mzq x4, aligned learns from all training faces"):
        Request("table1", runs=tiny["runs"], split="val").maker.check(cell)
    Request("table1", runs=tiny["runs"]).maker.check(cell)
    finish(cell.folder(tiny["runs"]), trainval | {"method": "mzq", "scale": 4}, "method.safetensors", b"")
    config = yaml.safe_load((cell.folder(tiny["runs"]) / "config.yaml").read_text())
    config["data"]["name"] = "lfw"
    (cell.folder(tiny["runs"]) / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match="mzq x4, aligned learns from all training faces"):
        Request("table1", runs=tiny["runs"], split="val").maker.check(cell)


def test_fewer_faces_are_measured_beside_all_of_them(tiny: dict[str, Any]) -> None:
    request = Request("table1", **tiny, scales=(4,), protocols=("aligned",), rows=("bicubic",))
    make_table(request)
    before = request.new_records.read_bytes()
    few = replace(request, limit=2)
    assert make_table(few).table.rows[0][8] == "2"
    assert [record.n for record in load_records(few.new_records)] == [2]
    assert request.new_records.read_bytes() == before
    assert make_table(replace(request, train=False)).table.rows[0][8] == "4"


def test_what_is_missing_is_made_by_the_command_that_is_said(
    tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request("table1", **tiny, scales=(4,), protocols=("torch7",), rows=("bicubic",), limit=3)
    page = make_table(replace(request, train=False)).markdown()
    command = next(line for line in page.splitlines() if line.startswith("- Bicubic: `")).split("`")[1]
    monkeypatch.setattr("sys.argv", shlex.split(command)[1:])
    assert evaluate.main() == 0
    assert make_table(replace(request, train=False)).missing == ()


def test_the_main_agents_are_configured_as_their_records_were(tmp_path: Path) -> None:
    row, other = TABLES["table1"].row("attention_fh"), TABLES["table3"].row("initial_input")
    recipe = Request("table1", runs=tmp_path).maker.recipe
    for scale, protocol, name in (
        (8, "aligned", "lfw-x8"),
        (8, "torch7", "lfw-x8-torch7"),
        (4, "aligned", "lfw-x4-aligned"),
        (4, "torch7", "lfw-x4-torch7"),
    ):
        words = recipe.words(Cell(row, "lfw", scale, protocol))  # type: ignore[arg-type]
        assert Path(words[1]).stem == name
        assert Path(recipe.words(Cell(other, "lfw", scale, protocol))[1]).stem == "lfw-x8"  # type: ignore[arg-type]
    # What all agents share is overridden: then none has a configuration of its own
    cheap = Request("table1", runs=tmp_path, overrides=ROOT / "configs" / "cpu").maker.recipe
    words = cheap.words(Cell(row, "lfw", 8, "aligned"))
    assert [Path(word).stem for word in words[1:4:2]] == ["lfw-x8", "agent"]
    # Those of one scale and protocol begin with an enhancer of their own, which their ablations may leave
    words = cheap.words(Cell(TABLES["table3"].row("whole_image"), "lfw", 4, "torch7"))
    given = [Path(after).stem for word, after in itertools.pairwise(words) if word == "--config"]
    assert given == ["lfw-x8", "agent", "agent-lfw-x4-torch7", "whole_image", "whole_image"]


def test_the_command_line_makes_a_table(
    tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "table1",
        "--dataset",
        "synthetic",
        "--data",
        json.dumps(tiny["data"]),
        "--progress-bar",
        "false",
    ]
    words += [
        "--overrides",
        str(tiny["overrides"]),
        "--runs",
        str(tiny["runs"]),
        "--output",
        str(tiny["output"]),
    ]
    words += ["--scales", "4", "8", "--protocols", "aligned", "--rows", "bicubic"]
    monkeypatch.setattr("sys.argv", ["evaluate.py", *words])
    assert evaluate.main() == 0
    printed = capsys.readouterr().out
    assert [line.split(" | ")[:3] for line in printed.splitlines() if line.startswith("| x")] == [
        ["| x4", "aligned", "Bicubic"],
        ["| x8", "aligned", "Bicubic"],
    ]
    monkeypatch.setattr("sys.argv", ["evaluate.py", "table2", "--quick", "--dataset", "lfw"])
    assert evaluate.main() == 2
    assert "quick draws its own faces" in capsys.readouterr().err


TIMES: dict[str, Any] = {"ms_a_face": 20.5, "ms_quartiles": [20.0, 22.0], "calls": 50}
TIME: dict[str, Any] = {
    "method": "srcnn",
    "scale": 8,
    "preset": "full",
    "calls": 50,
    "batch": 64,
    "device": "a machine",
    "parameters": 20_099,
    "giga_multiply_adds": 0.3293,
    "float32": TIMES | {"faces_a_second_in_batches": 60.0},
    "bfloat16": TIMES | {"faces_a_second_in_batches": 100.0},
    "commit": "0123456789abcdef",
}


def test_times_stand_beside_the_papers() -> None:
    page, tabular = latency_page(
        [TIME, TIME | {"device": "another", "method": "vdsr"}], [("srcnn", 8), ("vdsr", 8)]
    )
    own, other = "a machine", "another"
    assert f"On {own}, batches of 64" in page
    assert other not in page
    assert (
        "| x8 | SRCNN | 0.020 | 0.329 | 20.5 [20.0, 22.0] | 60.0 | 20.5 [20.0, 22.0] | 100.0 | 20 | +0.5 |"
        in page
    )
    assert "of 50 calls after warm-up" in page
    assert "`python evaluate.py table4 --scales 8 --rows vdsr`" in page
    # Rows of other settings are not of this table
    few = TIME | {"method": "vdsr", "preset": "tiny", "batch": 2, "float32": TIME["float32"] | {"calls": 23}}
    assert latency_page([TIME, TIME, few], [("srcnn", 8), ("vdsr", 8)])[0] == page
    page, _ = latency_page([TIME, few], [("srcnn", 8), ("vdsr", 8)], {"preset": "tiny"})
    assert "of 23 (slow methods) to 50 calls" in page
    assert "`python evaluate.py table4 --scales 8 --rows srcnn --preset tiny --batch 2`" in page
    _, tabular = latency_page([TIME], [("srcnn", 8), ("vdsr", 8)])
    assert r"x8 & VDSR & missing & - & - & - & - & - & 100 & - \\" in tabular


def test_a_table_of_times_goes_on_where_it_was(tmp_path: Path) -> None:
    wanted: dict[str, Any] = {
        "output": tmp_path,
        "device": "cpu",
        "progress_bar": False,
        "rows": ("bicubic",),
    }
    wanted |= {"calls": 3, "batch": 1, "batches": 1, "most_seconds": 0.0}
    make_latency_table(LatencyRequest(**wanted))
    (first,) = read_latencies([tmp_path / "latency"])
    assert first["parameters"] == 0
    assert first["float32"]["calls"] == 3
    page = make_latency_table(LatencyRequest(**wanted, scales=(4, 8)))
    times = read_latencies([tmp_path / "latency"])
    assert [r["scale"] for r in times] == [8, 4]
    assert times[0] == first
    assert "Missing" not in page
    assert (tmp_path / "table4.md").read_text() == page
    with pytest.raises(ValueError, match="no row 'vdrs'"):
        LatencyRequest(rows=("vdrs",))
    with pytest.raises(ValueError, match="calls is 2"):
        LatencyRequest(calls=2)
    (tmp_path / "latency" / "other.json").write_text('[{"method": "srcnn"}]')
    other = tmp_path / "latency" / "other.json"
    (tmp_path / "latency" / "benchmark.json").write_text('{"precision": "float32"}')
    assert read_latencies([tmp_path / "latency"]) == times  # folders hold other records too
    with pytest.raises(ValueError, match="holds no times of methods"):
        read_latencies([other])
    other.write_text('[{"method": "srcnn", "float32": {}}]')
    with pytest.raises(ValueError, match="holds no times of methods"):
        read_latencies([tmp_path / "latency"])
    with pytest.raises(FileNotFoundError, match="there are no times at"):
        read_latencies([tmp_path / "nowhere"])


def width(path: Path) -> int:
    with Image.open(path) as picture:
        return picture.width


def test_figures_show_the_runs_that_are_there(tiny: dict[str, Any]) -> None:
    some: dict[str, Any] = {"scales": (4,), "protocols": ("aligned",), "faces_shown": 2}
    rows = ("bicubic", "mzq", "srcnn", "attention_fh")
    pictures, missing = draw_figure(FigureRequest("figure3", **tiny, **some, rows=rows[:2]))
    assert [path.name for path in pictures] == ["figure3-synthetic-x4-aligned.png"]
    two = width(pictures[0])
    assert missing == []
    pictures, missing = draw_figure(FigureRequest("figure3", **tiny, **some, rows=rows, train=False))
    assert [cell.row.method for cell in missing] == ["srcnn", "attention_fh"]
    assert width(pictures[0]) == two
    pictures, missing = draw_figure(FigureRequest("figure5", **tiny, **some))
    assert [path.name[-10:] for path in pictures] == ["face-0.png", "face-2.png"]
    with pytest.raises(ValueError, match="device is 'meta'"):  # the device is that of the request
        draw_figure(FigureRequest("figure5", **(tiny | {"device": "meta"}), **some, train=False))
    pictures, missing = draw_figure(FigureRequest("figure3", **tiny, **some, rows=rows, train=False))
    assert [cell.row.method for cell in missing] == ["srcnn"]
    assert width(pictures[0]) > two
    with pytest.raises(ValueError, match="faces_shown is 0"):
        FigureRequest("figure3", faces_shown=0)
    with pytest.raises(ValueError, match="limit is set, but a figure is drawn from runs"):
        FigureRequest("figure3", limit=3)
    with pytest.raises(ValueError, match="records is set"):
        FigureRequest("figure5", records=("results",))


def test_pages_are_rendered_from_records_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "results" / "some.json", a_record())
    (tmp_path / "results" / "times").mkdir()
    (tmp_path / "results" / "times" / "x.json").write_text(json.dumps([TIME]))
    page = tmp_path / "page.md"
    marks = [
        "table1 records=results rows=srcnn scales=8 protocols=torch7",
        "table1 records=results dataset=bioid rows=mzq",
        "table4 records=results/times rows=srcnn",
    ]
    page.write_text("\n".join(f"<!-- reproduction: {m} -->\n<!-- /reproduction -->\n" for m in marks))
    words = [str(page), "--root", str(tmp_path)]
    assert render_pages([*words, "--check"]) == 1
    assert render_pages(words) == 0
    assert render_pages([*words, "--check"]) == 0
    text = page.read_text()
    assert (
        "| x8 | torch7 | SRCNN | 23.00 | 0.7000 | 0.8000 | - | - | 3 | 20,000 updates | 23.92 | -0.92 |"
        in text
    )
    assert "On bioid nothing was measured yet." in text
    assert "- MZQ: `python evaluate.py table1 --dataset bioid --root data/bioid --rows mzq" in text
    assert "| x8 | SRCNN | 0.020 |" in text
    page.write_text("<!-- reproduction: table1 row=srcnn -->\n<!-- /reproduction -->\n")
    assert render_pages(words) == 2
    assert "'row=srcnn' is none of records=..., scales=..." in capsys.readouterr().err


def test_a_page_says_how_its_missing_rows_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "one.json", a_record())
    (tmp_path / "cheap").mkdir()
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    mark = "table1 records=one.json rows=srcnn,mzq scales=8 protocols=torch7 overrides=cheap runs=runs/cheap"
    page.write_text(f"<!-- reproduction: {mark} -->\n<!-- /reproduction -->\n")
    assert render_pages([str(page)]) == 0
    assert (
        "--rows mzq --scales 8 --protocols torch7 --records one.json --runs runs/cheap --overrides cheap`"
        in (page.read_text())
    )


def test_our_own_pages_are_what_the_records_render_to() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    marked = [page for page in pages if "<!-- reproduction: " in page.read_text()]
    assert ROOT / "docs" / "reproduction.md" in marked
    stale = [str(page.relative_to(ROOT)) for page in marked if not render_page(page, ROOT, check=True)]
    assert not stale, f"run: python -m agents.reproduction {' '.join(stale)}"


@pytest.mark.slow
@pytest.mark.parametrize("table", ["table1", "table2", "table3"])
def test_quick_makes_every_row(table: str, tmp_path: Path) -> None:
    request = Request(table, quick=True, output=tmp_path, runs=tmp_path, progress_bar=False)
    rendered = make_table(request)
    assert rendered.missing == ()
    assert len(rendered.table.rows) == 4 * len(TABLES[table].rows)
    assert (tmp_path / f"{table}.tex").read_text().count(r" \\") == len(rendered.table.rows) + 1


@pytest.mark.slow
def test_quick_times_every_row_and_draws_every_figure(tmp_path: Path) -> None:
    page = make_latency_table(LatencyRequest(quick=True, output=tmp_path, progress_bar=False))
    assert "missing" not in page
    made: dict[str, Any] = {"quick": True, "output": tmp_path, "runs": tmp_path, "progress_bar": False}
    for figure, count in (("figure3", 4), ("figure5", 8)):
        pictures, missing = draw_figure(FigureRequest(figure, **made, faces_shown=2))
        assert (len(pictures), missing) == (count, [])


@pytest.mark.parametrize(
    ("words", "written"),
    [
        (["measure", "--records", "a.json"], ["measure", "--records=a.json"]),
        (["bicubic", "--scales", "8", "--records=a.json"], ["bicubic", "--scales=[8]", "--records=a.json"]),
        (["table1", "--records", "results", "b.json"], ["table1", '--records=["results", "b.json"]']),
        (["figure3", "--quick", "--batch-size", "4"], ["figure3", "--quick=true", "--batch_size=4"]),
    ],
)
def test_lists_are_lists_where_a_command_takes_several(words: list[str], written: list[str]) -> None:
    assert evaluate._written_out(words) == written
