"""Training runs and their measurement, from configuration to records, in a size that takes seconds."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import evaluate
import train_agent
from agents.configuration import RunConfig, make_parser, read_experiment
from agents.divergence import DivergenceError, LossWatch
from agents.evaluation import published_id
from agents.measurement import Measurement
from agents.records import load_images, load_records, make_table
from agents.reinforce import RecurrentReinforce
from agents.training import TrainingRun
from facehall_env.datasets import load_dataset
from facehall_env.enhancer import load_enhancer
from tests.small_run import SMALL, make_run

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def weights(run: TrainingRun) -> dict[str, torch.Tensor]:
    state = run.agent.training_state()
    parts = ("policy", "enhancer", "enhancer_learner")
    return {f"{part}.{name}": value for part in parts for name, value in state[part].items()}


def test_run_leaves_a_folder_that_can_be_run_again(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    make_run(config, folder).train()
    written = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "commands.txt", "versions.json", "progress.csv", "agent.zip"} <= written
    assert {"enhancer.safetensors", "budget.json", "checkpoints"} <= written
    assert any(name.startswith("events.out.tfevents") for name in written)
    budget = json.loads((folder / "budget.json").read_text())
    assert budget["pretraining_patches"] == 24
    assert budget["imitation_episodes"] == 4
    assert budget["reinforcement_episodes"] == 12
    header = (folder / "progress.csv").read_text().splitlines()[0].split(",")
    assert {"pretraining/loss", "imitation/loss", "rollout/psnr_gain", "validation/psnr_gain"} <= set(header)
    again = make_parser().parse_path(folder / "config.yaml")
    assert read_experiment(again).total_timesteps == 36


FASTER = ("--env.channels_last", "true", "--run.prefetch", "true")
AVERAGED = ("--agent.enhancer_ema", "0.5", "--pretraining.ema", "0.5", "--run.select", "last")


@pytest.mark.parametrize(
    ("checkpoints_before_the_end", "more"),
    [(1, ()), (3, ()), (5, ()), (6, ()), (7, ()), (1, AVERAGED), (7, AVERAGED), (2, FASTER)],
)
def test_interrupted_run_goes_on_bit_for_bit(
    config: Path, tmp_path: Path, killed_after: Any, checkpoints_before_the_end: int, more: tuple[str, ...]
) -> None:
    whole = make_run(config, tmp_path / "whole", *more)
    whole.train()

    with killed_after(checkpoints_before_the_end):
        make_run(config, tmp_path / "cut", *more).train()
    resumed = make_run(config, tmp_path / "cut", *more)
    resumed.train()
    expected, found = weights(whole), weights(resumed)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    budgets = [json.loads((tmp_path / name / "budget.json").read_text()) for name in ("whole", "cut")]
    for said in ("selected_timesteps", "validation_psnr_gain"):  # the same state was the best one
        assert budgets[0][said] == budgets[1][said], said


_KILLED = """
import os, signal, sys
from agents import checkpoints, enhancement, reinforce
from tests.test_training import make_run

owner, name, calls = sys.argv[3:]
owner = {"os": os, "pretraining": enhancement.Pretraining, "agent": reinforce.RecurrentReinforce}[owner]
function, left = getattr(owner, name), int(calls)

def kill(*arguments, **more):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return function(*arguments, **more)

setattr(owner, name, kill)
make_run(sys.argv[1], sys.argv[2]).train()
"""


@pytest.mark.parametrize(
    ("owner", "name", "calls"),
    [
        ("os", "fsync", 4),  # a checkpoint is half written
        pytest.param("pretraining", "update", 5, marks=pytest.mark.slow),
        pytest.param("agent", "imitate", 2, marks=pytest.mark.slow),
        pytest.param("agent", "train_enhancer", 2, marks=pytest.mark.slow),
    ],
)
def test_run_killed_by_the_system_goes_on_bit_for_bit(
    config: Path, tmp_path: Path, owner: str, name: str, calls: int
) -> None:
    whole = make_run(config, tmp_path / "whole")
    whole.train()
    command = [sys.executable, "-c", _KILLED, str(config), str(tmp_path / "cut"), owner, name, str(calls)]
    killed = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not (tmp_path / "cut" / "agent.zip").exists()
    resumed = make_run(config, tmp_path / "cut")
    resumed.train()
    found = weights(resumed)
    for name, value in weights(whole).items():
        assert torch.equal(value, found[name]), name
    assert not list((tmp_path / "cut" / "checkpoints").glob(".*")), "what was half written is left"


def test_result_is_the_best_on_the_validation_faces(config: Path, tmp_path: Path) -> None:
    best = make_run(config, tmp_path / "best")
    gains: list[float] = []
    keep = best._keep_best
    assert best.validation is not None
    best.validation.measured = lambda gain: (gains.append(gain), keep(gain))
    best.train()
    assert len(gains) > 2
    budget = json.loads((tmp_path / "best" / "budget.json").read_text())
    assert budget["validation_psnr_gain"] == max(gains)
    best.validation.measured = None
    assert best.validation.measure(best.agent.policy, best.logger) == pytest.approx(max(gains))
    last = make_run(config, tmp_path / "last", "--run.select", "last")
    last.train()
    assert json.loads((tmp_path / "last" / "budget.json").read_text())["selected_timesteps"] == 36


@pytest.mark.parametrize("phase", ["pretraining", "imitation", "reinforcement"])
def test_divergence_names_phase_step_and_the_way_back(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    run = make_run(config, tmp_path / "run")

    def spoil(calls: list[int], weights: Iterable[torch.Tensor]) -> None:
        calls.append(1)
        if len(calls) == 2:
            for weight in weights:
                weight.data.fill_(torch.nan)

    calls: list[int] = []
    if phase == "pretraining":
        assert run.pretraining is not None
        update = run.pretraining.update
        spoilt: Any = lambda: (spoil(calls, run.agent.core.enhancer.parameters()), update())[1]  # noqa: E731
        monkeypatch.setattr(run.pretraining, "update", spoilt)
        message = "pretraining diverged: the loss of update 2 is nan; no checkpoint had been written"
    elif phase == "imitation":
        imitate = run.agent.imitate
        spoilt = lambda: (imitate(), spoil(calls, run.agent.policy.parameters()))[0]  # noqa: E731
        monkeypatch.setattr(run.agent, "imitate", spoilt)
        message = r"imitation diverged: .* round 2, .* the policy's .* is not finite; the last good .*pt"
    else:
        train = run.agent.train
        spoilt = lambda: (train(), spoil(calls, run.agent.policy.parameters()))[0]  # noqa: E731
        monkeypatch.setattr(run.agent, "train", spoilt)
        message = r"reinforcement diverged: .* timestep 24 the policy's .* is not finite; the last good .*pt"
    with pytest.raises(DivergenceError, match=message):
        run.train()
    for path in (tmp_path / "run" / "checkpoints").glob("*.pt"):
        state = torch.load(path, weights_only=True)["agent"]
        assert all(
            weight.isfinite().all() for part in ("policy", "enhancer") for weight in state[part].values()
        )


def test_an_enhancer_that_blows_up_in_finite_steps_is_noticed(config: Path, tmp_path: Path) -> None:
    fast = ("--agent.enhancer_learning_rate", "1")
    with pytest.raises(
        DivergenceError, match=r"reinforcement diverged: at .* contains NaN or infinity.*; the last"
    ):
        make_run(config, tmp_path / "measured", *fast).train()
    unmeasured = (
        "--run.validation_faces",
        "0",
        "--agent.enhancer_updates",
        "3",
        "--agent.enhancer_batch_size",
        "2",
    )
    fast = ("--agent.enhancer_learning_rate", "0.1")
    with pytest.raises(DivergenceError, match=r"reinforcement diverged: the loss of update \d+ is"):
        make_run(config, tmp_path / "run", *fast, *unmeasured).train()


def test_the_result_holds_the_averaged_enhancer_and_what_learns(config: Path, tmp_path: Path) -> None:
    run = make_run(config, tmp_path / "run", *AVERAGED)
    run.train()
    trainer = run.agent.enhancer_trainer
    assert trainer is not None
    saved = load_enhancer(tmp_path / "run" / "enhancer.safetensors").state_dict()
    loaded = RecurrentReinforce.load(tmp_path / "run" / "agent.zip")
    assert loaded.enhancer_trainer is not None
    for name, value in trainer.enhancer.state_dict().items():
        assert torch.equal(saved[name], value)
        assert torch.equal(loaded.enhancer.state_dict()[name], value)
        assert torch.equal(
            loaded.enhancer_trainer.learner.state_dict()[name], trainer.learner.state_dict()[name]
        )
    assert not torch.equal(next(trainer.enhancer.parameters()), next(trainer.learner.parameters()))


def test_finished_run_is_left_as_it_is(config: Path, tmp_path: Path) -> None:
    first = make_run(config, tmp_path / "run")
    first.train()
    second = make_run(config, tmp_path / "run")
    second.train()
    for name, value in weights(first).items():
        assert torch.equal(value, weights(second)[name]), name


def test_longer_run_goes_on(config: Path, tmp_path: Path) -> None:
    make_run(config, tmp_path / "run").train()
    longer = make_run(config, tmp_path / "run", "--total_timesteps", "60")
    longer.train()
    assert json.loads((tmp_path / "run" / "budget.json").read_text())["reinforcement_episodes"] == 20
    assert len((tmp_path / "run" / "progress.csv").read_text().splitlines()) > 3
    assert (tmp_path / "run" / "progress-2.csv").is_file()


def test_other_experiment_in_the_folder_is_refused(config: Path, tmp_path: Path) -> None:
    make_run(config, tmp_path / "run").train()
    before = (tmp_path / "run" / "config.yaml").read_text()
    with pytest.raises(ValueError, match=r"another experiment: agent\.n_faces is 2 there and 3 here"):
        make_run(config, tmp_path / "run", "--agent.n_faces", "3")
    with pytest.raises(ValueError, match=r"another experiment: run\.seed is 0 there and 1 here"):
        make_run(config, tmp_path / "run", "--run.seed", "1")
    assert (tmp_path / "run" / "config.yaml").read_text() == before


def test_run_starts_from_another(config: Path, tmp_path: Path) -> None:
    first = make_run(config, tmp_path / "first")
    first.train()
    start = str(tmp_path / "first" / "agent.zip")
    second = make_run(config, tmp_path / "second", "--start_from", start, "--env.protocol", "torch7")
    for name, value in weights(first).items():
        assert torch.equal(value, weights(second)[name]), name
    assert second.budget()["start_from"] == "first"
    with pytest.raises(ValueError, match=r"the policy of .*agent\.zip's weights do not fit: .* is \("):
        make_run(config, tmp_path / "third", "--start_from", start, "--policy.stride", "8")


def test_network_in_a_weight_file_is_the_one_that_is_configured(config: Path, tmp_path: Path) -> None:
    plain = ["--pretraining.updates", "0", "--total_timesteps", "0"]
    make_run(config, tmp_path / "first", *plain, "--enhancer.edge_kernel", "3").train()
    file = ["--enhancer.weights", str(tmp_path / "first" / "enhancer.safetensors")]
    extra = ["--enhancer.edge_kernel", "3", "--enhancer.extra_inputs", "[coordinates,location,initial_patch]"]
    make_run(config, tmp_path / "same", *plain, *file, *extra)
    with pytest.raises(ValueError, match=r"enhancer\.edge_kernel is 5, but the network in .* has 3: leave"):
        make_run(config, tmp_path / "second", *plain, *file, "--enhancer.edge_kernel", "5")
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folder": Path("runs/lr-0.1")}, r"run\.folder ends in 'lr-0\.1', which records take for a name"),
        ({"log_interval": 0}, r"run\.log_interval is 0, but it must be an integer from 1"),
        ({"validation_interval": 0}, r"run\.validation_interval is 0"),
        ({"keep_checkpoints": 0}, r"run\.keep_checkpoints is 0"),
        ({"validation_faces": -1}, r"run\.validation_faces is -1, but it must be an integer from 0"),
    ],
)
def test_what_would_fail_after_hours_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RunConfig(**changes)


def test_cut_off_checkpoint_is_named(config: Path, tmp_path: Path) -> None:
    make_run(config, tmp_path / "run").train()
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.raises(ValueError, match=f"{newest.name} is damaged or no checkpoint; delete it") as refused:
        make_run(config, tmp_path / "run").train()
    assert "weights_only" not in str(refused.value)  # PyTorch's advice would run what is in the file


def test_a_checkpoint_that_cannot_be_opened_is_not_called_damaged(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("not yours")

    make_run(config, tmp_path / "run").train()
    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(PermissionError, match="not yours"):
        make_run(config, tmp_path / "run").train()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_is_read(path: Path) -> None:
    experiment = read_experiment(make_parser().parse_args(["--config", str(path)]))
    assert experiment.env.id.startswith("FaceHallucination-")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--env.colour", "red"], "env.colour"),
        (["--agent.n_faces", "many"], "agent.n_faces"),
        (["--agent.baseline", "none"], "agent.baseline"),
        (["--policy.stride", "1.5"], "policy.stride"),
        (["--pretraining.betas", "[0.9]"], "pretraining.betas"),
    ],
)
def test_unknown_keys_and_wrong_types_are_named(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args(arguments)
    assert named in capsys.readouterr().err


def test_unknown_key_in_a_file_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(SMALL + "colour: red\n")
    with pytest.raises(SystemExit):
        make_parser().parse_args(["--config", str(config)])
    assert "colour" in capsys.readouterr().err


def test_scripts_train_and_measure(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train_agent.py", "--config", str(config), "--run.folder", "run"])
    assert train_agent.main() == 0
    measure = ["evaluate.py", "measure", "--run", "run", "--limit", "5", "--faces", "2", "--batch_size", "2"]
    monkeypatch.setattr(
        "sys.argv", [*measure, "--protocols", '["aligned","torch7"]', "--progress_bar", "false"]
    )
    assert evaluate.main() == 0
    out = capsys.readouterr().out
    assert "Attention-FH" in out
    assert "faces-test-aligned.png" in out
    records = load_records("run/records.json")
    assert len(records) == 14
    assert {record.protocol for record in records} == {"aligned", "torch7"}
    argmax = next(r for r in records if r.mode == "argmax" and r.protocol == "aligned")
    assert argmax.n == 5
    assert 1.0 <= (argmax.distinct_places or 0) <= 3.0
    table = next(
        path for path in Path("run/records").iterdir() if ".aligned.attention_fh.argmax." in path.name
    )
    values = load_images(table)
    assert values["psnr"].mean() == pytest.approx(argmax.psnr, abs=1e-5)
    names = load_dataset("synthetic", split="test", size=12, image_size=32)
    assert list(values["id"]) == [published_id(names.id(i)) for i in range(5)]
    assert Path("run/faces-test-torch7.png").stat().st_size > 1000


def test_measuring_takes_the_reference_path(config: Path, tmp_path: Path) -> None:
    run = make_run(config, tmp_path / "run", *FASTER, "--pretraining.updates", "0", "--total_timesteps", "0")
    run.train()
    assert run.task.core.channels_last
    env = Measurement(tmp_path / "run").experiment.env
    assert (env.compile, env.channels_last) == (None, False)


def test_measuring_again_only_measures_what_is_missing(config: Path, tmp_path: Path) -> None:
    make_run(config, tmp_path / "run").train()
    run = tmp_path / "run"
    evaluate.measure(run, limit=4, faces=1, methods=("bicubic",), progress_bar=False)
    records = load_records(run / "records.json")
    evaluate.measure(run, limit=4, faces=1, methods=("bicubic", "raster_scan"), progress_bar=False)
    after = {record.method: record for record in load_records(run / "records.json")}
    assert after["bicubic"] == records[0]
    assert after["raster_scan"].n == 4


def test_other_weights_are_measured_again(config: Path, tmp_path: Path) -> None:
    run, shown = tmp_path / "run", {"faces": 0, "methods": ("bicubic", "raster_scan"), "progress_bar": False}
    digests = []
    for rate in ("1e-4", "1e-2"):
        make_run(config, run, "--pretraining.learning_rate", rate).train()
        before = json.loads((run / "budget.json").read_text())
        (run / "budget.json").write_text(json.dumps(before | {"seconds": {}}))  # the words hold minutes
        evaluate.measure(run, records=tmp_path / "r.json", limit=2, **shown)
        record = load_records(tmp_path / "r.json")[1]
        digests.append((record.weights, record.psnr))
        shutil.rmtree(run)
    (first, one), (second, other) = digests
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert first != second
    assert one != other
    assert load_records(tmp_path / "r.json")[0].weights is None  # bicubic


def test_fewer_faces_do_not_replace_more(config: Path, tmp_path: Path) -> None:
    run, path = tmp_path / "run", tmp_path / "r.json"
    make_run(config, run, "--pretraining.updates", "0", "--total_timesteps", "0").train()
    shown = {"records": path, "methods": ("bicubic", "raster_scan"), "progress_bar": False}
    evaluate.measure(run, limit=3, faces=0, **shown)
    assert not list(run.glob("*.png"))
    before = {file: file.read_bytes() for file in tmp_path.glob("r/*.csv")} | {path: path.read_bytes()}
    assert len(before) == 3
    for again in (False, True):
        with pytest.raises(ValueError, match=r"r\.json has a record of bicubic on 3 images, which one on 2"):
            evaluate.measure(run, limit=2, again=again, **shown)
    with pytest.raises(ValueError, match=r"r\.json has a record of bicubic on 3 images"):
        evaluate.bicubic("synthetic", path, scales=(4,), limit=2, progress_bar=False)
    assert {file: file.read_bytes() for file in before} == before
    for name, value in (("limit", 0), ("limit", -5), ("faces", -1)):
        with pytest.raises(ValueError, match=f"{name} is {value}, but it must be an integer from"):
            evaluate.measure(run, **(shown | {name: value}))


def test_the_grid_shows_the_same_faces_in_all_columns(config: Path, tmp_path: Path) -> None:
    run, shown = tmp_path / "run", {"methods": ("bicubic", "raster_scan"), "progress_bar": False}
    make_run(config, run, "--pretraining.updates", "0", "--total_timesteps", "0").train()
    evaluate.measure(run, faces=2, **shown)
    (grid,) = run.glob("faces-*.png")
    before = grid.read_bytes()
    evaluate.measure(run, faces=2, limit=2, records=tmp_path / "first.json", **shown)
    assert grid.read_bytes() != before
    evaluate.measure(run, faces=2, **shown)
    assert grid.read_bytes() == before


@pytest.mark.parametrize(
    ("records", "message"),
    [("mine", "mine cannot hold records: its name must end in .json"), ("file/r.json", "cannot be written")],
)
def test_records_that_could_not_be_written_are_refused_before_anything_is_measured(
    tmp_path: Path, records: str, message: str
) -> None:
    (tmp_path / "file").write_text("a file")
    command = [sys.executable, "evaluate.py", "bicubic", "--dataset", "synthetic", "--records"]
    done = subprocess.run(
        [*command, str(tmp_path / records)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_seed_is_recorded_where_something_is_drawn(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    make_run(config, run).train()
    methods = ("bicubic", "random_patch", "raster_scan", "attention_fh", "attention_fh_sampled")
    for seed in (None, 7):
        evaluate.measure(run, limit=2, faces=0, methods=methods, seed=seed, progress_bar=False)
    seeds: dict[tuple[str, str | None], list[int]] = {}
    for record in load_records(run / "records.json"):
        seeds.setdefault((record.method, record.mode), []).append(record.seed)
    assert seeds == {
        ("bicubic", None): [0],
        ("random_patch", None): [0, 7],
        ("raster_scan", None): [0],
        ("attention_fh", "argmax"): [0],
        ("attention_fh", "sampled"): [0, 7],
    }


def test_self_ensemble_is_recorded_apart(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    make_run(config, run).train()
    for mirrored in (False, True):
        evaluate.measure(
            run,
            limit=4,
            faces=1,
            methods=("bicubic", "raster_scan", "attention_fh"),
            self_ensemble=mirrored,
            progress_bar=False,
        )
    records = {(record.method, record.mode): record for record in load_records(run / "records.json")}
    assert set(records) == {
        ("bicubic", None),
        ("raster_scan", None),
        ("raster_scan", "mirror"),
        ("attention_fh", "argmax"),
        ("attention_fh", "argmax+mirror"),
    }
    assert records["attention_fh", "argmax"].psnr != records["attention_fh", "argmax+mirror"].psnr
    assert "(argmax+mirror" in make_table(list(records.values())).markdown()


def test_bicubic_needs_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bicubic.json"
    evaluate.bicubic("synthetic", path, limit=3, progress_bar=False)
    records = load_records(path)
    assert [(record.scale, record.protocol) for record in records] == [
        (4, "aligned"),
        (4, "torch7"),
        (8, "aligned"),
        (8, "torch7"),
    ]
    by_key = {(record.scale, record.protocol): record.psnr for record in records}
    assert by_key[4, "aligned"] > by_key[4, "torch7"] > by_key[8, "torch7"]
    assert "Bicubic" in capsys.readouterr().out


def test_folder_without_a_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["evaluate.py", "measure", "--run", str(tmp_path)])
    assert evaluate.main() == 2
    assert "holds no config.yaml" in capsys.readouterr().err


def test_missing_data_are_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACEHALL_DATA", str(tmp_path / "cache"))
    config = tmp_path / "lfw.yaml"
    config.write_text(
        yaml.safe_dump({"env": {"id": "FaceHallucination-LFW-x8", "root": str(tmp_path / "no")}})
    )
    monkeypatch.setattr(
        "sys.argv", ["train_agent.py", "--config", str(config), "--run.folder", str(tmp_path / "run")]
    )
    assert train_agent.main() == 2
    assert str(tmp_path / "no") in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_losses_are_watched_without_waiting_for_each() -> None:
    watch = LossWatch("pretraining", limit=4.0)
    for step, loss in enumerate([0.5, 3.9], start=7):
        watch.add(step, torch.tensor(loss))
    watch.verify(None)
    for step, loss in enumerate([0.5, 4.1, torch.nan], start=9):
        watch.add(step, torch.tensor(loss))
    with pytest.raises(
        DivergenceError, match=r"the loss of update 10 is 4.1; the last good checkpoint is x\.pt"
    ):
        watch.verify(Path("x.pt"))
    watch.verify(None)  # what was reported is done with
