"""Who a character is: everything that the seed decides and no expression changes."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from pixelsmile.faces.anime import palette
from pixelsmile.faces.anime.palette import Color

BANGS: Final = (
    "blunt", "spiky", "curtain", "swept", "long_middle", "short", "open", "arch", "diagonal",
    "claws",
)  # fmt: skip
BACKS: Final = (
    "bob", "long", "twintails", "ponytail", "spikes", "wavy", "braids", "buns", "cropped",
)  # fmt: skip
LOCKS: Final = ("none", "short", "chin", "long", "curl")
CLOTHES: Final = ("sailor", "shirt", "turtleneck", "hoodie", "tee", "blazer")
EXTRAS: Final = ("clip", "ribbon", "ahoge", "freckles", "mole", "earrings", "band")


@dataclass(frozen=True)
class Eye:
    """Shape of the eyes in head units.

    Attributes:
        x: Distance of the centre from the middle of the face.
        y: Height of the centre.
        width: Half width.
        top: Opening above the corners.
        bottom: Opening below the corners.
        tilt: How far the outer corner lies above the inner one.
        round: Exponent of the lid; higher is boxier.
        iris: Size of the iris, 1 is the usual one.
    """

    x: float
    y: float
    width: float
    top: float
    bottom: float
    tilt: float
    round: float
    iris: float


@dataclass(frozen=True)
class Brow:
    """Shape of the brows in head units: height, half length, thickness, arch and slope."""

    y: float
    length: float
    thick: float
    arch: float
    slope: float


@dataclass(frozen=True)
class Identity:
    """One character."""

    hair: Color
    eye_color: Color
    skin: Color
    cloth: Color
    trim: Color
    background: tuple[Color, Color]
    bangs: str
    back: str
    locks: str
    clothes: str
    extras: frozenset[str]
    glasses: str
    mirror: float
    face_width: float
    jaw: float
    chin: float
    eye: Eye
    brow: Brow
    mouth_width: float
    mouth_y: float
    nose: int
    blush: float
    tilt: float
    offset: tuple[float, float]
    zoom: float


_EYE_KINDS: Final = {
    "round": (44.0, 44.0, 32.0, 2.0, 2.4),
    "sharp": (46.0, 40.0, 26.0, 14.0, 2.0),
    "droopy": (45.0, 42.0, 30.0, -9.0, 2.2),
    "cool": (47.0, 33.0, 24.0, 8.0, 2.1),
    "tall": (40.0, 50.0, 34.0, 4.0, 2.8),
}
"""Half width, top, bottom, tilt, round of each kind."""


def _pick(rng: np.random.Generator, options: tuple) -> object:
    return options[int(rng.integers(len(options)))]


def _sample_eye(rng: np.random.Generator) -> Eye:
    width, top, bottom, tilt, boxy = _EYE_KINDS[str(_pick(rng, tuple(_EYE_KINDS)))]
    size = rng.uniform(0.93, 1.06)
    return Eye(
        x=rng.uniform(59, 67),
        y=rng.uniform(16, 28),
        width=width * size,
        top=top * size,
        bottom=bottom * size,
        tilt=tilt + rng.uniform(-2, 2),
        round=boxy,
        iris=rng.uniform(0.92, 1.08),
    )


def _sample_brow(rng: np.random.Generator) -> Brow:
    return Brow(
        y=rng.uniform(-56, -46),
        length=rng.uniform(33, 42),
        thick=rng.uniform(10.0, 15.0),
        arch=rng.uniform(3, 12),
        slope=rng.uniform(-3, 5),
    )


def _sample_hair(rng: np.random.Generator) -> Color:
    base = palette.HAIR[int(rng.integers(len(palette.HAIR)))]
    return palette.shift(
        base, hue=rng.uniform(-0.02, 0.02), saturation=rng.uniform(0.85, 1.1),
        value=rng.uniform(0.92, 1.05),
    )  # fmt: skip


@lru_cache(maxsize=64)
def sample_identity(seed: int) -> Identity:
    """Draw a character from a seed; the expression has no part in it.

    Raises:
        ValueError: If the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"Seed {seed} is negative: give a seed from 0 up.")
    rng = np.random.default_rng(seed)
    backdrop = palette.BACKGROUNDS[int(rng.integers(len(palette.BACKGROUNDS)))]
    return Identity(
        hair=_sample_hair(rng),
        eye_color=palette.EYES[int(rng.integers(len(palette.EYES)))],
        skin=palette.SKIN[
            int(rng.choice(len(palette.SKIN), p=(0.3, 0.25, 0.18, 0.12, 0.09, 0.06)))
        ],
        cloth=palette.CLOTHES[int(rng.integers(len(palette.CLOTHES)))],
        trim=palette.CLOTHES[int(rng.integers(len(palette.CLOTHES)))],
        background=(palette.blend(backdrop, palette.WHITE, rng.uniform(0.2, 0.6)), backdrop),
        bangs=str(_pick(rng, BANGS)),
        back=str(_pick(rng, BACKS)),
        locks=str(_pick(rng, LOCKS)),
        clothes=str(_pick(rng, CLOTHES)),
        extras=frozenset(name for name in EXTRAS if rng.random() < 0.18),
        glasses=str(rng.choice(("none", "round", "square"), p=(0.84, 0.08, 0.08))),
        mirror=float(rng.choice((-1.0, 1.0))),
        face_width=rng.uniform(118, 134),
        jaw=rng.uniform(0.0, 1.0),
        chin=rng.uniform(146, 164),
        eye=_sample_eye(rng),
        brow=_sample_brow(rng),
        mouth_width=rng.uniform(30, 40),
        mouth_y=rng.uniform(97, 104),
        nose=int(rng.integers(3)),
        blush=rng.uniform(0.0, 0.25),
        tilt=rng.uniform(-5, 5),
        offset=(rng.uniform(-9, 9), rng.uniform(-6, 8)),
        zoom=rng.uniform(1.08, 1.20),
    )
