"""Studies of the policy: what is written, what is skipped and done again, what is drawn and refused."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
import yaml

from agents.reinforce import RecurrentReinforce
from agents.study import Study
from agents.study.configuration import parse
from agents.study.curves import CurveFile, CurveRow
from agents.study.page import PAGE, draw, publish, render_page
from agents.study.summary import Curves, interquartile_mean, interval
from facehall_env.enhancer import make_enhancer

ROOT = Path(__file__).parents[1]
CONFIG = """
name: small
env:
  {id: FaceHallucination-Synthetic-x4, data: {size: 8, image_size: 32}, horizon: 2, patch_size: [15, 11],
   reward: delta, device: cpu}
total_timesteps: 40
measure_every: 16
validation_faces: 3
seeds: [0, 5]
policy: {stride: 8, picture_features: 4, history_features: 4, lstm_features: 4, head_channels: 2}
agent: {n_faces: 2, n_rollouts: 2, imitation_updates: 1, imitation_faces: 2, imitation_teacher: oracle}
variants:
  default: {}
  greedy: {agent: {baseline: self_critical, imitation_updates: 0}}
panels: {Both: [default, greedy]}
by_time: [Both]
progress_bar: false
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an enhancer and a configuration."""
    folder = tmp_path_factory.mktemp("study")
    save_enhancer(folder, 32)
    (folder / "small.yaml").write_text(CONFIG)
    return folder


def save_enhancer(folder: Path, side: int) -> None:
    """A small network that changes what it sees."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = make_enhancer(
            "tiny",
            shape=(3, side, side),
            patch_size=(15, 11),
            widths=(2,) * 7,
            global_features=4,
            inner_kernel=3,
        )
        torch.nn.init.normal_(list(network.parameters())[-1], std=0.05)
    network.save(folder / "enhancer.safetensors")


def make_study(start: Path, folder: Path, *more: str) -> Study:
    words = ["--config", str(start / "small.yaml"), "--enhancer", str(start), "--folder", str(folder), *more]
    return Study(*parse(words))


@pytest.fixture(scope="module")
def finished(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all studies after the small one was run."""
    folder = tmp_path_factory.mktemp("studies")
    make_study(start, folder).run()
    return folder


def test_every_variant_and_seed_is_measured_as_it_learns(finished: Path) -> None:
    with (finished / "small" / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    header = "variant,seed,timesteps,seconds,mode,psnr_gain,coverage,distinct_places,commit"
    assert list(rows[0]) == header.split(",")
    scripted = Counter(row["variant"] for row in rows if row["mode"] == "scripted")
    assert scripted == {"random": 2, "coverage_greedy": 2, "raster": 1, "planned": 1, "greedy_oracle": 1}
    # An update of `default` takes 8 steps, after 2 episodes of 2 steps and 2 previews of 9 patches; one of
    # `greedy` takes 8 and the 4 of its argmax episodes
    for name, expected in (("default", [0, 22, 38, 46]), ("greedy", [0, 24, 36, 48])):
        for seed in ("0", "5"):
            for mode in ("argmax", "sampled"):
                wanted = (name, seed, mode)
                curve = [row for row in rows if (row["variant"], row["seed"], row["mode"]) == wanted]
                assert [int(row["timesteps"]) for row in curve] == expected
                seconds = [float(row["seconds"]) for row in curve]
                assert seconds[0] == 0.0 < seconds[-1]
                assert seconds == sorted(seconds)
                assert all(0.0 < float(row["coverage"]) <= 1.0 for row in curve)
                assert all(1.0 <= float(row["distinct_places"]) <= 2.0 for row in curve)


def test_a_plan_is_made_once_and_counted_for_everybody(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    make = RecurrentReinforce.make_plan
    monkeypatch.setattr(
        RecurrentReinforce,
        "make_plan",
        lambda agent, **more: (made.append(1) if agent.plan is None else None, make(agent, **more))[1],
    )
    taught = {"imitation_teacher": "plan", "imitation_plan_faces": 1, "imitation_updates": 1}
    variants = {name: {"agent": taught} for name in ("one", "same")}
    variants["far"] = {"agent": taught, "policy": {"inhibition": 0}}
    more = ("--total_timesteps", "90", "--seeds", "[0]", "--panels", "{}", "--by_time", "[]")
    more += ("--compare", "one", "--variants", json.dumps(variants))
    study = make_study(start, tmp_path, *more)
    study.run()
    assert len(made) == 2
    one, same = (
        [replace(row, variant="", seconds=0.0) for row in study.curves.rows() if row.variant == name]
        for name in ("one", "same")
    )
    assert one == same
    seconds = {row.variant: row.seconds for row in study.curves.rows() if row.timesteps}
    assert seconds["same"] > 0.0


def test_a_study_goes_on_where_it_was_cut_off(start: Path, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    study = make_study(start, tmp_path)
    before = study.curves.rows()
    study.faces_path("greedy", 5, "sampled").unlink()  # the last file of a variant: it was cut off before
    study.run()
    after = study.curves.rows()

    def kept(rows: list[CurveRow]) -> list[CurveRow]:
        return [row for row in rows if (row.variant, row.seed) != ("greedy", 5)]

    def numbers(rows: list[CurveRow]) -> list[tuple[float, ...]]:
        again = [row for row in rows if (row.variant, row.seed) == ("greedy", 5)]
        return [(row.timesteps, row.psnr_gain, row.coverage, row.distinct_places) for row in again]

    assert kept(after) == kept(before)  # to the seconds, so nothing was done again
    assert numbers(after) == numbers(before)  # the same seed learns the same
    assert study.finished("greedy", 5)


def test_figure_tables_and_page_are_made_from_the_rows(start: Path, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "studies")
    study = make_study(start, tmp_path / "studies")
    draw(study)
    picture = matplotlib.image.imread(study.folder / "curves.png")
    assert min(picture.shape[:2]) > 200
    assert float(np.std(picture[..., :3])) > 0.05
    page = tmp_path / PAGE
    page.parent.mkdir()
    page.write_text("before\n<!-- study: small -->\nold\n<!-- /study -->\nafter\n")
    publish(study, tmp_path)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    gains = [
        row.psnr_gain
        for row in study.curves.rows()
        if (row.variant, row.mode) == ("greedy", "argmax") and row.timesteps >= 40
    ]
    assert f"| greedy | 2 | {np.mean(gains):+.3f} [" in text
    assert all(name in text for name in ("random patches", "raster scan", "coverage-greedy", "greedy oracle"))
    assert str(tmp_path) not in (tmp_path / "results" / "studies" / "small.json").read_text()
    assert (tmp_path / "docs" / "images" / "small.png").is_file()
    assert render_page(page, tmp_path, check=True)
    records = CurveFile(tmp_path / "results" / "studies" / "small.csv")
    records.drop("greedy", 0)
    assert not render_page(page, tmp_path, check=True)


def test_an_unfinished_study_is_not_published(start: Path, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    study = make_study(start, tmp_path, "--seeds", "[0, 7]")
    with pytest.raises(ValueError, match=r"not finished: default \(seed 7\)"):
        publish(study, tmp_path)


def test_only_finished_seeds_of_the_study_are_summarised(start: Path, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    study = make_study(start, tmp_path)
    draw(study)
    before = (study.folder / "tables.md").read_text()
    rows = [row for row in study.curves.rows() if (row.variant, row.seed) == ("default", 0)]
    study.curves.append([replace(row, seed=9, psnr_gain=-9.0) for row in rows])  # cut off, or of another list
    draw(study)
    assert (study.folder / "tables.md").read_text() == before
    publish(study, prepared(tmp_path / "project"))
    published = CurveFile(tmp_path / "project" / "results" / "studies" / "small.csv")
    assert {row.seed for row in published.rows()} == {row.seed for row in rows} | {5}


def test_a_study_says_where_it_was_measured_and_not_where_it_was_drawn(
    start: Path, finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    study = make_study(start, tmp_path)
    path = study.folder / "measured.json"
    assert json.loads(path.read_text())["validation_faces"] > 0
    path.write_text(json.dumps({"processor": "an abacus", "validation_faces": 3}))
    study.run()  # nothing is left to do
    draw(study)
    assert "3 validation faces; on an abacus;" in (study.folder / "tables.md").read_text()
    path.unlink()
    with pytest.raises(ValueError, match="does not say where it was measured"):
        draw(study)


def test_without_the_agents_that_do_not_learn_nothing_is_published(
    start: Path, finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    study = make_study(start, tmp_path)
    for path in (study.folder / "faces").glob("*.scripted.csv"):
        path.unlink()
    draw(study)
    with pytest.raises(ValueError, match="lacks the agents that do not learn: run the same command without"):
        publish(study, prepared(tmp_path / "project"))
    assert not (tmp_path / "project" / "results").exists()


def prepared(root: Path) -> Path:
    """A project's folder with a page."""
    (root / PAGE).parent.mkdir(parents=True)
    (root / PAGE).write_text("<!-- study: small -->\n<!-- /study -->\n")
    return root


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ({"agent": {"ent_coeff": 1}}, r"variant 'odd': agent has \['ent_coeff'\]"),
        ({"agent": {"coupling": "joint"}}, r"variant 'odd': agent has \['coupling'\]"),
        ({"agent": {"baseline": "luck"}}, "variant 'odd': baseline is 'luck'"),
        ({"policy": {"haed": "conv"}}, r"variant 'odd': policy_kwargs has \['haed'\]"),
        ({"preset": "papre"}, "variant 'odd': there is no preset 'papre'"),
        ({"visits": True}, "variant 'odd': visits is set"),
        ({"agent": {"imitation_updates": 9}}, "variant 'odd': the warm start alone takes 198"),
        ({"algorithm": "ppo", "agent": {"n_rollouts": 2}}, r"variant 'odd': agent has \['n_rollouts'\]"),
        ({"algorithm": "a2c", "preset": "paper"}, "variant 'odd': preset is 'paper'"),
    ],
)
def test_wrong_variants_are_refused_by_name(start: Path, tmp_path: Path, variant: dict, message: str) -> None:
    variants = yaml.safe_dump({"default": {}, "odd": variant})
    study = make_study(start, tmp_path, "--variants", variants, "--panels", "{}", "--by_time", "[]")
    with pytest.raises(ValueError, match=message):
        study.run(only=["odd"])
    assert not study.folder.exists()


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("{agnet: {}}", r"variant 'default' has \['agnet'\]"),
        ("{algorithm: dqn}", "variant 'default': algorithm is 'dqn'"),
        ("{rows: 0}", "variant 'default': rows"),
        ("{visits: patch}", "variant 'default': visits is 'patch'"),
    ],
)
def test_fields_that_no_variant_has_are_refused(
    start: Path, tmp_path: Path, variant: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_study(start, tmp_path, "--variants", f"{{default: {variant}, greedy: {{}}}}")


def test_a_changed_variant_is_refused_and_a_new_one_is_not(start: Path, finished: Path) -> None:
    changed = "{default: {agent: {baseline: batch}}, greedy: {}}"
    with pytest.raises(ValueError, match="another study: its variant 'default', variant 'greedy' differ"):
        make_study(start, finished, "--variants", changed)
    more = yaml.safe_load(CONFIG)["variants"] | {"third": {}}
    assert not make_study(start, finished, "--variants", yaml.safe_dump(more)).finished("third", 0)


@pytest.mark.slow
def test_the_algorithms_of_stable_baselines_learn_in_the_same_steps(start: Path, tmp_path: Path) -> None:
    # CnnPolicy takes 36x36 pixels and more
    save_enhancer(tmp_path, 40)
    small = {"rows": 4, "stride": 8}
    features = {"features_extractor_kwargs": {"features_dim": 4}}
    variants = {
        "default": {},
        "ppo": small | {"algorithm": "ppo", "visits": True, "agent": {"batch_size": 8}, "policy": features},
        "a2c": small | {"algorithm": "a2c", "visits": True, "policy": features},
        "rppo": small | {"algorithm": "recurrent_ppo", "agent": {"batch_size": 8}, "policy": features},
    }
    study = make_study(
        start,
        tmp_path / "studies",
        *("--variants", yaml.safe_dump(variants), "--enhancer", str(tmp_path), "--seeds", "[0]"),
        *("--env.data.image_size", "40", "--panels", "{All: [ppo, a2c, rppo]}", "--by_time", "[All]"),
    )
    study.run()
    curves = Curves(study.curves.rows())
    for name in ("ppo", "a2c", "rppo"):
        assert [row.timesteps for row in curves.runs(name, "argmax")[0]] == [0, 16, 32, 40]
    draw(study)


def row(variant: str, seed: int, timesteps: int, gain: float) -> CurveRow:
    return CurveRow(variant, seed, timesteps, timesteps / 10, "argmax", gain, 0.5, 2.0, "0" * 40)


def test_curves_meet_on_one_grid_as_far_as_all_seeds_go() -> None:
    curves = Curves([row("a", 0, 20, 2.0), row("a", 0, 0, 0.0), row("a", 1, 0, 1.0), row("a", 1, 10, 2.0)])
    grid, values = curves.on_grid("a", "argmax", "timesteps")
    assert grid.tolist() == [0, 10]
    assert values.tolist() == [[0.0, 1.0], [1.0, 2.0]]
    assert curves.at("a", "argmax", "seconds", 0.5).tolist() == [0.5, 1.5]


def test_intervals_hold_the_interquartile_mean() -> None:
    values = np.array([0.0, 1.0, 2.0, 3.0, 100.0, 1.5, 1.0, 2.0])
    assert interquartile_mean(values) == pytest.approx(1.625)
    low, high = interval(values)
    assert 0.0 <= low < 1.625 < high <= 100.0
    assert interval(values[:1]) is None


def test_rows_survive_the_file_and_strangers_are_refused(tmp_path: Path) -> None:
    file = CurveFile(tmp_path / "curves.csv")
    rows = [row("a", 0, 0, 0.25), row("b", 1, 8, -0.5)]
    file.append(rows[:1])
    file.append(rows[1:])
    assert file.rows() == rows
    file.drop("a", 0)
    assert file.rows() == rows[1:]
    file.path.write_text("variant,seed\na,0\n")
    with pytest.raises(ValueError, match="has not the columns"):
        file.rows()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs" / "studies").glob("*.yaml")), ids=lambda path: path.stem
)
def test_the_studies_of_the_project_can_be_read(path: Path, tmp_path: Path) -> None:
    first = ROOT / "configs" / "studies" / "policy-synthetic.yaml"
    config, _ = parse(["--config", str(first), "--config", str(path), "--folder", str(tmp_path)])
    assert config.name == path.stem
    wanted = {"default"}
    if path.stem == "policy-algorithms":
        wanted |= {"paper", "authors", "ppo", "a2c", "recurrent-ppo"}
    assert wanted <= set(config.variants)


def test_the_page_says_what_the_records_say() -> None:
    assert render_page(ROOT / PAGE, ROOT, check=True), "run python -m agents.study --page"
