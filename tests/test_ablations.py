"""The variants by configuration: each is read, learns in a tiny size, and is measured as itself."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import yaml

import evaluate
from agents.ablations import VARIANTS, VariantName, check_name
from agents.baselines.configuration import TRAINABLE
from agents.configuration import Experiment, make_parser, read_experiment
from agents.distributed import Ranks
from agents.evaluation import METHODS as LOOKERS
from agents.measurement import Measurement
from agents.records import METHODS, load_records
from agents.reproduction.cells import Cell, Faces, Recipe
from agents.reproduction.rows import TABLES
from agents.scripted import RandomPatch, RasterScan, make_chooser
from agents.training import TrainingRun
from facehall_env.core import HallucinationCore
from tests.test_training import weights

CONFIGS = Path(__file__).parent.parent / "configs"
ABLATIONS = sorted((CONFIGS / "ablations").glob("*.yaml"))


def arguments(path: Path, **shrunk: Any) -> list[str]:
    """A configuration after that of the demo, and what is to be smaller."""
    small: dict[str, Any] = {
        "env.data": {"size": 6, "image_size": 32},
        "env.patch_size": [15, 11],
        "env.device": "cpu",
        "pretraining.updates": 3,
        "pretraining.batch_size": 2,
        "pretraining.warmup": 1,
        "policy.stride": 8,
        "policy.picture_features": 4,
        "policy.history_features": 4,
        "policy.lstm_features": 4,
        "agent.n_faces": 1,
        "agent.n_rollouts": 2,
        "agent.imitation_updates": 1,
        "agent.imitation_faces": 1,
        "agent.imitation_epochs": 1,
        "agent.enhancer_updates": 1,
        "agent.enhancer_batch_size": 2,
        "total_timesteps": 1,
        "run.validation_faces": 2,
        "run.log_interval": 1,
        "run.progress_bar": False,
    }
    says = yaml.safe_load(path.read_text())
    for part in ("env", "agent"):
        for name in says.get(part, {}):
            small.pop(f"{part}.{name}", None)
    if says.get("total_timesteps") == 0:
        del small["total_timesteps"]
    if path.stem == "patch_90x67":
        small["env.data"] = {"size": 6, "image_size": 96}
    if path.stem == "whole_image":
        small["env.patch_size"] = [32, 32]
    made = ["--config", str(CONFIGS / "demo.yaml"), "--config", str(path)]
    for name, value in (small | shrunk).items():
        made += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
    return made


def make_run(path: Path, folder: Path, **shrunk: Any) -> TrainingRun:
    parser = make_parser()
    parsed = parser.parse_args([*arguments(path, **shrunk), "--run.folder", str(folder)])
    return TrainingRun(read_experiment(parsed), parser.dump(parsed, skip_unset=False))


@pytest.mark.parametrize("overrides", [None, "cpu", "quick"])
def test_the_lengths_of_an_episode_are_compared_after_as_many_episodes(overrides: str | None) -> None:
    faces = Faces("synthetic" if overrides == "quick" else "lfw")
    recipe = Recipe(faces, Path("runs"), None if overrides is None else CONFIGS / overrides)
    episodes = set()
    for row in TABLES["table2"].rows:
        if row.kind == "agent":
            experiment = read_experiment(
                make_parser().parse_args(recipe.words(Cell(row, faces.name, 8, "aligned")))
            )
            episodes.add(experiment.total_timesteps / experiment.env.horizon)
    assert len(episodes) == 1


def test_every_variant_has_a_configuration_and_a_name_in_records() -> None:
    assert {path.stem for path in ABLATIONS} == set(get_args(VariantName)) - {"attention_fh"}
    assert set(get_args(VariantName)) == set(VARIANTS) <= set(METHODS)
    assert {"cnn16", "spatial_transformer"} - set(TRAINABLE) == set()


@pytest.mark.parametrize("base", ["demo", "lfw-x8"])
@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_configurations_keep_what_their_names_promise(path: Path, base: str) -> None:
    made = make_parser().parse_args(["--config", str(CONFIGS / f"{base}.yaml"), "--config", str(path)])
    experiment = read_experiment(made)
    assert experiment.name == path.stem
    check_name(experiment, (128, 128))


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_variants_learn_and_are_measured_as_themselves(path: Path, tmp_path: Path) -> None:
    run = make_run(path, tmp_path / "run")
    assert run.pretraining is not None
    run.train()
    budget = json.loads((tmp_path / "run" / "budget.json").read_text())
    learned = VARIANTS[run.experiment.name].has_policy
    assert (budget["imitation_episodes"] > 0, budget["reinforcement_episodes"] > 0) == (learned, learned)
    assert budget["pretraining_patches"] == 6
    evaluate.measure(tmp_path / "run", limit=2, faces=1, progress_bar=False)
    records = {(r.method, r.mode) for r in load_records(tmp_path / "run" / "records.json")}
    own = {(path.stem, "argmax"), (path.stem, "sampled")} if learned else {(path.stem, None)}
    assert records == {("bicubic", None), *own}
    if path.stem == "whole_image":
        whole = next(r for r in load_records(tmp_path / "run" / "records.json") if r.method == path.stem)
        assert (whole.coverage, whole.distinct_places) == (1.0, 1.0)
        assert "patches along a raster scan" in whole.budget


@pytest.mark.parametrize(
    ("stem", "shrunk", "message"),
    [
        ("attention_fh_t5", {"env.horizon": 6}, "env.horizon is 6, but a run named 'attention_fh_t5' has 5"),
        (
            "random_patch",
            {"total_timesteps": 9},
            "total_timesteps is 9, but a run named 'random_patch' has 0",
        ),
        ("greedy_oracle", {"pretraining.chooser": "random"}, "has 'oracle'"),
        ("whole_image", {"env.patch_size": [31, 32]}, r"patch_size is \(31, 32\).* has \(32, 32\)"),
    ],
)
def test_names_that_promise_something_else_are_refused(
    tmp_path: Path, stem: str, shrunk: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_run(CONFIGS / "ablations" / f"{stem}.yaml", tmp_path / "run", **shrunk)
    assert not (tmp_path / "run").exists()


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args(["--name", "attention"])
    assert "whole_image" in capsys.readouterr().err


def test_the_policy_of_a_run_without_one_is_not_measured(tmp_path: Path) -> None:
    make_run(CONFIGS / "ablations" / "raster_scan.yaml", tmp_path / "run").train()
    with pytest.raises(ValueError, match="no policy learns, so there is no attention_fh: measure bicubic or"):
        evaluate.measure(tmp_path / "run", methods=("attention_fh",), progress_bar=False)
    assert not (tmp_path / "run" / "records.json").exists()
    assert Measurement(tmp_path / "run").methods == ("bicubic", "raster_scan")


def test_the_seed_of_a_measurement_is_that_of_the_training(tmp_path: Path) -> None:
    path = CONFIGS / "ablations" / "random_patch.yaml"
    make_run(path, tmp_path / "run", **{"run.seed": 3}).train()
    evaluate.measure(tmp_path / "run", methods=("random_patch",), limit=1, faces=1, progress_bar=False)
    evaluate.measure(
        tmp_path / "run", methods=("random_patch",), limit=1, faces=1, seed=5, progress_bar=False
    )
    assert [r.seed for r in load_records(tmp_path / "run" / "records.json")] == [3, 5]


@pytest.mark.parametrize("stem", ["random_patch", "raster_scan", "greedy_oracle"])
def test_a_start_on_own_episodes_goes_on_bit_for_bit(tmp_path: Path, stem: str) -> None:
    path = CONFIGS / "ablations" / f"{stem}.yaml"
    small = {"pretraining.updates": 6, "pretraining.horizon": 2, "run.checkpoint_minutes": 0.0}
    whole = make_run(path, tmp_path / "whole", **small)
    whole.train()

    class KilledError(Exception):
        pass

    cut = make_run(path, tmp_path / "cut", **small)
    checkpoint = cut._checkpoint

    def checkpoint_then_die() -> None:
        checkpoint()
        raise KilledError

    cut._checkpoint = checkpoint_then_die  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        cut.train()
    assert cut.pretraining is not None
    assert cut.pretraining.done == 2  # one episode
    resumed = make_run(path, tmp_path / "cut", **small)
    resumed.train()
    found = weights(resumed)
    for name, value in weights(whole).items():
        assert torch.equal(value, found[name]), name


def test_processes_share_the_draws_of_random_locations() -> None:
    core = HallucinationCore((3, 16, 16), 4, patch_size=(6, 5))
    core.reset(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
    parts = torch.cat([RandomPatch(3, Ranks(rank, 2)).select(core) for rank in range(2)])
    core.reset(torch.zeros(4, 3, 16, 16, dtype=torch.uint8))
    assert torch.equal(parts, RandomPatch(3).select(core))


def test_a_scan_by_the_whole_picture_stays_in_the_middle() -> None:
    core = HallucinationCore((3, 16, 12), 4, patch_size=(16, 12), horizon=2)
    core.reset(torch.zeros(1, 3, 16, 12, dtype=torch.uint8))
    scan = make_chooser("raster")
    assert isinstance(scan, RasterScan)
    scan.begin(core)
    for _ in range(2):
        location = scan.select(core)
        assert core.geometry.boxes(location).tolist() == [[0, 0, 16, 12]]
        core.step(location)
    with pytest.raises(ValueError, match="chooser is 'spiral'"):
        make_chooser("spiral")  # type: ignore[arg-type]


def test_the_default_run_is_measured_against_everything(tmp_path: Path) -> None:
    path = tmp_path / "plain.yaml"
    path.write_text("{}\n")
    run = make_run(path, tmp_path / "run")
    assert isinstance(run.experiment, Experiment)
    run.train()
    assert Measurement(tmp_path / "run").methods == LOOKERS
