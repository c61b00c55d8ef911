"""What is refused of run folders, and what they may be named for."""

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch

import evaluate
import train_agent
from agents.baselines.__main__ import main as train_baseline
from agents.configuration import experiment_of
from agents.measurement import Measurement
from agents.reinforce import RecurrentReinforce
from agents.runs import check_same, hold_folder
from facehall_env.enhancer import load_enhancer
from tests.small_run import SMALL, make_run

ROOT = Path(__file__).parent.parent
LEARNING_NOTHING = ("--pretraining.updates", "0", "--total_timesteps", "0", "--run.validation_faces", "0")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def untrained(config: Path, tmp_path: Path) -> Path:
    """The folder of a run that has learned nothing."""
    folder = tmp_path / "untrained"
    make_run(config, folder, *LEARNING_NOTHING).train()
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_folder_in_which_another_process_trains_is_left_alone(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    held = "import sys; from pathlib import Path; from agents.runs import hold_folder\n"
    held += (
        "with hold_folder(Path(sys.argv[1]), 'name: held', ()): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", held, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        before = contents(folder)
        with pytest.raises(ValueError, match=r"another process trains in .*run: wait .*--run\.folder"):
            make_run(config, folder).train()
        assert contents(folder) == before
        other.kill()
    make_run(config, folder, *LEARNING_NOTHING).train()  # the lock went with the process
    assert (folder / "budget.json").is_file()


def test_a_file_system_without_locks_is_trained_on(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    make_run(config, tmp_path / "run", *LEARNING_NOTHING).train()
    assert (tmp_path / "run" / "budget.json").is_file()


def test_measuring_does_not_wait_for_whoever_trains(untrained: Path) -> None:
    with hold_folder(untrained, (untrained / "config.yaml").read_text(), ()):
        Measurement(untrained).measure("aligned", ("bicubic",), progress_bar=False)
    assert (untrained / "records.json").is_file()


def test_where_pictures_lie_and_what_computes_may_change(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("env: {root: data/lfw, device: cuda, horizon: 5, data: {}}\n")
    free = ("total_timesteps", "run", "env.root", "env.device")
    check_same(tmp_path, "env: {root: /data/lfw, device: cpu, horizon: 5, data: {}, news: null}", free)
    with pytest.raises(
        ValueError, match=r"experiment: env\.data\.size is None there and 3 here; env\.horizon is 5 "
    ):
        check_same(tmp_path, "env: {root: data/lfw, device: cuda, horizon: 6, data: {size: 3}}", free)
    many = "env: {" + ", ".join(f"option_{i}: {i}" for i in range(9)) + ", horizon: 5}"
    with pytest.raises(ValueError, match=r"option_3 is None there and 3 here; and 5 more\. Choose"):
        check_same(tmp_path, many, free)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"config\.yaml is empty or no configuration: delete the folder"),
        ("env: [", r"config\.yaml is no YAML .*: delete the folder"),
        ("- 1\n", r"config\.yaml is empty or no configuration"),
        ("colour: red\n", r"config\.yaml is no configuration of this version: .*colour"),
        ("env: 3\n", r"config\.yaml is no configuration of this version"),
    ],
)
def test_a_broken_configuration_is_named(
    untrained: Path, config: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (untrained / "config.yaml").write_text(text)
    for read in (experiment_of, Measurement):
        with pytest.raises(ValueError, match=said):
            read(untrained)
    assert capsys.readouterr().err == ""
    with pytest.raises(ValueError, match=r"config\.yaml is|another experiment"):
        make_run(config, untrained, *LEARNING_NOTHING)
    assert (untrained / "config.yaml").read_text() == text


SHORT = ("--pretraining.updates", "0", "--run.validation_faces", "0", "--agent.imitation_updates", "0")


def test_fewer_steps_than_were_learned_are_refused(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    make_run(config, folder, *SHORT, "--total_timesteps", "15").train()  # an iteration takes 12
    make_run(config, folder, *SHORT, "--total_timesteps", "15").train()
    before = (folder / "config.yaml").read_text()
    fewer = make_run(config, folder, *SHORT, "--total_timesteps", "6")
    with pytest.raises(ValueError, match=r"total_timesteps is 6, but the run in .*run has learned 24 steps"):
        fewer.train()
    with pytest.raises(ValueError, match="total_timesteps is -1"):
        make_run(config, folder, *SHORT, "--total_timesteps", "-1")
    assert (folder / "config.yaml").read_text() == before


def test_an_extension_that_was_cut_off_may_be_shortened(
    config: Path, tmp_path: Path, killed_after: Any
) -> None:
    make_run(config, tmp_path / "run", *SHORT, "--total_timesteps", "12").train()
    with killed_after(1):
        make_run(config, tmp_path / "run", *SHORT, "--total_timesteps", "1200").train()
    make_run(config, tmp_path / "run", *SHORT, "--total_timesteps", "36").train()
    assert json.loads((tmp_path / "run" / "budget.json").read_text())["reinforcement_episodes"] == 12


def test_what_another_process_has_trained_meanwhile_is_not_overwritten(config: Path, tmp_path: Path) -> None:
    waiting = make_run(config, tmp_path / "run", *LEARNING_NOTHING, "--agent.learning_rate", "0.5")
    make_run(config, tmp_path / "run", *LEARNING_NOTHING).train()
    before = contents(tmp_path / "run")
    with pytest.raises(
        ValueError, match=r"another experiment: agent\.learning_rate is 0\.0003 there and 0\.5"
    ):
        waiting.train()
    assert contents(tmp_path / "run") == before


def test_a_file_that_cannot_be_written_is_named(config: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "versions.json").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"run cannot be written \(.*versions\.json.*\): choose another"):
        make_run(config, tmp_path / "run", *LEARNING_NOTHING).train()


def test_a_run_folder_stands_for_what_is_in_it(untrained: Path, config: Path, tmp_path: Path) -> None:
    wanted = load_enhancer(untrained / "enhancer.safetensors").state_dict()
    arguments = {"horizon": 3, "patch_size": [15, 11], "data_options": {"size": 12, "image_size": 32}}
    env = gym.make("FaceHallucination-Synthetic-x4", enhancer=str(untrained), **arguments)
    agent = RecurrentReinforce.load(untrained)
    weights = make_run(config, tmp_path / "b", *LEARNING_NOTHING, "--enhancer.weights", str(untrained))
    going_on = make_run(config, tmp_path / "c", *LEARNING_NOTHING, "--start_from", str(untrained))
    assert weights.budget()["start_from"] == going_on.budget()["start_from"] == "untrained"
    for network in (env.unwrapped.core.enhancer, agent.enhancer, weights.enhancer, going_on.enhancer):
        assert all(torch.equal(value, wanted[name]) for name, value in network.state_dict().items())


def test_a_run_folder_is_found_from_inside_and_gives_way_to_a_file(
    untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = RecurrentReinforce.load(untrained)
    saved.num_timesteps = 777
    saved.save(untrained)  # untrained.zip, beside the folder
    assert RecurrentReinforce.load(untrained).num_timesteps == 777
    monkeypatch.chdir(untrained)
    assert RecurrentReinforce.load(".").num_timesteps == 0


def test_environments_of_ones_own_are_trained_in(config: Path, tmp_path: Path) -> None:
    kwargs = {"dataset": "synthetic", "scale": 4}
    gym.register("Mine-x4", "facehall_env.env:FaceHallucinationEnv", kwargs=kwargs)
    try:
        run = make_run(config, tmp_path / "run", *LEARNING_NOTHING, "--env.id", "Mine-x4")
        assert run.task.core.scale == 4
    finally:
        del gym.registry["Mine-x4"]


def test_a_folder_without_a_finished_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no agent\.zip in .*empty, so no finished run"):
        RecurrentReinforce.load(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"no enhancer file .*empty/enhancer\.safetensors"):
        gym.make("FaceHallucination-Synthetic-x4", enhancer=str(tmp_path / "empty"))


def test_a_broken_budget_is_named_before_anything_is_measured(untrained: Path) -> None:
    for text in ("", "[]", json.dumps({"seconds": {}})):
        (untrained / "budget.json").write_text(text)
        with pytest.raises(ValueError, match=r"budget\.json does not say what the run has cost"):
            Measurement(untrained).measure("aligned", progress_bar=False)
        assert not (untrained / "records.json").exists()


AGENT_WORDS = ["train_agent.py", "--config", "small.yaml"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--env.id", "FaceHalucination-LFW-x8"],
            "env.id is 'FaceHalucination-LFW-x8', but it must be one of Face",
        ),
        (["--env.id", "CartPole-v1"], "env.id is 'CartPole-v1', but it must be one of"),
        (
            ["--env.data", "{sice: 12}"],
            "'synthetic' has no option sice; its options are size, seed",
        ),
        (["--run.folder", "small.yaml/run"], "small.yaml/run cannot be written"),
    ],
)
def test_train_agent_says_what_is_wrong_in_one_line(
    words: list[str],
    said: str,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(config.parent)
    monkeypatch.setattr(sys, "argv", [*AGENT_WORDS, *LEARNING_NOTHING, *words])
    assert train_agent.main() == 2
    error = capsys.readouterr().err
    assert error.startswith("train_agent.py: ")
    assert said in error
    assert len(error.splitlines()) == 1


def test_methods_say_what_is_wrong_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("method: [")
    words = ["--method", "bicubic", "--data.name", "synthetic"]
    for more, said in (
        (["--data.options", "{sice: 3}"], "has no option sice"),
        (["--run.folder", str(tmp_path / "file" / "run")], "cannot be written"),
    ):
        assert train_baseline([*words, *more]) == 2
        assert said in capsys.readouterr().err
    assert train_baseline(["--config", str(tmp_path / "file")]) == 2
    assert "file is no YAML" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        train_baseline(["--help"])
    assert ended.value.code == 0
    assert "--method METHOD --help" in capsys.readouterr().out


@pytest.mark.parametrize(
    "start",
    [
        lambda: run_evaluate("table1", "--quick"),
        lambda: run_evaluate("table4", "--quick"),
        lambda: run_evaluate("figure3", "--quick"),
        lambda: run_evaluate("rollout", "--agent", "raster_scan", "--output", "nowhere"),
        lambda: train_baseline(["--config", "configs/baselines/mzq-lfw-x8.yaml"]),
    ],
    ids=["table1", "table4", "figure3", "rollout", "baselines"],
)
def test_what_runs_in_one_process_is_not_done_by_several(
    start: Callable[[], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert start() == 2
    assert "runs in one process, but WORLD_SIZE says that there are 2" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def run_evaluate(*words: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["evaluate.py", *words])
        return evaluate.main()
