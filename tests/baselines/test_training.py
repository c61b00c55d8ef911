"""Training runs of methods and their measurement, from the command line to records, in seconds."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import evaluate
from agents.baselines import Degradation, load_hallucinator, make_hallucinator
from agents.baselines.__main__ import main
from agents.baselines.configuration import TRAINABLE, make_parser, parse, parse_file
from agents.baselines.crops import CropBatches
from agents.baselines.recipes import TrainingConfig
from agents.baselines.run import WEIGHTS, BaselineRun
from agents.baselines.training import NetworkTraining
from agents.baselines.vdsr import ORIGINAL
from agents.records import load_images, load_records
from facehall_env.metrics import psnr
from tests.small import SmallFaces

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "baselines").glob("*.yaml"))
SMALL = """
method: vdsr
scale: 4
data: {name: folder, options: {image_size: 16, val_fraction: 0.2, test_fraction: 0.2}}
settings: {depth: 2, width: 4}
training: {updates: 6, batch_size: 3, warmup: 2, pretrain_updates: 3, pretrain_batch_size: 4}
device: cpu
run:
  {checkpoint_minutes: 0.0, log_interval: 2, validation_faces: 2, validation_interval: 2, progress_bar: false}
"""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Twenty smooth random pictures, two of which are small, one gray, and a file that is none."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(20):
        side = 30 if index < 2 else 60
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        picture = coarse.resize((side, side + 4), Image.Resampling.BICUBIC)
        picture.convert("L" if index == 5 else "RGB").save(
            folder / ("more" if index % 2 else ".") / f"{index}.png"
        )
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def config(tmp_path: Path, pictures: Path) -> Path:
    values = yaml.safe_load(SMALL)
    values["data"]["root"] = values["training"]["pretrain_root"] = str(pictures)
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def make_run(config: Path, folder: Path, *more: str) -> BaselineRun:
    return BaselineRun(*parse(["--config", str(config), "--run.folder", str(folder), *more]))


def test_run_leaves_a_folder_that_can_be_run_again(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = make_run(config, folder)
    method = run.train()
    written = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "commands.txt", "versions.json", "progress.csv", "checkpoints", WEIGHTS} <= written
    assert any(name.startswith("events.out.tfevents") for name in written)
    budget = json.loads((folder / "budget.json").read_text())
    assert budget["words"].startswith("3 updates of 4 crops of 18 pictures; 6 updates of 3 faces (")
    assert budget["words"].endswith("on cpu in float32")
    header = (folder / "progress.csv").read_text().splitlines()[0].split(",")
    assert {"pretraining/mse", "training/mse", "validation/psnr_gain"} <= set(header)
    loaded = load_hallucinator(folder / WEIGHTS)
    low = torch.rand(1, 3, 4, 4)
    assert torch.equal(loaded.hallucinate(low), method.hallucinate(low))
    assert loaded.budget == budget["words"]
    assert parse_file(folder / "config.yaml").settings == {"depth": 2, "width": 4}


@pytest.mark.parametrize("written_before_the_end", [1, 3, 6, 9])
def test_interrupted_run_goes_on_bit_for_bit(
    config: Path, tmp_path: Path, killed_after: Any, written_before_the_end: int
) -> None:
    whole = make_run(config, tmp_path / "whole").train()

    with killed_after(written_before_the_end):
        make_run(config, tmp_path / "cut").train()
    resumed = make_run(config, tmp_path / "cut").train()
    for (name, expected), found in zip(
        whole.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        assert torch.equal(expected, found), name


def test_channels_last_learns_the_same_but_for_rounding_and_resumes_bit_for_bit(
    config: Path, tmp_path: Path, killed_after: Any
) -> None:
    plain = make_run(config, tmp_path / "plain").train()
    more = ("--training.channels_last", "true")
    run = make_run(config, tmp_path / "last", *more)
    assert any(
        weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last)
        for weight in run.method.parameters()
        if weight.dim() == 4 and min(weight.shape) > 1 and not weight.is_contiguous()
    )
    laid_out = run.train()
    for name, weight in plain.state_dict().items():
        torch.testing.assert_close(laid_out.state_dict()[name], weight, rtol=1e-3, atol=1e-4, msg=name)
    with killed_after(6):
        make_run(config, tmp_path / "cut", *more).train()
    resumed = make_run(config, tmp_path / "cut", *more).train()
    for name, weight in laid_out.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], weight), name


def test_best_state_on_the_validation_faces_is_kept(config: Path, tmp_path: Path) -> None:
    """The validation faces are what the network makes before it learns: learning leads away from them."""
    runs = {}
    for select in ("best", "last"):
        more = [
            "--run.select",
            select,
            "--training.pretrain_root",
            "null",
            "--training.learning_rate",
            "0.01",
        ]
        run = runs[select] = make_run(config, tmp_path / select, *more)
        _, low = run.validation
        run.validation = (255 * run.method.hallucinate(low)).round().to(torch.uint8), low
        run.train()

    def reached(run: BaselineRun) -> float:
        high, low = run.validation
        made, start = run.method.hallucinate(low), run.method.initial(low).clamp(0, 1)
        return float(psnr(made, high).mean() - psnr(start, high).mean())

    assert runs["best"].best == runs["last"].best == pytest.approx(reached(runs["best"]), abs=1e-6)
    assert reached(runs["last"]) < reached(runs["best"]) - 0.1


def test_other_experiment_in_the_folder_is_refused(config: Path, tmp_path: Path) -> None:
    make_run(config, tmp_path / "run").train()
    with pytest.raises(ValueError, match=r"another experiment: training\.updates is 6 there and 7 here"):
        make_run(config, tmp_path / "run", "--training.updates", "7")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_is_read(path: Path) -> None:
    experiment = parse_file(path)
    assert path.stem.startswith(experiment.method)
    assert f"-x{experiment.scale}" in path.stem
    assert experiment.run.folder == Path("runs") / path.stem


def test_recipe_of_the_method_is_the_default() -> None:
    assert parse(["--method", "srcnn"])[0].training.slow_share == 0.1
    assert parse(["--method", "vdsr"])[0].training.final_learning_rate == 1e-4
    assert parse(["--method", "mzq"])[0].training == TrainingConfig()
    original = next(path for path in CONFIGS if "original" in path.stem)
    wanted = vars(ORIGINAL) | {"updates": 20_000, "final_learning_rate": 1e-4, "warmup": 100}
    assert vars(parse_file(original).training) == wanted


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--method", "nearest"], "method is 'nearest', but it must be one of bicubic"),
        (["--method", "attention_fh"], "method is 'attention_fh', but it must be one of"),
        ([], "name a method"),
        (["--config", "missing.yaml"], "there is no configuration missing.yaml"),
    ],
)
def test_methods_that_cannot_be_trained_are_named(arguments: list[str], named: str, capsys) -> None:
    assert main(arguments) == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--settings.kernels", "9"], "settings.kernels"),
        (["--settings.depth", "3"], "settings.depth"),
        (["--training.loss", "l1"], "training.loss"),
        (["--protocol", "lanczos"], "protocol"),
    ],
)
def test_unknown_keys_and_wrong_types_are_named(arguments: list[str], named: str, capsys) -> None:
    with pytest.raises(SystemExit):
        make_parser("srcnn").parse_args(arguments)
    assert named in capsys.readouterr().err


def test_every_method_can_be_asked_for_help() -> None:
    for name in TRAINABLE:
        assert "--scale" in make_parser(name).format_help()


# --- recipes ---


def test_schedules() -> None:
    cosine = TrainingConfig(learning_rate=1e-2, final_learning_rate=1e-3, warmup=4)
    rates = [cosine.rate(step, 24) for step in range(25)]
    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert rates[14] == pytest.approx(0.0055)
    assert rates[24] == pytest.approx(1e-3)
    steps = TrainingConfig(learning_rate=0.1, schedule="steps")
    assert [steps.rate(step, 8) for step in range(8)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4]
    )


def first_step(config: TrainingConfig, name: str = "srcnn") -> tuple[dict, dict, dict]:
    """Weights before and after the first update, and the gradients it used."""
    torch.manual_seed(0)
    network = make_hallucinator(name, Degradation(3, 16, 16, 4), widths=(4, 4))
    network.expects_pretraining = False
    before = {key: value.detach().clone() for key, value in network.named_parameters()}
    NetworkTraining(network, SmallFaces(8), config).stages[0].update()
    gradients = {key: value.grad for key, value in network.named_parameters()}
    return before, dict(network.named_parameters()), gradients


def test_last_layer_of_srcnn_learns_at_its_share() -> None:
    config = TrainingConfig(optimizer="sgd", momentum=0.0, learning_rate=0.1, warmup=0, slow_share=0.1)
    before, after, gradients = first_step(config)
    for name, weight in before.items():
        rate = 0.01 if name.startswith("convolutions.2") else 0.1
        torch.testing.assert_close(after[name], weight - rate * gradients[name])


def test_gradients_are_clipped_by_norm_or_by_rate() -> None:
    by_norm = TrainingConfig(loss="sum", clip="norm", clip_at=0.5, warmup=0)
    gradients = first_step(by_norm)[2].values()
    assert float(sum(g.square().sum() for g in gradients)) ** 0.5 == pytest.approx(0.5, rel=1e-3)
    by_rate = TrainingConfig(loss="sum", clip="rate", clip_at=0.1, learning_rate=0.2, warmup=0)
    gradients = first_step(by_rate)[2].values()
    assert max(float(g.abs().max()) for g in gradients) == pytest.approx(0.5)


def test_summed_loss_is_the_mean_one_times_half_the_values() -> None:
    mean = first_step(TrainingConfig(clip_at=1e9))[2]
    total = first_step(TrainingConfig(clip_at=1e9, loss="sum"))[2]
    for name, gradient in mean.items():
        torch.testing.assert_close(total[name], gradient * (3 * 16 * 16) / 2, rtol=1e-4, atol=1e-6)


# --- pre-training ---


def test_crops_are_seeded_and_resumable(pictures: Path) -> None:
    settings = {"channels": 3, "sides": (36, 40), "pictures": 7, "a_picture": 3, "seed": 1}
    stream = CropBatches(pictures, 5, **settings)
    assert len(stream.files) == 7
    assert stream.files == CropBatches(pictures, 5, **settings).files
    assert stream.files != CropBatches(pictures, 5, **(settings | {"seed": 2})).files
    stream.next()
    state = stream.state_dict()
    batches = [stream.next() for _ in range(4)]
    assert {batch.shape[-1] for batch in batches} == {36, 40}
    assert all(batch.shape[:2] == (5, 3) and batch.dtype == torch.uint8 for batch in batches)
    again = CropBatches(pictures, 5, **settings)
    again.load_state_dict(state)
    assert all(torch.equal(batch, again.next()) for batch in batches)
    gray = CropBatches(pictures, 5, **(settings | {"channels": 1})).next()
    assert gray.shape[1] == 1


def test_small_pictures_and_other_files_are_left_out(pictures: Path) -> None:
    names = {path.name for path in CropBatches(pictures, 1, channels=3, sides=(48,)).files}
    assert names == {f"{index}.png" for index in range(2, 20)}


def test_folders_without_pictures_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"pretrain_root is .*missing"):
        CropBatches(tmp_path / "missing", 1, channels=3, sides=(48,))
    with pytest.raises(ValueError, match="holds no picture of 48x48"):
        CropBatches(tmp_path, 1, channels=3, sides=(48,))


def test_cut_off_picture_is_named(pictures: Path) -> None:
    for path in pictures.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"\.png cannot be used for pre-training"):
        CropBatches(pictures, 1, channels=3, sides=(33,)).next()


def test_paper_s_pre_training_is_missed_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for name, said in (("vdsr", 1), ("gln", 0)):
            network = make_hallucinator(name, Degradation(3, 16, 16, 4))
            NetworkTraining(network, SmallFaces(2), TrainingConfig())
            assert caplog.text.count(f"{name} is trained on faces alone") == said


def test_whole_face_networks_cannot_be_pre_trained(pictures: Path) -> None:
    network = make_hallucinator("gln", Degradation(3, 16, 16, 4))
    with pytest.raises(ValueError, match="gln reads whole faces"):
        NetworkTraining(network, SmallFaces(2), TrainingConfig(pretrain_root=pictures))


# --- measuring ---


def test_scripts_train_and_measure(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "vdsr-small"
    assert main(["--config", str(config), "--run.folder", str(folder)]) == 0
    assert f"evaluate.py baseline --run {folder}" in capsys.readouterr().out
    records = tmp_path / "records.json"
    monkeypatch.setattr(
        "sys.argv",
        ["evaluate.py", "baseline", "--run", str(folder), "--records", str(records), "--progress_bar=false"],
    )
    assert evaluate.main() == 0
    assert "| VDSR |" in capsys.readouterr().out
    (record,) = load_records(records)
    assert (record.method, record.preset, record.protocol) == ("vdsr", "vdsr-small", "aligned")
    assert (record.mode, record.coverage, record.scale) == (None, None, 4)
    assert record.budget.startswith("3 updates of 4 crops of 18 pictures; 6 updates")
    (values,) = (tmp_path / "records").iterdir()
    assert load_images(values)["psnr"].mean() == pytest.approx(record.psnr, abs=1e-5)
    monkeypatch.setattr("sys.argv", ["evaluate.py", "baseline", "--run", str(folder), "--protocol", "torch7"])
    assert evaluate.main() == 2
    assert "vdsr reads I_0 as protocol 'aligned'" in capsys.readouterr().err


@pytest.fixture
def mzq(config: Path, tmp_path: Path) -> Path:
    values = yaml.safe_load(config.read_text())
    values |= {"method": "mzq", "settings": {"patch_size": 2, "overlap": 1}}
    del values["training"]
    config.write_text(yaml.safe_dump(values))
    make_run(config, tmp_path / "mzq").train()
    return tmp_path / "mzq"


def test_method_that_reads_no_input_picture_stands_for_both_protocols(mzq: Path) -> None:
    evaluate.baseline(mzq, limit=1, progress_bar=False)
    records = load_records(mzq / "records.json")
    assert [record.protocol for record in records] == ["aligned", "torch7"]
    assert records[0].psnr == records[1].psnr
    evaluate.baseline(mzq, progress_bar=False)  # more faces replace fewer
    assert {record.n for record in load_records(mzq / "records.json")} == {2}
    with pytest.raises(ValueError, match="has a record of mzq on 2 images"):
        evaluate.baseline(mzq, limit=1, progress_bar=False)


def test_method_that_has_learned_is_left_as_it_is(mzq: Path, config: Path, capsys) -> None:
    before = (mzq / WEIGHTS).read_bytes()
    make_run(config, mzq).train()
    assert (mzq / WEIGHTS).read_bytes() == before
    assert "is there already" in capsys.readouterr().out


def test_what_does_not_belong_to_the_run_is_refused_before_it_is_measured(
    mzq: Path, config: Path, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no config\.yaml"):
        evaluate.baseline(tmp_path)
    weights = (mzq / WEIGHTS).read_bytes()
    (mzq / WEIGHTS).write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ValueError, match="cut off"):
        evaluate.baseline(mzq)
    make_hallucinator("bicubic", Degradation(3, 16, 16, 4)).save(mzq / WEIGHTS)
    with pytest.raises(ValueError, match="holds 'bicubic', not mzq"):
        evaluate.baseline(mzq)
    other = make_hallucinator("mzq", Degradation(3, 16, 16, 2), patch_size=2, overlap=1)
    other.save(mzq / WEIGHTS)
    with pytest.raises(ValueError, match="was made for x2 from 8x8 to 16x16 RGB"):
        evaluate.baseline(mzq)
    assert not (mzq / "records.json").exists()


def test_training_starts_from_another_run_of_the_same_method(config: Path, tmp_path: Path) -> None:
    first = make_run(config, tmp_path / "first").train()
    more = ["--start_from", str(tmp_path / "first"), "--training.updates", "0"]
    second = make_run(config, tmp_path / "second", *more, "--training.pretrain_root", "null").train()
    for name, weight in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], weight)
    assert second.budget.endswith(" after first")
    with pytest.raises(ValueError, match=r"were made for .* but this is about"):
        make_run(config, tmp_path / "third", *more, "--settings.width", "8")
    with pytest.raises(ValueError, match="holds 'vdsr', not cnn16"):
        make_run(config, tmp_path / "third", *more, "--method", "cnn16")


def test_edsr_goes_on_learning_with_more_blocks_and_features(config: Path, tmp_path: Path) -> None:
    values = yaml.safe_load(config.read_text())
    values["training"]["pretrain_root"] = None
    config.write_text(yaml.safe_dump(values | {"method": "edsr", "settings": {"features": 8}}))
    small = make_run(config, tmp_path / "small", "--settings.blocks", "1").train()
    start, low = ["--start_from", str(tmp_path / "small")], torch.rand(2, 3, 4, 4)
    for blocks, features in [(3, 8), (1, 12), (3, 12)]:
        size = [*start, "--settings.blocks", str(blocks), "--settings.features", str(features)]
        name = f"{blocks}-{features}"
        grown = make_run(config, tmp_path / name, *size, "--training.updates", "0").train()
        with torch.no_grad():
            torch.testing.assert_close(grown(low), small(low), atol=1e-6, rtol=0.0)
        learned = make_run(config, tmp_path / f"{name}-learned", *size).train()
        assert learned.network.last.weight.any(dim=(0, 2, 3)).all()  # of every feature
        for block in learned.network.blocks:
            assert block.second.weight.any()
    start = ["--start_from", str(tmp_path / "3-12")]
    for fewer in ["blocks", "features"]:
        size = ["--settings.blocks", "3", "--settings.features", "12", f"--settings.{fewer}", "2"]
        with pytest.raises(ValueError, match=r"were made for .* but this is about"):
            make_run(config, tmp_path / fewer, *start, *size)
