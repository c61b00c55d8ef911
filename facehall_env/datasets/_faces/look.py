"""Colours and style of one face: skin, hair, eyes, clothes, accessories and light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facehall_env.datasets._faces.anatomy import Anatomy
from facehall_env.datasets._faces.colours import Rgb
from facehall_env.datasets._faces.relief import Light

_SKIN = np.array(
    [(238, 203, 183), (228, 184, 158), (212, 164, 134), (193, 142, 108), (161, 111, 79), (121, 80, 57), (84, 55, 42)], float
)  # fmt: skip
_HAIR = np.array(
    [(22, 18, 17), (38, 28, 23), (62, 43, 31), (92, 64, 43), (128, 92, 58), (176, 138, 88), (214, 182, 128), (120, 58, 34)],
    float,
)  # fmt: skip
_IRIS = np.array(
    [(62, 40, 26), (84, 56, 34), (104, 82, 48), (96, 110, 82), (88, 118, 142), (112, 132, 146)], float
)


@dataclass(frozen=True)
class Look:
    """Everything about a face that is not shape; colours are RGB in [0, 255]."""

    tone: float  # 0 light .. 1 dark skin
    skin: Rgb
    lips: Rgb
    hair: Rgb
    grey: float
    brow: Rgb
    iris: Rgb
    style: str
    parting: float
    volume: float
    hairline: float
    wave: float
    beard: str
    glasses: str
    hat: str
    make_up: float
    freckles: float
    light: Light


def _pick(rng: np.random.Generator, options: dict[str, float]) -> str:
    weights = np.cumsum(list(options.values()))
    return list(options)[int(np.searchsorted(weights, rng.random() * weights[-1]))]


def sample_look(a: Anatomy, rng: np.random.Generator) -> Look:
    """Draw colours, style and light for a face of this anatomy."""
    tone = float(rng.beta(0.9, 1.9))
    place = tone * (len(_SKIN) - 1.001)
    base, part = int(place), place % 1
    skin = (_SKIN[base] * (1 - part) + _SKIN[base + 1] * part) * (
        1 + 0.025 * rng.standard_normal(3).clip(-2, 2)
    )
    darkest = tone > 0.55
    choice = (
        rng.integers(0, 3)
        if darkest
        else int(rng.choice(8, p=[0.14, 0.17, 0.19, 0.17, 0.12, 0.08, 0.06, 0.07]))
    )
    hair = _HAIR[choice] * rng.uniform(0.85, 1.15)
    grey = min(max((a.age - 0.45) * 1.6 + 0.3 * rng.standard_normal(), 0.0), 1.0) if a.age > 0.3 else 0.0
    hair = hair * (1 - grey) + np.array([176, 174, 170.0]) * rng.uniform(0.75, 1.2) * grey
    iris = _IRIS[rng.integers(0, 2) if darkest or choice < 2 else rng.integers(0, 6)] * rng.uniform(0.8, 1.25)
    male = 1 - a.feminine
    make_up = float(rng.random() * a.feminine) if rng.random() < 0.7 else 0.0
    if rng.random() < a.feminine:
        style = _pick(
            rng, {"long": 5, "side": 1.5, "bob": 3, "fringe": 3, "updo": 2, "curly": 2, "short": 0.6}
        )
    else:
        style = _pick(
            rng, {"side": 4, "short": 4, "buzz": 1.5, "bald": 0.5 + 1.5 * a.age, "receding": 0.4 + 3 * a.age, "fringe": 0.8, "curly": 0.8, "long": 0.3}
        )  # fmt: skip
    beard = "none"
    if male > 0.5 and rng.random() < 0.55:
        beard = _pick(rng, {"stubble": 5, "moustache": 2, "goatee": 1.5, "full": 2.5})
    glasses = "none"
    if rng.random() < 0.16 + 0.16 * a.age:
        glasses = _pick(rng, {"wire": 3, "thin": 3, "thick": 2, "round": 1.5, "half": 1.2, "sun": 0.5})
    hat = _pick(rng, {"none": 24, "cap": 1, "scarf": 0.2 + 1.5 * a.feminine, "beanie": 0.5, "band": 0.4})

    rouge = np.array([176, 40, 52.0]) * rng.uniform(0.8, 1.1) + rng.normal(0, 12, 3)
    natural = skin * np.array([0.86, 0.64, 0.66]) + np.array([8, -2, 2.0])
    lips = natural * (1 - 0.65 * make_up) + rouge * 0.65 * make_up
    return Look(
        tone=tone,
        skin=skin.clip(20, 248),
        lips=lips.clip(10, 240),
        hair=hair.clip(8, 235),
        grey=grey,
        brow=(hair * 0.75 + skin * 0.08).clip(8, 170),
        iris=iris.clip(12, 200),
        style=style,
        parting=float(rng.uniform(-22, 22)),
        volume=float(rng.uniform(1, 9)),
        hairline=float(rng.normal(-42.0, 3.5) - (6 * a.age if male > 0.5 else 0)),
        wave=float(rng.beta(0.8, 1.6)),
        beard=beard,
        glasses=glasses,
        hat=hat,
        make_up=make_up,
        freckles=float(rng.random()) if rng.random() < 0.2 * (1 - tone) else 0.0,
        light=_sample_light(rng),
    )


def _sample_light(rng: np.random.Generator) -> Light:
    azimuth, elevation = rng.normal(0, 0.7), rng.normal(0.5, 0.35)
    direction = np.array([np.sin(azimuth), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation) + 0.3])
    hardness, warmth = rng.uniform(0.3, 1.0), rng.normal(0.03, 0.06)
    return Light(
        direction=direction / np.linalg.norm(direction),
        key=hardness * np.array([1 + warmth, 1.0, 1 - warmth]),
        ambient=(1.1 - 0.8 * hardness) * np.array([1 - 0.5 * warmth, 1.0, 1 + 0.5 * warmth]),
        exposure=float(np.exp(min(rng.normal(-0.06, 0.13), 0.14))),
        gloss=float(rng.gamma(1.6, 22.0)),
    )
