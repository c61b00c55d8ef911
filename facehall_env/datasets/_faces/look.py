"""Colours and style of one face: skin, hair, eyes, clothes, accessories and light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from facehall_env.datasets._faces.anatomy import Anatomy
from facehall_env.datasets._faces.colours import Rgb
from facehall_env.datasets._faces.relief import Light

_SKIN = np.array(
    [
        (238, 203, 183),
        (228, 184, 158),
        (212, 164, 134),
        (193, 142, 108),
        (161, 111, 79),
        (121, 80, 57),
        (84, 55, 42),
    ],
    dtype=float,
)
_HAIR = {
    "black": (22.0, 18, 17),
    "dark": (38.0, 28, 23),
    "brown": (62.0, 43, 31),
    "chestnut": (92.0, 64, 43),
    "light brown": (128.0, 92, 58),
    "blond": (176.0, 138, 88),
    "fair": (214.0, 182, 128),
    "red": (120.0, 58, 34),
}
_HAIR_LIGHT = dict(zip(_HAIR, (14, 17, 19, 17, 12, 8, 6, 7), strict=True))
_HAIR_DARK = dict(zip(_HAIR, (5, 4, 2), strict=False))
_GREY = np.array([176.0, 174, 170])
_IRIS = np.array(
    [(62, 40, 26), (84, 56, 34), (104, 82, 48), (96, 110, 82), (88, 118, 142), (112, 132, 146)], dtype=float
)
_ROUGE = np.array([176.0, 40, 52])
_LONG_STYLES = {"long": 5, "side": 1.5, "bob": 3, "fringe": 3, "updo": 2, "curly": 2, "short": 0.6}
_BEARDS = {"stubble": 5, "moustache": 2, "goatee": 1.5, "full": 2.5}
_GLASSES = {"wire": 3, "thin": 3, "thick": 2, "round": 1.5, "half": 1.2, "sun": 0.5}


@dataclass(frozen=True)
class Look:
    """Everything about a face that is not shape; colours are RGB in [0, 255]."""

    tone: float  # 0 light .. 1 dark skin
    skin: Rgb
    lips: Rgb
    hair: Rgb
    brow: Rgb
    iris: Rgb
    style: str  # of the hair
    parting: float  # x of the parting
    volume: float  # how far the hair stands off the skull
    hairline: float  # y of its middle
    wave: float  # 0 straight .. 1 wavy
    beard: str
    glasses: str
    hat: str
    make_up: float  # 0 none .. 1 heavy
    freckles: float  # 0 none .. 1 many
    light: Light


def _pick(rng: np.random.Generator, options: Mapping[str, float]) -> str:
    """One of the options, which are given with their weights."""
    place = rng.random() * sum(options.values())
    for option, weight in options.items():
        place -= weight
        if place < 0:
            return option
    return option


def sample_look(a: Anatomy, rng: np.random.Generator) -> Look:
    """Draw colours, style and light for a face of this anatomy."""
    male = a.feminine < 0.5
    tone = float(rng.beta(0.9, 1.9))
    skin = _sample_skin(tone, rng)
    kind = _pick(rng, _HAIR_DARK if tone > 0.55 else _HAIR_LIGHT)
    hair = _sample_hair(kind, a.age, rng)
    irises = 2 if tone > 0.55 or kind in ("black", "dark") else len(_IRIS)
    make_up = float(rng.random() * a.feminine) if rng.random() < 0.7 else 0.0
    bare = skin * (0.86, 0.64, 0.66) + np.array((8, -2, 2))
    rouge = _ROUGE * rng.uniform(0.8, 1.1) + rng.normal(0, 12, 3)
    return Look(
        tone=tone,
        skin=skin,
        lips=(bare + 0.65 * make_up * (rouge - bare)).clip(10, 240),
        hair=hair,
        brow=(hair * 0.75 + skin * 0.08).clip(8, 170),
        iris=(_IRIS[rng.integers(0, irises)] * rng.uniform(0.8, 1.25)).clip(12, 200),
        style=_pick(rng, _LONG_STYLES if rng.random() < a.feminine else _short_styles(a.age)),
        parting=float(rng.uniform(-22, 22)),
        volume=float(rng.uniform(1, 9)),
        hairline=float(rng.normal(-42.0, 3.5) - (6 * a.age if male else 0)),
        wave=float(rng.beta(0.8, 1.6)),
        beard=_pick(rng, _BEARDS) if male and rng.random() < 0.55 else "none",
        glasses=_pick(rng, _GLASSES) if rng.random() < 0.16 + 0.16 * a.age else "none",
        hat=_pick(rng, {"none": 24, "cap": 1, "scarf": 0.2 + 1.5 * a.feminine, "beanie": 0.5, "band": 0.4}),
        make_up=make_up,
        freckles=float(rng.random()) if rng.random() < 0.2 * (1 - tone) else 0.0,
        light=_sample_light(tone, rng),
    )


def _short_styles(age: float) -> dict[str, float]:
    styles = {"side": 4, "short": 4, "buzz": 1.5, "fringe": 0.8, "curly": 0.8, "long": 0.3}
    return styles | {"bald": 0.5 + 1.5 * age, "receding": 0.4 + 3 * age}


def _sample_skin(tone: float, rng: np.random.Generator) -> Rgb:
    place = tone * (len(_SKIN) - 1.001)
    base, part = int(place), place % 1
    skin = _SKIN[base] * (1 - part) + _SKIN[base + 1] * part
    return np.asarray((skin * (1 + 0.025 * rng.standard_normal(3).clip(-2, 2))).clip(20, 248))


def _sample_hair(kind: str, age: float, rng: np.random.Generator) -> Rgb:
    hair = np.array(_HAIR[kind]) * rng.uniform(0.85, 1.15)
    grey = min(max((age - 0.45) * 1.6 + 0.3 * rng.standard_normal(), 0.0), 1.0) if age > 0.3 else 0.0
    return np.asarray((hair + grey * (_GREY * rng.uniform(0.75, 1.2) - hair)).clip(8, 235))


def _sample_light(tone: float, rng: np.random.Generator) -> Light:
    """Key and ambient light; a camera exposes a darker face a little longer."""
    azimuth, elevation = rng.normal(0, 0.7), rng.normal(0.5, 0.35)
    direction = np.array([np.sin(azimuth), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation) + 0.3])
    hardness, warmth = rng.uniform(0.3, 1.0), rng.normal(0.03, 0.06)
    return Light(
        direction=direction / np.linalg.norm(direction),
        key=hardness * np.array([1 + warmth, 1.0, 1 - warmth]),
        ambient=(1.1 - 0.8 * hardness) * np.array([1 - 0.5 * warmth, 1.0, 1 + 0.5 * warmth]),
        exposure=float(np.exp(min(rng.normal(-0.06, 0.13), 0.14))) * (1 + 0.3 * tone),
        gloss=float(rng.gamma(1.6, 22.0)),
    )
