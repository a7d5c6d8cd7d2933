"""Albedo, gloss and relief of everything visible."""

from dataclasses import dataclass

import numpy as np

from pixelsmile.faces.human.fields import bell, linear, noise, smooth_step
from pixelsmile.faces.human.fragments import Fragments, normalised
from pixelsmile.faces.human.hair import CURTAIN_HEIGHT
from pixelsmile.faces.human.identity import Person
from pixelsmile.faces.human.pack import EYE, HAIR, LOWER_TEETH, TONGUE, UPPER_TEETH
from pixelsmile.faces.human.pose import Pose
from pixelsmile.faces.human.skin import Paint
from pixelsmile.faces.human.wrinkles import Creases

STEEPEST = 1.1
"""Largest slope that relief may add."""

IRIS, PUPIL, PUPIL_WIDENED = 0.505, 0.185, -0.02
"""Angles from the axis of the eye, radians."""


@dataclass(frozen=True)
class Surface:
    """What light meets at P samples.

    Attributes:
        albedo: (3, P), linear.
        gloss: (P,), strength of the highlight.
        sharpness: (P,), exponent of the highlight.
        normal: (3, P), unit, with relief.
        hair: Which samples are hair; `strands` is the noise of its strands there.
        strands: (number of hair samples,).
        eye: Which samples are eyeball.
    """

    albedo: np.ndarray
    gloss: np.ndarray
    sharpness: np.ndarray
    normal: np.ndarray
    hair: np.ndarray
    strands: np.ndarray
    eye: np.ndarray


def describe(
    person: Person, pose: Pose, actions: dict[str, float], seen: Fragments, scale: float, size: int
) -> Surface:
    """Paint every sample; `scale` is pixels per dm, `size` the width of the view in pixels."""
    count = len(seen.pixel)
    albedo = np.full((3, count), 0.012, np.float32)  # the lashes keep this
    gloss = np.full(count, 0.02, np.float32)
    sharpness = np.full(count, 22, np.float32)
    paint = Paint(person, pose, seen).build()
    albedo[:, seen.skin] = paint.colour
    gloss[seen.skin], sharpness[seen.skin] = paint.gloss, paint.sharpness
    hair, eye = np.flatnonzero(seen.part == HAIR), np.flatnonzero(seen.part == EYE)
    strands = _strands(person, np.take(seen.canonical, hair, axis=1))
    shade = np.clip(1 + 0.30 * strands, 0.35, 1.9)
    albedo[:, hair] = linear(person.hair_colour)[:, None] * shade
    albedo[:, eye] = _eyeball(person, np.take(seen.canonical, eye, axis=1), actions["eyeWideLeft"])
    gloss[eye] = 0
    tongue = np.flatnonzero(seen.part == TONGUE)
    depth = np.clip((seen.canonical[2, tongue] - 0.65) / 0.7, 0.12, 1)
    albedo[:, tongue] = np.array([[0.42], [0.12], [0.12]], np.float32) * depth
    gloss[tongue] = 0.3
    for row, gum_starts, gum_ends in ((UPPER_TEETH, 6.73, 6.78), (LOWER_TEETH, 6.52, 6.47)):
        teeth = np.flatnonzero(seen.part == row)
        albedo[:, teeth] = _teeth(np.take(seen.canonical, teeth, axis=1), gum_starts, gum_ends)
        gloss[teeth], sharpness[teeth] = 0.55, 60
    relief = np.zeros(count, np.float32)
    relief[seen.skin] = _skin_relief(person, actions, paint, seen)
    relief[hair] = strands * np.float32(0.03 if person.hair == "afro" else 0.012)
    normal = _bend(seen, relief, scale, size)
    return Surface(albedo, gloss, sharpness, normal, hair, strands, eye)


def _strands(person: Person, canonical: np.ndarray) -> np.ndarray:
    x, y, z = canonical
    around = np.arctan2(x, z - np.float32(0.4))
    if person.hair == "afro":
        return noise("grain", around * 2.4, (y + z) * 1.6)
    wavy = around * 1.1 + 0.03 * noise("cloud", around, y * 0.6)
    sides = noise("dust", wavy, (y + z) * 0.03)
    wavy = x * 0.8 + 0.05 * noise("cloud", x, z * 0.5)
    top = noise("dust", wavy, (z + y) * 0.035)
    curtain = noise("dust", x * 0.9, y * 0.02)
    return np.where(y > CURTAIN_HEIGHT - 5, curtain, np.where(y < 7.7, sides, top))


def _eyeball(person: Person, canonical: np.ndarray, widened: float) -> np.ndarray:
    """White, iris and pupil on the unit sphere."""
    x, y, z = canonical
    angle = np.arccos(np.clip(z / np.sqrt(x * x + y * y + z * z), -1, 1))
    around = np.arctan2(y, x)
    white = np.array([[0.78], [0.74], [0.71]], np.float32)
    veins = np.array([[0.25], [0.8], [0.8]], np.float32)
    white = white * (1 - 0.35 * smooth_step(0.75, 1.25, angle) * veins)
    fibres = 1.15 + 0.25 * noise("dust", around * 0.9, angle * 0.25)
    iris = linear(person.eye_colour)[:, None] * (fibres * (1 + 0.55 * bell(angle - 0.24, 0.07)))
    iris = iris * (1 - 0.72 * smooth_step(0.42, 0.50, angle))
    pupil = PUPIL + PUPIL_WIDENED * widened
    iris = iris * smooth_step(pupil - 0.025, pupil + 0.025, angle)
    cover = smooth_step(IRIS + 0.025, IRIS - 0.025, angle)
    return white * (1 - cover) + np.clip(iris, 0, 1) * cover


def _teeth(canonical: np.ndarray, gum_starts: float, gum_ends: float) -> np.ndarray:
    x, y, z = canonical
    gum = smooth_step(gum_starts, gum_ends, y)
    gaps = np.abs(np.sin(np.arctan2(x, z - 1) * 8.5)) ** np.float32(0.35)
    enamel = np.array([[1.25], [1.18], [1.02]], np.float32) * np.clip(gaps, 0.45, 1)
    flesh = np.array([[0.45], [0.14], [0.14]], np.float32)
    return (enamel * (1 - gum) + flesh * gum) * np.clip((z - 0.95) / 0.40, 0.10, 1)


def _skin_relief(
    person: Person, actions: dict[str, float], paint: Paint, seen: Fragments
) -> np.ndarray:
    """Heights in dm: expression lines, pores and the grooves of the lips."""
    outside = np.flatnonzero(paint.mouth < 0.3)
    height = np.zeros(len(seen.skin), np.float32)
    creases = Creases(np.take(seen.canonical, seen.skin[outside], axis=1), actions, person.wrinkles)
    height[outside] = creases.height()
    pores = noise("grain", paint.around * 1.3, paint.y * 0.9) * (1 - paint.lips)
    height += np.float32(0.0010) * pores * (paint.mouth < 0.3)
    lips = np.flatnonzero(paint.lips > 0.3)
    x, y = paint.x[lips], paint.y[lips]
    height[lips] += 0.004 * np.sin(x * 190 + 3 * noise("cloud", x, y)) * paint.lips[lips]
    return height


def _bend(seen: Fragments, relief: np.ndarray, scale: float, size: int) -> np.ndarray:
    """Tilt the normals by the slope of the relief, except across the border of two materials."""
    height = np.zeros(size * size, np.float32)
    height[seen.pixel] = relief
    down, right = np.gradient(height.reshape(size, size))
    part = np.full(size * size, 255, np.uint8)
    part[seen.pixel] = seen.part
    part = part.reshape(size, size)
    uniform = np.ones((size, size), bool)
    for first, second in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        same = part[first] == part[second]
        uniform[first] &= same
        uniform[second] &= same
    strength = uniform.ravel()[seen.pixel] * (seen.normal[2] > 0.15) * np.float32(scale)
    normal = seen.normal.copy()
    for axis, slope in ((0, -right), (1, down)):
        normal[axis] += np.clip(slope.ravel()[seen.pixel] * strength, -STEEPEST, STEEPEST)
    return normalised(normal)
