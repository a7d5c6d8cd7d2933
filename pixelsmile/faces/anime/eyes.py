"""Eyes: lids that open and close continuously, iris, highlights and lashes."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from pixelsmile.faces.anime.actions import Weights
from pixelsmile.faces.anime.canvas import Canvas
from pixelsmile.faces.anime.curves import bezier, ellipse, moved
from pixelsmile.faces.anime.identity import Identity
from pixelsmile.faces.anime.palette import INK, WHITE, blend, shade, shift

_U = np.linspace(-1.0, 1.0, 25)
"""Position along the lid, from the inner to the outer corner."""


@dataclass(frozen=True)
class Lids:
    """Lid curves of one eye in head units, inner to outer corner, (25, 2) each."""

    upper: np.ndarray
    lower: np.ndarray

    @property
    def opening(self) -> float:
        """Largest height between the lids."""
        return float((self.lower[:, 1] - self.upper[:, 1]).max())


def lids(who: Identity, weights: Weights, side: int) -> Lids:
    """Return the lid curves of one eye; `side` is 1 on the right of the image."""
    eye = who.eye
    wide, squint = weights.side("eyeWide", side), weights.side("eyeSquint", side)
    blink = min(weights.side("eyeBlink", side), 1.0)
    arc = min(weights.get("eyeArcHappy"), 1.0)
    corners = 7 - eye.tilt * (_U + 1) / 2
    dome = (1 - np.abs(_U) ** eye.round) ** 0.72
    bowl = (1 - np.abs(_U) ** 2.6) ** 0.80
    upper = corners - (eye.top + 13 * wide) * dome
    lower = corners + (eye.bottom + 9 * wide) * bowl
    # Glaring presses the lid down towards the nose, drooping towards the temple.
    glare, droop = min(weights.get("eyeGlare"), 1.3), min(weights.get("eyeDroop"), 1.3)
    upper += eye.top * dome * (0.62 * glare * (0.5 - 0.5 * _U) + 0.62 * droop * (0.5 + 0.5 * _U))
    lower -= eye.bottom * bowl * 0.62 * min(squint, 1.3)
    upper += eye.top * dome * 0.18 * min(squint, 1.3)
    upper = np.minimum(upper, lower - 1.0 * bowl)
    closed = corners + 0.80 * eye.bottom * bowl
    arch = corners + 10 - 40 * (1 - np.abs(_U) ** 1.9)
    upper = upper + (np.minimum(closed, lower) - upper) * blink
    lower = lower + (closed - lower) * blink
    upper, lower = upper + (arch - upper) * arc, lower + (arch - lower) * arc
    x = side * (eye.x + eye.width * _U)
    y = eye.y
    return Lids(np.stack([x, y + upper], axis=1), np.stack([x, y + lower], axis=1))


def eye_centre(who: Identity, side: int) -> tuple[float, float]:
    """Return the resting centre of an eye."""
    return side * who.eye.x, who.eye.y + (who.eye.bottom - who.eye.top) / 2


def draw_eyes(canvas: Canvas, who: Identity, weights: Weights) -> None:
    """Draw both eyes."""
    for side in (-1, 1):
        shape = lids(who, weights, side)
        opening = np.concatenate([shape.upper, shape.lower[::-1]])
        clip = canvas.mask(opening)
        if shape.opening > 0.5:
            canvas.fill(opening, (252, 250, 252))
            _draw_iris(canvas, who, weights, side, clip)
            lid_shadow = np.concatenate([shape.upper, moved(shape.upper, 0, 11)[::-1]])
            canvas.fill(lid_shadow, (120, 110, 160), alpha=0.38, clip=clip)
        _draw_lashes(canvas, who, weights, shape, side)


def _draw_iris(
    canvas: Canvas, who: Identity, weights: Weights, side: int, clip: Image.Image
) -> None:
    eye, color = who.eye, who.eye_color
    size = eye.iris * (1 - 0.36 * weights.get("pupilShrink", high=1.3))
    gaze_x = weights.get("gazeX", low=-1.3, high=1.3)
    gaze_y = weights.get("gazeY", low=-1.3, high=1.3)
    rx, ry = 30.0 * size, 0.53 * (eye.top + eye.bottom) * size
    ry = min(ry, 1.38 * rx)
    x, y = eye_centre(who, side)
    x, y = x - side * 3 + 15 * gaze_x, y + 13 * gaze_y + 1
    dark = blend(shift(color, saturation=1.1, value=0.45), INK, 0.35)
    canvas.fill(ellipse(x, y, rx + 3, ry + 3), dark, clip=clip)
    canvas.gradient(
        ellipse(x, y, rx - 1.5, ry - 1.5),
        shift(color, value=0.62),
        blend(shift(color, value=1.2), WHITE, 0.28),
        clip=clip,
    )
    canvas.fill(ellipse(x, y - 1, rx * 0.44, ry * 0.46), dark, clip=clip)
    glow = ellipse(x, y + 0.62 * ry, rx * 0.56, ry * 0.22)
    canvas.fill(glow, blend(color, WHITE, 0.65), alpha=0.75, clip=clip)
    shine = 1 + 0.28 * weights.get("eyeGleam") + 0.15 * weights.get("tears")
    big = ellipse(x - 0.36 * rx, y - 0.44 * ry, rx * 0.30 * shine, ry * 0.26 * shine, angle=-20)
    canvas.fill(big, WHITE, clip=clip)
    canvas.fill(ellipse(x + 0.42 * rx, y + 0.36 * ry, 4.6 * shine * size, 5 * shine * size), WHITE,
                clip=clip)  # fmt: skip


def _draw_lashes(canvas: Canvas, who: Identity, weights: Weights, shape: Lids, side: int) -> None:
    lash = blend(INK, shade(who.hair), 0.15)
    soft = blend(shade(who.skin), INK, 0.55)
    out = (_U + 1) / 2
    tip = moved(shape.upper[-1], side * 8, -5)
    upper = np.concatenate([shape.upper, [tip]])
    width = np.append(6.5 + 6.5 * np.sin(np.pi * out**0.8) ** 0.8 + 3 * out, 1.5)
    # Lower lash: only its outer half is inked; it merges with the upper lid on closing.
    lower = shape.lower[9:]
    canvas.stroke(lower, soft, np.linspace(2.0, 5.0, len(lower)))
    canvas.stroke(shape.lower[:10], soft, np.linspace(3.0, 2.0, 10), alpha=0.55)
    closing = max(min(weights.get("eyeArcHappy"), 1.0), min(weights.side("eyeBlink", side), 1.0))
    crease = moved(shape.upper[4:22], 0, -13)
    canvas.stroke(crease, soft, 2.8, alpha=0.65 * (1 - closing) + 0.2)
    canvas.stroke(upper, lash, width)
    corner = shape.upper[-2]
    flick = bezier(corner, moved(corner, side * 9, 3), moved(corner, side * 15, -4))
    canvas.stroke(flick, lash, np.linspace(6.0, 1.0, len(flick)))
