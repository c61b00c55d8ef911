"""Shape and expression of one face, and its 68 landmarks in the face frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Anatomy:
    """Lengths in face units (see the package docstring), angles in radians."""

    feminine: float  # 0 .. 1, correlates jaw, brows, lips, hair and beard
    age: float  # 0 young .. 1 old
    fullness: float  # -1 lean .. 1 full cheeks
    eye_offset: float
    eye_width: float
    upper_lid: float
    lower_lid: float
    eye_tilt: float
    gaze: tuple[float, float]
    iris_radius: float
    brow_height: float
    brow_arch: float
    brow_slope: float
    brow_length: float
    brow_thickness: float
    nose_length: float
    nose_width: float
    mouth_height: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    smile: float
    mouth_open: float
    cheek_width: float
    jaw_squareness: float
    jaw_taper: float
    chin: float
    skull_top: float
    skew: NDArray[np.float64]  # (8,) small asymmetries

    @property
    def chin_height(self) -> float:
        """Height (y) of the chin, lowered by an open mouth."""
        return self.chin + 0.75 * self.mouth_open


def sample_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw one face's proportions."""
    deviates = iter(rng.standard_normal(40).clip(-2.2, 2.2).tolist())

    def normal(mean: float, deviation: float) -> float:
        return mean + deviation * float(next(deviates))

    feminine = float(rng.beta(0.6, 0.8))
    age = float(rng.beta(1.3, 1.7))
    fullness = normal(0.0, 0.45)
    happy = rng.random() < 0.5
    smile = rng.uniform(0.35, 1.0) if happy else normal(0.16, 0.14)
    parted = rng.random() < (0.75 if happy else 0.35)
    mouth_open = 0.6 + float(rng.gamma(2.2, 1.3)) if parted else 0.0
    upper_lid = normal(3.9, 0.55) - 0.5 * max(smile, 0) - 0.3 * age
    lower_lid = normal(2.3, 0.3) - 0.6 * max(smile, 0)
    if rng.random() < 0.04:  # eyes nearly shut
        upper_lid, lower_lid = 0.2, 1.2
    return Anatomy(
        feminine=feminine,
        age=age,
        fullness=fullness,
        eye_offset=normal(21.0, 0.9),
        eye_width=normal(9.2, 0.5) + 0.3 * feminine,
        upper_lid=max(upper_lid, 0.2) + 0.35 * feminine,
        lower_lid=max(lower_lid, 1.0),
        eye_tilt=normal(0.05, 0.05),
        gaze=(normal(0, 1.1), normal(0.0, 0.35)),
        iris_radius=normal(4.05, 0.15),
        brow_height=normal(9.6, 1.2) + 1.0 * feminine,
        brow_arch=normal(1.8, 0.7) + 1.0 * feminine,
        brow_slope=normal(0.2, 1.1),
        brow_length=normal(23.5, 1.3),
        brow_thickness=normal(3.7, 0.6) - 1.2 * feminine,
        nose_length=normal(28.3, 1.5) + 1.0 * age,
        nose_width=normal(11.2, 1.0) - 1.1 * feminine,
        mouth_height=normal(45.0, 1.4),
        mouth_width=normal(16.0, 1.2) + 3.5 * max(smile, 0) - 0.25 * mouth_open,
        upper_lip=max(normal(2.9, 0.7) + 0.5 * feminine - 0.7 * max(smile, 0) - 0.5 * age, 1.0),
        lower_lip=max(normal(4.3, 0.8) + 0.5 * feminine - 0.7 * max(smile, 0) - 0.5 * age, 1.6),
        smile=float(smile),
        mouth_open=min(mouth_open, 9.0),
        cheek_width=normal(43.5, 1.4) + 1.6 * fullness - 1.2 * feminine,
        jaw_squareness=normal(2.3, 0.15) - 0.15 * feminine + 0.12 * fullness,
        jaw_taper=min(max(normal(0.12, 0.04) + 0.04 * feminine - 0.05 * fullness, 0.0), 0.2),
        chin=normal(71.5, 1.8) - 1.5 * feminine,
        skull_top=normal(-69.0, 3.0),
        skew=rng.standard_normal(8).clip(-2, 2),
    )


_TEMPLE = -6.0  # where the jaw line ends and the skull begins


def jaw_line(a: Anatomy, angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points of the face contour; angle -pi/2 is the image-left temple, 0 the chin, pi/2 the right temple."""
    power = 2.0 / a.jaw_squareness
    down = np.abs(np.cos(angles)) ** power
    out = np.abs(np.sin(angles)) ** power * np.sign(np.sin(angles))
    width = a.cheek_width * (1.0 - a.jaw_taper * down**2)
    return np.stack([width * out, _TEMPLE + (a.chin_height - _TEMPLE) * down], axis=-1)


def skull_line(a: Anatomy, grow: float, low: float = _TEMPLE, samples: int = 40) -> NDArray[np.float64]:
    """Outline of the skull, image-left to -right, ``grow`` units outside the skin, ending at y = ``low``."""
    height = a.skull_top - grow - _TEMPLE
    cut = max((low - _TEMPLE) / height, 0.0) ** (1 / 0.72)
    reach = np.arccos(min(cut, 1.0))
    t = np.linspace(-reach, reach, samples)
    out = np.sin(t)
    x = (a.cheek_width + 0.6 * grow) * np.sign(out) * np.abs(out) ** 0.7
    line = np.stack([x, _TEMPLE + height * np.abs(np.cos(t)) ** 0.72], axis=-1)
    if low > _TEMPLE:  # straight down
        line = np.concatenate([[(x[0], low)], line, [(x[-1], low)]])
    return line


def landmarks(a: Anatomy) -> NDArray[np.float64]:
    """The iBUG 68 points (68, 2) in the face frame, in the usual order."""
    p = np.empty((68, 2))
    p[0:17] = jaw_line(a, np.linspace(-np.pi / 2, np.pi / 2, 17))

    t = np.linspace(0.0, 1.0, 5)  # outer end to inner end
    for side, index in ((-1, slice(17, 22)), (1, slice(26, 21, -1))):
        inner = a.eye_offset - 0.58 * a.brow_length
        x = inner + (1 - t) * a.brow_length
        y = -a.brow_height - a.brow_arch * np.sin(np.pi * (0.05 + 0.75 * (1 - t))) + a.brow_slope * (0.5 - t)
        p[index] = np.stack([side * x, y + 0.35 * side * a.skew[0] + 0.8 * (t - 1) ** 2], axis=-1)

    p[27:31] = np.stack(
        [0.25 * a.skew[1] * np.linspace(0, 1, 4), np.linspace(1.0, a.nose_length - 5.5, 4)], axis=-1
    )
    fractions = np.array([-0.72, -0.38, 0.0, 0.38, 0.72])
    p[31:36] = np.stack(
        [fractions * a.nose_width + 0.25 * a.skew[1], a.nose_length + np.array([-0.8, 0.4, 1.2, 0.4, -0.8])],
        axis=-1,
    )

    for side, order in ((-1, (36, 37, 38, 39, 40, 41)), (1, (45, 44, 43, 42, 47, 46))):
        w = a.eye_width
        open_up = a.upper_lid * (1 + 0.05 * side * a.skew[2])
        outline = np.array(
            [[w, 0.0], [0.42 * w, -0.9 * open_up], [-0.3 * w, -0.94 * open_up], [-w, 0.7],
             [-0.32 * w, 0.85 * a.lower_lid], [0.4 * w, 0.9 * a.lower_lid]]
        )  # fmt: skip
        outline[:, 1] -= a.eye_tilt * outline[:, 0]
        outline[:, 0] += a.eye_offset
        outline[:, 0] *= side
        outline[:, 1] += 0.2 * side * a.skew[3]
        p[list(order)] = outline

    p[48:68] = _mouth(a)
    return p


def _mouth(a: Anatomy) -> NDArray[np.float64]:
    """Points 48..67."""
    w, y = a.mouth_width, a.mouth_height
    smile = 3.0 * a.smile
    gap_up, gap_down = (0.3 - 0.2 * max(a.smile, 0)) * a.mouth_open, 0.9 * a.mouth_open

    def lift(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return -smile * (np.abs(x) ** 1.7) + 0.6 * smile * 0.3

    up = np.array([-1, -0.58, -0.2, 0.0, 0.2, 0.58, 1.0])
    upper_out = lift(up) - np.array([0, 0.62, 1.06, 0.84, 1.06, 0.62, 0]) * a.upper_lip
    upper_out -= gap_up * (1 - np.abs(up) ** 2)
    low = np.array([0.6, 0.24, 0.0, -0.24, -0.6])
    lower_out = lift(low) + np.array([0.68, 0.98, 1.0, 0.98, 0.68]) * a.lower_lip
    lower_out += gap_down * (1 - np.abs(low) ** 2)
    inner_up = np.array([-0.9, -0.42, 0.0, 0.42, 0.9])
    upper_in = lift(inner_up) - gap_up * (1 - np.abs(inner_up) ** 2) + np.array([0, 0.1, 0.25, 0.1, 0])
    inner_low = np.array([0.42, 0.0, -0.42])
    lower_in = lift(inner_low) + gap_down * (1 - np.abs(inner_low) ** 2) + 0.25
    xs = np.concatenate([up, low, inner_up, inner_low]) * w
    ys = np.concatenate([upper_out, lower_out, upper_in, lower_in]) + y
    return np.stack([xs, ys + 0.012 * a.skew[4] * xs], axis=-1)
