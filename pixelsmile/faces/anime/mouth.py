"""Mouth: one line that bends, waves and opens, with teeth and tongue inside."""

from dataclasses import dataclass

import numpy as np

from pixelsmile.faces.anime.actions import Weights
from pixelsmile.faces.anime.canvas import Canvas
from pixelsmile.faces.anime.curves import bezier, catmull_rom, ellipse, moved
from pixelsmile.faces.anime.identity import Identity
from pixelsmile.faces.anime.palette import INK, blend, shade

_T = np.linspace(-1.0, 1.0, 41)
_LIP = (146, 52, 62)
_INSIDE = (132, 40, 52)
_TONGUE = (240, 128, 132)


@dataclass(frozen=True)
class Lips:
    """Upper and lower edge of the mouth in head units, left to right, (41, 2) each."""

    upper: np.ndarray
    lower: np.ndarray

    @property
    def corners(self) -> np.ndarray:
        """The two mouth corners, left of the image first."""
        return np.stack([self.upper[0], self.upper[-1]])


def _drop(who: Identity, drop: float) -> float:
    """Return how far the lower lip falls; it slows down smoothly above the chin."""
    room = who.chin - 16 - who.mouth_y
    return drop / (1 + (drop / room) ** 4) ** 0.25


def lips(who: Identity, weights: Weights) -> Lips:
    """Return the edges of the mouth."""
    smile, frown = weights.get("mouthSmile"), weights.get("mouthFrown")
    stretch, pucker = weights.get("mouthStretch"), min(weights.get("mouthPucker"), 1.2)
    jaw, lift = weights.get("jawOpen"), weights.get("mouthUpperUp")
    clench = weights.get("mouthClench")
    half = who.mouth_width * (1 + 0.40 * stretch + 0.34 * smile - 0.50 * pucker)
    x = half * _T
    line = (-2 - 17 * smile + 19 * frown) * (_T**2 - 0.35)
    ripple = 6.5 * weights.get("mouthWave") * (1 - 0.3 * _T**2)
    line += ripple * np.sin(2.5 * np.pi * _T) / (1 + jaw)
    smirk_left, smirk_right = weights.get("mouthSmirkLeft"), weights.get("mouthSmirkRight")
    line -= 25 * smirk_left * ((1 + _T) / 2) ** 2 - 5 * smirk_left
    line -= 25 * smirk_right * ((1 - _T) / 2) ** 2 - 5 * smirk_right
    x = x + 10 * smirk_left * ((1 + _T) / 2) - 10 * smirk_right * ((1 - _T) / 2)
    # A wavy mouth opens like a box, any other one like a bow.
    wave = min(weights.get("mouthWave"), 1.0)
    bulge = np.sqrt(1 - np.abs(_T) ** (2 + 3 * wave))
    box = (1 - _T**6) ** 0.5
    upper = (
        line
        - jaw * (5 + 20 * pucker) * bulge
        - lift * (8 + 5 * np.cos(1.6 * np.pi * (_T - 0.25))) * box
    )
    lower = (
        line - 0.4 * ripple * np.sin(2.5 * np.pi * _T) + _drop(who, jaw * (40 - 8 * pucker)) * bulge
    )
    lower += 3 * lift * box
    upper, lower = upper - 11 * clench * box, lower + 11 * clench * box
    centre = (12 * weights.get("mouthShift", low=-1.5), who.mouth_y)
    top, bottom = np.stack([x, upper], axis=1), np.stack([x, lower], axis=1)
    return Lips(moved(top, *centre), moved(bottom, *centre))


def draw_mouth(canvas: Canvas, who: Identity, weights: Weights) -> None:
    """Draw the mouth, its inside and a tongue that is stuck out."""
    shape = lips(who, weights)
    ring = np.concatenate([shape.upper, shape.lower[::-1]])
    height = float((shape.lower[:, 1] - shape.upper[:, 1]).max())
    if height > 0.5:
        canvas.fill(ring, _INSIDE)
        _draw_inside(canvas, weights, shape, ring, height)
    ink = blend(INK, _LIP, 0.25)
    t = np.abs(_T)
    width = 7.0 - 2.0 * t**3
    canvas.stroke(shape.lower, ink, width * min(height / 6, 1.0))
    if weights.get("tongueOut") > 0.0:
        _draw_tongue_out(canvas, weights, shape)
    canvas.stroke(shape.upper, ink, width)
    _draw_corners(canvas, who, weights, shape)


def _draw_inside(
    canvas: Canvas, weights: Weights, shape: Lips, ring: np.ndarray, height: float
) -> None:
    clip = canvas.mask(ring)
    x, bottom = float(shape.lower[20, 0]), float(shape.lower[:, 1].max())
    half = float(shape.lower[-1, 0] - shape.lower[0, 0]) / 2
    clench = min(weights.get("mouthClench"), 1.0)
    canvas.fill(ellipse(x, bottom, 0.62 * half, 0.38 * height), _TONGUE, clip=clip)
    # Round and trembling mouths hide the teeth; wide ones show a band of them.
    hidden = max(weights.get("mouthPucker"), weights.get("mouthWave"))
    band = 0.28 * height * (1 - min(hidden, 1.0))
    teeth = np.concatenate([shape.upper, moved(shape.upper, 0, band)[::-1]])
    canvas.fill(teeth, (255, 252, 250), clip=clip)
    if clench > 0.0:
        canvas.fill(ring, (255, 252, 250), alpha=clench)
        middle = (shape.upper + shape.lower) / 2
        grey = (120, 90, 110)
        canvas.stroke(middle, grey, 4.0, alpha=clench, clip=clip)
        for i in (8, 14, 20, 26, 32):
            canvas.stroke([shape.upper[i], shape.lower[i]], grey, 3.2, alpha=clench, clip=clip)


def _draw_tongue_out(canvas: Canvas, weights: Weights, shape: Lips) -> None:
    out = min(weights.get("tongueOut"), 1.4)
    x, y = float(shape.lower[22, 0]), float(shape.lower[22, 1]) - 4
    half, length = 17 * min(0.6 + 0.4 * out, 1.1), 26 * out
    tongue = catmull_rom(
        [(x - half, y), (x - 0.9 * half, y + 0.7 * length), (x, y + length),
         (x + 0.9 * half, y + 0.7 * length), (x + half, y)],
    )  # fmt: skip
    strength = min(out / 0.3, 1.0)
    canvas.fill(tongue, _TONGUE, alpha=strength)
    canvas.stroke(tongue, blend(INK, _LIP, 0.4), 4.5, alpha=strength)
    canvas.stroke([(x, y + 2), (x, y + 0.6 * length)], (196, 84, 96), 3.5, alpha=strength)


def _draw_corners(canvas: Canvas, who: Identity, weights: Weights, shape: Lips) -> None:
    soft = blend(shade(who.skin), INK, 0.55)
    for side, name in ((-1, "mouthSmirkRight"), (1, "mouthSmirkLeft")):
        depth = min(max(weights.get(name), 0.55 * weights.get("mouthSmile")), 1.2)
        if depth <= 0.0:
            continue
        x, y = shape.corners[(side + 1) // 2]
        fold = bezier(
            (x + side * 2, y - 9 * depth), (x + side * 9 * depth, y), (x + side * 2, y + 8 * depth)
        )
        canvas.stroke(fold, soft, 4.0, alpha=min(depth, 1.0))
    if weights.get("mouthFrown") > 0.0:
        x, y = float(shape.lower[20, 0]), float(shape.lower[20, 1])
        canvas.stroke(bezier((x - 9, y + 15), (x, y + 12), (x + 9, y + 15)), soft, 3.5,
                      alpha=0.7 * min(weights.get("mouthFrown"), 1.0))  # fmt: skip
