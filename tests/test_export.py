"""From a training run to a folder of weights, and back to an agent."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open

import evaluate
from agents import export as exporting
from agents.export import TOLERANCE, compare, export_run, main
from agents.faces import face_batch
from agents.records import load_records, save_records
from agents.reinforce import RecurrentReinforce
from agents.rollout import walk
from agents.scripted import RasterScan
from agents.visualisation.rollout import Rollout
from agents.weights_measurement import measure_weights
from facehall_env import PretrainedWeights, available_weights, load_enhancer, push_to_hub
from facehall_env.datasets import load_dataset
from tests.hub import serve_hub
from tests.test_training import SMALL, make_run

ID = "FaceHallucination-Synthetic-x4"
FACES = {"size": 12, "image_size": 32}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run, finished and measured."""
    home = tmp_path_factory.mktemp("runs")
    (home / "small.yaml").write_text(SMALL)
    make_run(home / "small.yaml", home / "small").train()
    evaluate.measure(
        home / "small", limit=4, faces=1, methods=("bicubic", "attention_fh"), progress_bar=False
    )
    return home / "small"


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> PretrainedWeights:
    return export_run(run, "small-x4", tmp_path_factory.mktemp("weights"), faces=3)


@pytest.fixture
def found(exported: PretrainedWeights, monkeypatch: pytest.MonkeyPatch) -> PretrainedWeights:
    """The exported weights, where they are looked for."""
    monkeypatch.setenv("FACEHALL_WEIGHTS", str(exported.folder.parent))
    return exported


def test_the_folder_holds_half_precision_and_what_it_is_for(run: Path, exported: PretrainedWeights) -> None:
    files = {path.name for path in exported.folder.iterdir()}
    assert files == {"README.md", "config.json", "enhancer.safetensors", "policy.safetensors"}
    assert [path.name for path in exported.folder.parent.iterdir()] == ["small-x4"]  # no scratch left
    for name in ("enhancer", "policy"):
        with safe_open(exported.folder / f"{name}.safetensors", framework="pt") as file:
            kinds = {key: file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118 (no dict)
        full = {key for key, kind in kinds.items() if kind != torch.float16}
        assert full <= {"baseline_values"}, name
    assert exported.task.shape == (3, 32, 32)
    assert exported.task.patch_size == (15, 11)
    assert (exported.env_id, exported.horizon, exported.task.protocol) == (ID, 3, "aligned")
    original = load_enhancer(run / "enhancer.safetensors").state_dict()
    for name, tensor in exported.enhancer().state_dict().items():
        assert torch.equal(tensor, original[name].half().float()), name


def test_numbers_of_other_weights_are_not_published(run: Path, tmp_path: Path) -> None:
    other = tmp_path / run.name
    shutil.copytree(run, other)
    agent = RecurrentReinforce.load(other / "agent.zip")
    with torch.no_grad():
        next(agent.policy.parameters()).add_(0.1)
    agent.save(other / "agent.zip")
    with pytest.raises(ValueError, match=r"has no record of attention_fh with the weights of .*: measure it"):
        export_run(other, "other", tmp_path / "weights", faces=0)
    assert not (tmp_path / "weights").exists()


def test_argmax_rollouts_from_half_precision_are_those_of_the_run(
    run: Path, exported: PretrainedWeights
) -> None:
    agent = RecurrentReinforce.load(run / "agent.zip")
    faces = face_batch(load_dataset("synthetic", split="test", **FACES), list(range(8)))
    difference = compare(agent, exported, faces)
    assert abs(difference.after - difference.before) <= TOLERANCE
    assert difference.largest <= 5 * TOLERANCE
    assert difference.same_places >= 0.9
    # It is the trained enhancer that both walked with, not the identity
    assert difference.before != pytest.approx(compare_bicubic(exported, faces), abs=1e-4)


def compare_bicubic(weights: PretrainedWeights, faces: torch.Tensor) -> float:
    env = gym.make(ID, enhancer="identity", data_options=FACES, **weights.arguments())
    core = env.unwrapped.core
    core.reset(faces)
    return float(-10.0 * core.mse.log10().mean())


def test_weights_are_measured_by_name_and_only_once(
    found: PretrainedWeights,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "records.json"
    words = ["evaluate.py", "weights", "--name", "small-x4", "--records", str(path), "--limit", "5"]
    monkeypatch.setattr("sys.argv", [*words, "--data", json.dumps(FACES), "--progress-bar", "false"])
    assert evaluate.main() == 0
    assert "Raster scan" in capsys.readouterr().out
    policy, scan = sorted(load_records(path), key=lambda record: record.method)
    assert (policy.method, policy.mode, policy.n) == ("attention_fh", "argmax", 5)
    assert policy.preset == "pretrained-small-x4"
    assert (scan.method, scan.mode, scan.n) == ("raster_scan", None, 5)
    env = gym.make(ID, data_options=FACES, split="test", **found.arguments()).unwrapped
    core = env.core
    walk(core, RasterScan(), face_batch(env.task.dataset, range(5)))
    assert scan.psnr == pytest.approx(float(-10.0 * core.mse.log10().mean()), abs=0.05)  # but for rounding
    before = path.read_bytes()
    assert evaluate.main() == 0
    assert path.read_bytes() == before
    monkeypatch.setattr("sys.argv", [*sys.argv, "--self-ensemble", "true"])
    assert evaluate.main() == 0
    modes = sorted(str(record.mode) for record in load_records(path))
    assert modes == ["None", "argmax", "argmax+mirror", "mirror"]
    with pytest.raises(FileNotFoundError, match="no weights"):
        measure_weights("nobody-x4", path)


def test_an_agent_is_made_from_a_name(run: Path, found: PretrainedWeights) -> None:
    env = gym.make(ID, data_options=FACES, **found.arguments())
    agent = RecurrentReinforce.from_pretrained("small-x4", env, n_faces=4)
    assert agent.n_faces == 4
    assert agent.n_rollouts == 2
    assert env.unwrapped.core.enhancer is agent.enhancer
    original = RecurrentReinforce.load(run / "agent.zip")
    assert (agent.num_timesteps, agent.imitated) == (original.num_timesteps, original.imitated)
    for name, tensor in agent.policy.state_dict().items():
        assert torch.equal(tensor, original.policy.state_dict()[name].half().float()), name
    observation, _ = env.reset(seed=0)
    location, memory = agent.predict(observation, deterministic=True)
    expected, _ = original.predict(observation, deterministic=True)
    assert np.array_equal(location, expected)
    agent.predict(env.step(int(location))[0], memory)
    agent.learn(agent.num_timesteps + 1)  # goes on learning


def test_another_task_of_the_same_shape_is_said(found: PretrainedWeights) -> None:
    env = gym.make(ID, data_options=FACES, **(found.arguments() | {"protocol": "torch7"}))
    with pytest.warns(UserWarning, match=r"small-x4 was trained for .*aligned.*, but .* is .*torch7"):
        RecurrentReinforce.from_pretrained("small-x4", env)


def test_the_card_says_where_the_weights_come_from(run: Path, exported: PretrainedWeights) -> None:
    card = (exported.folder / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["library_name"] == "facehall"
    records = json.loads((run / "records.json").read_text())
    budget = next(record["budget"] for record in records if record["method"] == "attention_fh")
    for said in (
        "# small-x4",
        "Hallucinated faces are not evidence of identity",
        f"budget: {budget}",
        records[0]["commit"],
        "| Attention-FH (argmax) |",
        "On 3 validation faces half precision changed the mean PSNR",
        "pretraining:\n  updates: 6",
    ):
        assert said in card
    assert str(run.parent) not in card  # where things lay is nobody's concern
    command = (run / "commands.txt").read_text().split()
    assert " ".join(command[:2]) in card
    usage = card.split("```python\n")[1].split("```")[0]
    assert "horizon=3" in usage
    assert "patch_size=[15, 11]" in usage
    compile(usage, "README.md", "exec")


def test_the_card_has_the_commands_of_the_runs_before(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "second"
    shutil.copytree(run, folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["start_from"] = str(run / "agent.zip")
    config["enhancer"]["prior"] = str(tmp_path / "prior")  # its folder starts from what is no longer there
    (tmp_path / "prior").mkdir()
    (tmp_path / "prior" / "config.yaml").write_text("start_from: nowhere/method.safetensors")
    (tmp_path / "prior" / "commands.txt").write_text("of the prior")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "commands.txt").write_text("its own")
    first = (run / "commands.txt").read_text().splitlines()
    assert exporting._commands(folder) == ["of the prior", *first, "its own"]


def test_absolute_paths_in_commands_are_cut_down(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "small")
    line = "2026-01-01T00:00:00 abc python train_agent.py --env.root=/home/me/lfw --run.folder '/tmp/my run'"
    (copy / "commands.txt").write_text(line + "\n")
    card = (export_run(copy, "other", tmp_path, faces=0).folder / "README.md").read_text()
    assert "python train_agent.py --env.root=lfw --run.folder 'my run'\n" in card
    assert "were not compared" in card


@pytest.mark.parametrize("missing", ["config.yaml", "agent.zip", "budget.json", "records.json"])
def test_an_unfinished_run_is_refused(run: Path, tmp_path: Path, missing: str) -> None:
    copy = shutil.copytree(run, tmp_path / "small")
    (copy / missing).unlink()
    way_out = "evaluate.py measure" if missing == "records.json" else "train_agent.py"
    with pytest.raises(FileNotFoundError, match=rf"no .*{missing}.* with python {way_out}"):
        export_run(copy, "small-x4", tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_records_of_other_weights_are_no_measurement(run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "other")  # records say which run they are of
    with pytest.raises(
        ValueError, match=r"no record of attention_fh with the weights of .* \(preset 'other'"
    ):
        export_run(other, "small-x4", tmp_path / "weights")
    copy = shutil.copytree(run, tmp_path / "small")
    budget = json.loads((copy / "budget.json").read_text())
    (copy / "budget.json").write_text(json.dumps(budget | {"reinforcement_episodes": 999}))
    with pytest.raises(ValueError, match=r"budget '.*999 of REINFORCE"):
        export_run(copy, "small-x4", tmp_path / "weights")


def test_records_may_lie_in_a_file_of_many(run: Path, tmp_path: Path) -> None:
    records = load_records(run / "records.json")
    foreign = [replace(r, preset="other", psnr=99.0) for r in records if r.method != "bicubic"]
    elsewhere = [replace(r, split="val", psnr=98.0) for r in records if r.method == "bicubic"]
    save_records(tmp_path / "all.json", [*records, *foreign, *elsewhere])
    copy = shutil.copytree(run, tmp_path / "small")
    (copy / "records.json").unlink()
    folder = export_run(copy, "a", tmp_path, records=tmp_path / "all.json", faces=0).folder
    card = (folder / "README.md").read_text()
    assert "| Attention-FH (argmax) |" in card
    assert "| Bicubic |" in card
    assert "99.00" not in card
    assert "98.00" not in card


@pytest.mark.parametrize(
    ("limit", "named"),
    [("ENHANCER_LIMIT", "the enhancer of .* MB in half precision"), ("TOTAL_LIMIT", "with its policy")],
)
def test_what_is_too_large_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, named: str
) -> None:
    monkeypatch.setattr(exporting, limit, 1000)
    with pytest.raises(ValueError, match=named):
        export_run(run, "small-x4", tmp_path / "weights")
    assert list((tmp_path / "weights").iterdir()) == []


@pytest.mark.parametrize("name", ["identity", "tiny", "pretrained", "a/b", "", ".hidden"])
def test_names_that_mean_something_else_are_refused(run: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="name is"):
        export_run(run, name, tmp_path)


def test_weights_that_overflow_are_refused(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "small")
    agent = RecurrentReinforce.load(copy / "agent.zip")
    torch.nn.init.constant_(agent.enhancer.convolutions[-1].bias, 1e6)
    agent.save(copy / "agent.zip")
    records = [replace(record, weights=None) for record in load_records(copy / "records.json")]
    save_records(copy / "records.json", records)  # as if these weights had been measured
    with pytest.raises(ValueError, match=r"the enhancer's convolutions\.14\.bias is not finite in half"):
        export_run(copy, "small-x4", tmp_path / "weights")


def test_rollouts_that_differ_are_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def coarse(tensor: torch.Tensor) -> torch.Tensor:
        return (tensor * 4).round().div(4).half()

    monkeypatch.setattr("agents.files.half", coarse)  # of the policy: it looks elsewhere
    monkeypatch.setattr(exporting, "TOLERANCE", 0.0)
    with pytest.raises(ValueError, match=r"half precision changes the mean PSNR of 3 validation faces"):
        export_run(run, "small-x4", tmp_path / "weights", faces=3)
    assert list((tmp_path / "weights").iterdir()) == []


def test_a_folder_is_replaced_only_when_told(run: Path, tmp_path: Path) -> None:
    first = export_run(run, "small-x4", tmp_path, faces=0)
    card = (first.folder / "README.md").read_bytes()
    (first.folder / "README.md").write_text("old")
    with pytest.raises(FileExistsError, match="is there already"):
        export_run(run, "small-x4", tmp_path, faces=0)
    export_run(run, "small-x4", tmp_path, faces=0, overwrite=True)
    assert (first.folder / "README.md").read_bytes() == card
    (first.folder / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match=r"it also holds thesis\.tex"):
        export_run(run, "small-x4", tmp_path, faces=0, overwrite=True)


def test_an_enhancer_alone_makes_no_agent(found: PretrainedWeights, tmp_path: Path) -> None:
    alone = shutil.copytree(found.folder, tmp_path / "alone")
    (alone / "policy.safetensors").unlink()
    with pytest.raises(ValueError, match="alone holds an enhancer but no policy: attach it"):
        RecurrentReinforce.from_pretrained(alone)


def test_the_command_writes_the_folder_and_says_what_is_wrong(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--run", str(run), "--name", "small-x4", "--output", str(tmp_path / "out"), "--faces", "2"]
    assert main(words) == 0
    assert "enhancer.safetensors: 0." in capsys.readouterr().out
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("agents.export: ")
    assert "is there already" in said
    assert main([*words, "--overwrite", "true"]) == 0


def test_weights_can_be_watched_by_name(found: PretrainedWeights, run: Path) -> None:
    assert "small-x4" in available_weights()
    env, looker = Rollout("small-x4", env={"data_options": FACES}).open()
    assert env.core.horizon == 3
    assert env.core.patch_size == (15, 11)
    of_the_run = Rollout(str(run)).open()[1]
    assert np.array_equal(looker.locations([0, 1]), of_the_run.locations([0, 1]))
    env, _ = Rollout(
        "raster_scan", ID, enhancer="small-x4", env={"data_options": FACES, **found.arguments()}
    ).open()
    assert env.task.pretrained is not None


def test_an_agent_goes_to_the_hub_and_comes_back(exported: PretrainedWeights, tmp_path: Path) -> None:
    code = """
import gymnasium as gym
from agents.reinforce import RecurrentReinforce
agent = RecurrentReinforce.from_pretrained("someone/small-x4")
print(agent.num_timesteps, sum(int((p.half().float() == p).all()) for p in agent.policy.parameters()))
"""
    with serve_hub() as hub:
        push_to_hub(exported, "someone/small-x4", token=hub.token, endpoint=hub.endpoint)
        assert set(hub.repositories["someone/small-x4"]) == {p.name for p in exported.folder.iterdir()}
        where = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | where, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    agent = RecurrentReinforce.from_pretrained(exported)
    assert done.stdout.split() == [str(agent.num_timesteps), str(len(list(agent.policy.parameters())))]
