"""Watching policies: the episodes are those that the environment plays, and every file shows them."""

import json
import re
import sys
from html.parser import HTMLParser

import cv2
import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO

import evaluate
from agents.faces import face_batch
from agents.pictures import OUTSIDE
from agents.reinforce import RecurrentReinforce
from agents.rollout import PolicyAgent
from agents.scripted import RandomPatch, RasterScan
from agents.visualisation import video
from agents.visualisation.attention import attention_sheet, location_density
from agents.visualisation.curves import save_curves
from agents.visualisation.heat import heat_layer, heat_over
from agents.visualisation.rollout import Rollout, draw_rollout
from agents.visualisation.stable_baselines import algorithm_of
from agents.visualisation.strip import trace_strip
from agents.visualisation.trace import gaussian_over_pixels, record_traces
from agents.visualisation.video import save_video, trace_frames
from facehall_env import wrappers
from facehall_env.enhancer import make_enhancer
from facehall_env.patches import AffineLocations, PatchGeometry
from facehall_env.rendering import BLUE, RED
from tests.small import SIDE, SMALL_AGENT, small_env

ID = "FaceHallucination-Synthetic-x4"
AUTHORS = {
    "imitation_updates": 0,
    "policy_kwargs": {
        "stride": 1,
        "history": "last",
        "head": "gaussian",
        "policy_input": "both",
        "inhibition": 0.0,
        "picture_features": 8,
        "history_features": 8,
        "lstm_features": 8,
    },
}
TASK = {
    "horizon": 3,
    "patch_size": (12, 9),
    "enhancer": "identity",
    "data_options": {"size": 6, "image_size": 32},
}


def synthetic():
    return gym.make(ID, split="test", **TASK)


@pytest.fixture(scope="module")
def agent_file(tmp_path_factory):
    """An agent of ours, not trained, with its enhancer."""
    env = synthetic()
    torch.manual_seed(0)
    network = make_enhancer(
        "tiny", shape=(3, 32, 32), patch_size=(12, 9), global_features=4, widths=(2, 2, 3, 3, 3, 2, 2)
    )
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(torch.randn_like(weights), alpha=0.05)  # else it starts as the identity
    env.unwrapped.set_enhancer(network)
    agent = RecurrentReinforce("RecurrentPolicy", env, **SMALL_AGENT)
    torch.nn.init.normal_(agent.policy.head.last.weight)  # else every place is as likely as another
    path = tmp_path_factory.mktemp("agents") / "agent.zip"
    agent.save(path)
    return path


@pytest.fixture
def trace():
    env = small_env()
    agent = RecurrentReinforce("RecurrentPolicy", env, **SMALL_AGENT)
    torch.nn.init.normal_(agent.policy.head.last.weight)
    watched = PolicyAgent(agent.policy, deterministic=True)
    return record_traces(env.core, watched, face_batch(env.task.dataset, [2]), [2])[0]


# The trace


def test_a_trace_is_the_episode_that_the_environment_plays():
    env = small_env()
    agent = RecurrentReinforce("RecurrentPolicy", env, **SMALL_AGENT)
    torch.nn.init.normal_(agent.policy.head.last.weight)
    indices = [5, 0, 3]
    watched = PolicyAgent(agent.policy, deterministic=True)
    traces = record_traces(env.core, watched, face_batch(env.task.dataset, indices), indices)
    for index, trace in zip(indices, traces, strict=True):
        assert trace.index == index
        assert trace.steps == 3
        _, info = env.reset(options={"index": index})
        for t in range(4):
            if t:
                _, _, _, _, info = env.step(int(trace.locations[t - 1]))
            assert trace.psnr[t] == pytest.approx(info["psnr"], abs=1e-3)
            assert trace.coverage[t] == pytest.approx(info["coverage"])
            assert np.abs(trace.pictures[t].astype(int) - env.pictures()["current"]).max() <= 1
        assert np.array_equal(trace.low_resolution, env.pictures()["low_resolution"])
        assert np.array_equal(trace.high_resolution, env.task.dataset[index])
        assert np.array_equal(trace.boxes, env.core.geometry.boxes(torch.tensor(trace.locations)).numpy())
        assert trace.probabilities.sum(axis=(1, 2)) == pytest.approx(1.0, abs=1e-5)
        for places, location in zip(trace.probabilities, trace.locations, strict=True):
            assert places.reshape(-1)[location] == places.max() > places.min()


def test_a_gaussian_over_points_is_found_where_its_draws_are():
    locations = AffineLocations(32, 24, (12, 9))
    mean, std = torch.tensor([[0.1, -0.2], [1.0, 3.0]]), torch.tensor([[0.22, 0.3], [0.5, 0.22]])
    places = gaussian_over_pixels(mean, std, locations)
    assert places.sum(dim=(1, 2)).tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
    generator = torch.Generator().manual_seed(0)
    draws = mean + std * torch.randn(200_000, 2, 2, generator=generator)
    for row in range(2):
        counted = torch.bincount(locations.location(draws[:, row]), minlength=32 * 24) / 200_000
        assert torch.allclose(places[row].flatten(), counted, atol=5e-3)


def test_an_agent_without_probabilities_has_none():
    env = small_env()
    (trace,) = record_traces(env.core, RasterScan(), face_batch(env.task.dataset, [1]), [1])
    assert trace.probabilities is None


def test_the_patch_of_a_step_is_cut_where_its_box_is_and_gray_outside():
    env = small_env(horizon=30)
    (trace,) = record_traces(env.core, RandomPatch(), face_batch(env.task.dataset, [1]), [1])
    outside = 0
    for t in range(1, 31):
        picture, (top, left, height, width) = trace.pictures[t], trace.boxes[t - 1]
        patch = trace.patch(picture, t)
        assert patch.shape == (height, width, 3)
        for row in range(height):
            for column in range(width):
                y, x = top + row, left + column
                if 0 <= y < SIDE and 0 <= x < SIDE:
                    assert np.array_equal(patch[row, column], picture[y, x])
                else:
                    assert (patch[row, column] == OUTSIDE).all()
                    outside += 1
    assert outside


def test_the_authors_policy_is_watched_too():
    env = small_env()
    agent = RecurrentReinforce("RecurrentPolicy", env, **(SMALL_AGENT | AUTHORS))
    watched = PolicyAgent(agent.policy, deterministic=True)
    (trace,) = record_traces(env.core, watched, face_batch(env.task.dataset, [1]), [1])
    assert trace.probabilities.sum(axis=(1, 2)) == pytest.approx(1.0, abs=1e-5)
    for places, location in zip(trace.probabilities, trace.locations, strict=True):
        assert places.reshape(-1)[location] > 0.5 * places.max()


# The heat


def test_heat_hides_nothing_where_there_is_none():
    picture = np.full((8, 8, 3), (200, 100, 0), np.uint8)
    values = np.zeros((8, 8))
    values[2, 3], values[5, 5] = 0.5, 0.125
    layer = heat_layer(values)
    assert (layer[values == 0][:, 3] == 0).all()
    assert layer[2, 3, 3] > layer[5, 5, 3] > 0
    over = heat_over(picture, values)
    assert (over[values == 0] == 100).all()  # the picture in gray
    assert over[2, 3].astype(int).sum() > over[5, 5].astype(int).sum()
    assert np.array_equal(over, heat_over(picture, 0.01 * values))  # relative to the highest
    assert (heat_over(picture, np.zeros((8, 8))) == 100).all()


# Strip, frames, video, curves


def colours(picture):
    return (picture == RED).all(axis=2), (picture == BLUE).all(axis=2)


def test_the_strip_has_every_step(trace):
    strip = trace_strip(trace, columns=4)
    assert np.array_equal(strip, trace_strip(trace, columns=4))
    cells = np.array_split(strip[:, 6:], 4, axis=1)
    reds, blues = zip(*((red.sum(), blue.sum()) for red, blue in map(colours, cells)), strict=True)
    assert reds[0] == 0
    assert min(reds[1:]) > 0
    assert blues[0] == blues[1] == 0
    assert max(blues[2:]) > 0
    assert trace_strip(trace, columns=2).shape[0] > 1.8 * strip.shape[0]


def test_the_frames_of_an_episode(trace):
    frames = trace_frames(trace)
    assert len(frames) == 4
    assert {frame.shape for frame in frames} == {frames[0].shape}
    assert not colours(frames[0])[0].any()
    assert all(colours(frame)[0].any() for frame in frames[1:])
    assert not any(colours(frame)[1].any() for frame in frames[:2])
    assert colours(frames[3])[1].any()
    third = frames[1].shape[1] // 3
    colourful = np.ptp(frames[2][:, :third].astype(int), axis=2) > 100
    plain = small_env()
    (blind,) = record_traces(plain.core, RasterScan(), face_batch(plain.task.dataset, [2]), [2])
    blind_frame = trace_frames(blind)[2]
    assert blind_frame.shape[1] == frames[0].shape[1]
    assert colourful.sum() > 2 * (np.ptp(blind_frame[:, :third].astype(int), axis=2) > 100).sum()


def decoded(path):
    film = cv2.VideoCapture(str(path))
    frames = []
    while (read := film.read())[0]:
        frames.append(read[1][:, :, ::-1])
    return frames, film.get(cv2.CAP_PROP_FPS)


def test_a_video_has_every_frame(trace, tmp_path):
    frames = trace_frames(trace)
    path = save_video(tmp_path / "episode", frames, fps=3)
    assert path == tmp_path / "episode.mp4"
    found, fps = decoded(path)
    assert fps == 3
    assert [frame.shape for frame in found] == [frame.shape for frame in frames]
    for one, other in zip(found, frames, strict=True):
        assert np.abs(one.astype(float) - other).mean() < 4


def test_without_an_encoder_the_video_is_a_gif(trace, tmp_path, monkeypatch):
    monkeypatch.setattr(video.importlib.util, "find_spec", lambda name: None)
    frames = trace_frames(trace)
    path = save_video(tmp_path / "episode", frames, fps=2)
    assert path == tmp_path / "episode.gif"
    with Image.open(path) as film:
        assert film.n_frames == 4
        assert film.size == frames[0].shape[1::-1]
        assert film.info["duration"] == 500
        film.seek(2)
        assert np.abs(np.asarray(film.convert("RGB"), float) - frames[2]).mean() < 8


@pytest.mark.parametrize("shapes", [[], [(4, 4, 3), (6, 4, 3)], [(5, 4, 3)]])
def test_what_makes_no_video_is_refused(shapes, tmp_path):
    with pytest.raises(ValueError, match="frames of one size with even sides"):
        save_video(tmp_path / "film", [np.zeros(shape, np.uint8) for shape in shapes])
    assert not list(tmp_path.iterdir())


def test_curves_are_drawn(trace, tmp_path):
    for name, traces in (("one", [trace]), ("two", [trace, trace]), ("again", [trace])):
        save_curves(tmp_path / f"{name}.png", traces)
    one, two, again = ((tmp_path / f"{name}.png").read_bytes() for name in ("one", "two", "again"))
    assert one == again != two
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.size == (770, 550)


# Where it looks


def test_the_density_is_where_the_looks_are():
    locations = np.array([[5 * SIDE + 7] * 3, [0, 10 * SIDE + 12, 10 * SIDE + 12]])
    density = location_density(locations, (SIDE, SIDE), blur=0.8)
    assert density.shape == (2, SIDE, SIDE)
    assert density[0].sum() == pytest.approx(1.0, abs=1e-3)
    assert np.unravel_index(density[0].argmax(), (SIDE, SIDE)) == (5, 7)
    assert density[1].sum() < 0.95  # a third of them in the corner, with half of the Gaussian outside
    assert np.unravel_index(density[1].argmax(), (SIDE, SIDE)) == (10, 12)


def test_the_sheet_has_one_picture_a_step_and_one_of_all():
    geometry = PatchGeometry(64, 64, (20, 10))
    face = np.full((64, 64, 3), 120, np.uint8)
    looks = np.full((5, 4), 32 * 64 + 32)
    sheet = attention_sheet(looks, face, geometry, columns=3)
    ring = 2 * (20 + 10) - 4
    assert colours(sheet)[0].sum() == 5 * ring
    assert sheet.shape[0] > 2 * 64
    assert sheet.shape[1] >= 3 * 64
    apart = looks.copy()
    apart[:, 0] = 0
    assert not np.array_equal(sheet, attention_sheet(apart, face, geometry, columns=3))


# The whole rollout


class Page(HTMLParser):
    """What a page names, and whether its elements close."""

    VOID = ("meta", "input", "img", "br", "link")

    def __init__(self, text):
        super().__init__()
        self.named, self.open = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.named += [value for name, value in attributes if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check_page(folder, episodes, steps, *, heat):
    text = (folder / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open
    assert "attention.png" in page.named
    assert all((folder / name).is_file() for name in page.named)
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}  # no network
    data = json.loads(re.search(r"const DATA = (.*);\n", text).group(1))
    assert data["probabilities"] is heat
    assert len(data["episodes"]) == episodes
    for episode in data["episodes"]:
        shown = folder / episode["folder"]
        assert all((shown / name).is_file() for _, name in episode["files"])
        assert len(episode["boxes"]) == steps
        assert len(episode["psnr"]) == len(episode["coverage"]) == steps + 1
        wanted = {"original.png"} | {f"picture-{t:03}.png" for t in range(steps + 1)}
        kinds = ("before", "after", "truth", "heat") if heat else ("before", "after", "truth")
        wanted |= {f"{kind}-{t:03}.png" for kind in kinds for t in range(1, steps + 1)}
        assert {path.name for path in (shown / "steps").iterdir()} == wanted
    return data


def test_an_agent_of_ours_is_watched(agent_file, tmp_path):
    rollout = Rollout(str(agent_file), ID, env=TASK)
    traces = draw_rollout(rollout, tmp_path, episodes=2, summary_faces=4, batch_size=3, progress_bar=False)
    assert [trace.index for trace in traces] == [0, 3]
    data = check_page(tmp_path, 2, 3, heat=True)
    assert "agent.zip, argmax on synthetic x4, test split" in data["about"]
    assert data["patch"] == [12, 9]
    for trace, episode in zip(traces, data["episodes"], strict=True):
        folder = tmp_path / episode["folder"]
        assert episode["boxes"] == trace.boxes.tolist()
        assert np.array_equal(np.asarray(Image.open(folder / "steps" / "picture-003.png")), trace.pictures[3])
        assert np.array_equal(
            np.asarray(Image.open(folder / "steps" / "after-002.png")), trace.patch(trace.pictures[2], 2)
        )
        assert np.asarray(Image.open(folder / "steps" / "heat-001.png")).shape == (32, 32, 4)
        assert len(decoded(folder / "video.mp4")[0]) == 4
    assert not np.array_equal(traces[0].pictures[0], traces[0].pictures[3])  # its enhancer is at work


def test_a_seeded_rollout_repeats(agent_file, tmp_path):
    rollout = Rollout(str(agent_file), ID, env=TASK, deterministic=False, seed=3)
    for name in ("one", "two"):
        draw_rollout(rollout, tmp_path / name, episodes=1, summary_faces=3, progress_bar=False)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*")]
    assert len(files) > 20
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    other = Rollout(str(agent_file), ID, env=TASK, deterministic=False, seed=4).open()[1].traces([0])[0]
    (first,) = rollout.open()[1].traces([0])
    assert not np.array_equal(first.locations, other.locations)


def command(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "rollout", *map(str, words)])
    return evaluate.main()


def test_the_command_watches_a_scripted_agent(tmp_path, monkeypatch, capsys):
    make_enhancer("tiny", shape=(3, 32, 32), patch_size=(12, 9)).save(tmp_path / "enhancer.safetensors")
    done = command(
        monkeypatch,
        *("--agent", "greedy_oracle", "--env-id", ID, "--enhancer", tmp_path, "--faces", 4, 2),
        *("--env", json.dumps(TASK), "--summary-faces", 2, "--output", tmp_path / "out"),
        *("--progress-bar", "false"),
    )
    printed = capsys.readouterr()
    assert done == 0, printed.err
    check_page(tmp_path / "out", 2, 3, heat=False)
    assert [line.split(":")[0] for line in printed.out.splitlines() if line.startswith("face ")] == [
        "face 4",
        "face 2",
    ]
    assert str(tmp_path / "out" / "index.html") in printed.out


def test_a_run_folder_knows_its_environment(agent_file, tmp_path):
    agent_file.with_name("config.yaml").write_text(
        "env:\n  id: FaceHallucination-Synthetic-x4\n  horizon: 2\n  patch_size: [12, 9]\n"
        "  protocol: torch7\n  consistent: true\n  data: {size: 6, image_size: 32}\n"
    )
    try:
        env, _ = Rollout(str(agent_file.parent)).open()
        other, _ = Rollout(str(agent_file), env={"protocol": "aligned"}).open()
    finally:
        agent_file.with_name("config.yaml").unlink()
    assert (env.core.horizon, env.core.protocol, env.core.patch_size) == (2, "torch7", (12, 9))
    assert env.core.consistent
    assert (other.core.horizon, other.core.protocol) == (2, "aligned")


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"agent": "nobody"}, FileNotFoundError, "agent is 'nobody'.*nor one of random_patch, raster_scan"),
        ({"env_id": None}, ValueError, "Name it with --env-id"),
        ({"env_id": "CartPole-v1"}, ValueError, "env_id is 'CartPole-v1', but it must be one of Face"),
        ({"wrappers": {"VisitChannel": {}}}, ValueError, "needs no wrappers: only agents of Stable-Base"),
        ({"env": TASK | {"patch_size": (10, 9)}}, ValueError, r"trained on pictures .* patches \(12, 9\)"),
        ({"enhancer": "nothing"}, FileNotFoundError, "enhancer is 'nothing'"),
    ],
)
def test_what_does_not_fit_is_refused(agent_file, change, kind, message):
    words = {"agent": str(agent_file), "env_id": ID, "env": TASK} | change
    with pytest.raises(kind, match=message):
        Rollout(**words).open()


def test_faces_that_do_not_exist_are_refused_before_anything_is_written(tmp_path):
    rollout = Rollout("raster_scan", ID, env=TASK)
    with pytest.raises(ValueError, match="the test split holds faces 0 to 5"):
        draw_rollout(rollout, tmp_path / "out", faces=[6])
    with pytest.raises(ValueError, match="episodes is 0"):
        draw_rollout(rollout, tmp_path / "out", episodes=0)
    for name, value in (("fps", 0.0), ("batch_size", 0)):
        with pytest.raises(ValueError, match=f"{name} is {value}"):
            draw_rollout(rollout, tmp_path / "out", **{name: value})
    assert not list(tmp_path.iterdir())


def test_an_agent_saved_without_its_enhancer_needs_one(agent_file, tmp_path):
    RecurrentReinforce.load(agent_file).save(tmp_path / "agent.zip", exclude=["enhancer"])
    rollout = Rollout(str(tmp_path / "agent.zip"), ID, env=TASK)
    with pytest.raises(ValueError, match="saved without its enhancer: name one with --enhancer"):
        rollout.open()
    network = make_enhancer("tiny", shape=(3, 32, 32), patch_size=(12, 9))
    network.save(tmp_path / "enhancer.safetensors")  # as a run folder has it
    env, _ = rollout.open()
    assert all(
        torch.equal(one, other)
        for one, other in zip(env.core.enhancer.parameters(), network.parameters(), strict=True)
    )


# Agents of Stable-Baselines3

SHAPES = {
    "A2C": (A2C, "MlpPolicy", {}),
    "PPO": (PPO, "MlpPolicy", {"StrideGridLocation": {"stride": 4}, "VisitChannel": {}}),
    "PPO, rows and columns": (PPO, "MlpPolicy", {"RowColumnLocation": {}}),
    "PPO, continuous": (PPO, "MlpPolicy", {"ContinuousLocation": {}}),
    "RecurrentPPO": (RecurrentPPO, "MlpLstmPolicy", {"StrideGridLocation": {"stride": 4}}),
    "MaskablePPO": (MaskablePPO, "MlpPolicy", {"StrideGridLocation": {"stride": 8}, "VisitMask": {}}),
}


def wrapped(shapes):
    env = synthetic()
    for name, arguments in shapes.items():
        env = getattr(wrappers, name)(env, **arguments)
    return env


@pytest.mark.parametrize("name", SHAPES)
def test_an_agent_of_stable_baselines_looks_where_it_predicts(name, tmp_path):
    kind, policy, shapes = SHAPES[name]
    model = kind(policy, wrapped(shapes), seed=0, n_steps=64, device="cpu")
    with torch.no_grad():
        model.policy.action_net.weight.mul_(100.0)  # else every place is nearly as likely as another
    model.save(tmp_path / "model.zip")
    assert algorithm_of(tmp_path / "model.zip") == kind.__name__

    _, looker = Rollout(str(tmp_path / "model.zip"), ID, env=TASK, wrappers=shapes).open()
    traces = looker.traces([1, 4])
    env = wrapped(shapes)
    for trace in traces:
        observation, _ = env.reset(options={"index": trace.index})
        memory = None
        for t in range(3):
            more = {}
            if kind is MaskablePPO:
                more["action_masks"] = env.action_masks()
            if kind is RecurrentPPO:
                more["episode_start"] = np.array([t == 0])
            action, memory = model.predict(observation, memory, deterministic=True, **more)
            observation, _, _, _, info = env.step(action)
            assert info["location"] == trace.locations[t]
    assert np.array_equal(looker.locations([1, 4]), np.stack([trace.locations for trace in traces], axis=1))

    for trace in traces:
        assert trace.probabilities.sum(axis=(1, 2)) == pytest.approx(1.0, abs=1e-4)
        for t, (places, location) in enumerate(zip(trace.probabilities, trace.locations, strict=True)):
            if name == "PPO, continuous":  # most of its draws lie beyond the border, and so on it
                assert places.reshape(-1)[location] > 0
                continue
            assert places.reshape(-1)[location] == pytest.approx(places.max())
            if kind is MaskablePPO:
                assert (places.reshape(-1)[trace.locations[:t]] < 1e-6).all()


def test_a_stable_baselines_agent_draws_by_its_seed(tmp_path):
    PPO("MlpPolicy", synthetic(), n_steps=64, device="cpu").save(tmp_path / "model.zip")

    def looks(seed):
        rollout = Rollout(str(tmp_path / "model.zip"), ID, env=TASK, deterministic=False, seed=seed)
        return rollout.open()[1].locations([0, 1])

    assert np.array_equal(looks(0), looks(0))
    assert not np.array_equal(looks(0), looks(1))


def test_the_command_watches_a_stable_baselines_agent(tmp_path, monkeypatch, capsys):
    PPO("MlpPolicy", wrapped({"VisitChannel": {}}), n_steps=64, device="cpu").save(tmp_path / "model.zip")
    words = ("--agent", tmp_path / "model.zip", "--env-id", ID, "--env", json.dumps(TASK), "--episodes", 1)
    words += ("--summary-faces", 0, "--output", tmp_path / "out", "--progress-bar", "false")
    assert command(monkeypatch, *words) == 2
    assert "trained in an environment of another shape" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert command(monkeypatch, *words, "--wrappers", '{"VisitChannel": {}}') == 0
    assert (tmp_path / "out" / "index.html").is_file()
    assert not (tmp_path / "out" / "attention.png").exists()


def test_other_algorithms_and_files_are_refused(tmp_path):
    DQN("MlpPolicy", synthetic(), buffer_size=10, device="cpu").save(tmp_path / "dqn.zip")
    with pytest.raises(ValueError, match="of none of PPO, A2C, RecurrentPPO, MaskablePPO"):
        Rollout(str(tmp_path / "dqn.zip"), ID, env=TASK).open()
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(ValueError, match=r"text\.zip is cut off or no agent file"):
        Rollout(str(tmp_path / "text.zip"), ID, env=TASK).open()
    A2C("MlpPolicy", synthetic(), device="cpu").save(tmp_path / "a2c.zip")
    with pytest.raises(ValueError, match="no wrapper 'Nothing'; there are ContinuousLocation"):
        Rollout(str(tmp_path / "a2c.zip"), ID, env=TASK, wrappers={"Nothing": {}}).open()
    wrong = {"StrideGridLocation": {"strid": 4}}
    with pytest.raises(ValueError, match=r"wrapper StrideGridLocation cannot be made with \{'strid': 4\}"):
        Rollout(str(tmp_path / "a2c.zip"), ID, env=TASK, wrappers=wrong).open()


def test_sb3_contrib_is_asked_for_where_it_is_missing(tmp_path, monkeypatch):
    model = RecurrentPPO("MlpLstmPolicy", synthetic(), n_steps=64, device="cpu")
    model.save(tmp_path / "model.zip")
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    with pytest.raises(ValueError, match="written by RecurrentPPO: pip install sb3-contrib"):
        Rollout(str(tmp_path / "model.zip"), ID, env=TASK).open()
