"""Marks of emotion: blush, shade, sweat, tears, nose wrinkles, drool and the anger vein.

Size and opacity both grow from 0 with the weight, so nothing pops up at a threshold.
"""

import numpy as np
from PIL import Image

from pixelsmile.faces.anime.actions import Weights
from pixelsmile.faces.anime.canvas import Canvas
from pixelsmile.faces.anime.curves import bezier, catmull_rom, ellipse, moved
from pixelsmile.faces.anime.eyes import lids
from pixelsmile.faces.anime.identity import Identity
from pixelsmile.faces.anime.mouth import lips
from pixelsmile.faces.anime.palette import INK, WHITE, blend, shade

_BLUSH = (250, 104, 112)
_WATER = (150, 206, 246)
_WATER_LINE = (70, 120, 190)


def draw_on_skin(canvas: Canvas, who: Identity, weights: Weights, face: Image.Image) -> None:
    """Draw what lies under the eyes: pallor, green shade, blush and nose wrinkles."""
    _shade(canvas, who, weights.get("greenShade"), (112, 160, 84), face)
    _shade(canvas, who, weights.get("paleShade"), (104, 128, 206), face)
    _pale_lines(canvas, weights.get("paleShade"), face)
    _blush(canvas, who, weights.get("blush"), face)
    _wrinkles(canvas, who, weights.get("noseSneer"))


def _shade(
    canvas: Canvas, who: Identity, weight: float, color: tuple[int, int, int], face: Image.Image
) -> None:
    if weight <= 0.0:
        return
    w, bottom = who.face_width + 10, 30 + 62 * min(weight, 1.4)
    block = [(-w, -160), (w, -160), (w, bottom), (-w, bottom)]
    canvas.gradient(block, color, color, alpha=min(0.92 * weight, 0.95), clip=face, fade=0.0)


def _pale_lines(canvas: Canvas, weight: float, face: Image.Image) -> None:
    if weight <= 0.0:
        return
    reach = (6, 30, 10, 34, 18, 26, 14, 36, 8, 30, 6)
    for x, length in zip(np.linspace(-112, 112, len(reach)), reach, strict=True):
        line = [(x, -90), (x, -70 + (70 + length) * min(weight, 1.3))]
        canvas.stroke(line, (72, 86, 160), np.array([6.5, 2.0]), alpha=0.75 * min(weight, 1.0),
                      clip=face)  # fmt: skip


def _blush(canvas: Canvas, who: Identity, weight: float, face: Image.Image) -> None:
    total = who.blush + weight
    y = who.eye.y + who.eye.bottom + 20
    for side in (-1, 1):
        x = side * (who.eye.x + 14)
        for grow, share in ((1.0, 0.22), (0.82, 0.22), (0.62, 0.26)):
            spot = ellipse(x, y, (34 + 8 * weight) * grow, (17 + 5 * weight) * grow)
            canvas.fill(spot, _BLUSH, alpha=min(share * 1.5 * total, 0.6), clip=face)
        if weight > 0.0:
            for step in (-22, -8, 6, 20):
                tall = 12 * min(weight, 1.3)
                mark = [(x + step + 5, y - tall), (x + step - 4, y + tall)]
                canvas.stroke(mark, (214, 52, 72), 4.6, alpha=min(weight, 1.0) ** 1.5, clip=face)
    if weight > 0.0:
        canvas.fill(ellipse(0, y - 12, 46, 12), _BLUSH, alpha=min(0.34 * weight, 0.5), clip=face)


def _wrinkles(canvas: Canvas, who: Identity, weight: float) -> None:
    if weight <= 0.0:
        return
    color = blend(shade(who.skin), INK, 0.65)
    reach = min(weight, 1.3)
    for side in (-1, 1):
        for row, y in enumerate((34, 46, 58)):
            near, far = 3.0, 3 + (17 - 2 * row) * reach
            fold = bezier((side * near, y + 3), (side * 0.6 * far, y - 3), (side * far, y - 9))
            canvas.stroke(fold, color, 4.2, alpha=min(weight, 1.0))


def draw_tears(canvas: Canvas, who: Identity, weights: Weights) -> None:
    """Draw water along the lower lid and a stream that grows down each cheek."""
    weight = weights.get("tears")
    if weight <= 0.0:
        return
    alpha = min(1.4 * weight, 0.95)
    for side in (-1, 1):
        lower = lids(who, weights, side).lower
        pool = np.concatenate(
            [moved(lower[3:23], 0, -8 * min(weight, 1.0)), moved(lower[3:23], 0, 3)[::-1]]
        )
        canvas.fill(pool, blend(_WATER, WHITE, 0.35), alpha=alpha)
        x, y = moved(lower[15], 0, -2)
        length, half = 16 + 58 * weight, 4 + 6.5 * min(weight, 1.3)
        end = min(y + length, who.chin - 12)
        stream = catmull_rom(
            [(x - half * 0.6, y), (x - half * 0.8, (y + end) / 2), (x - half * 1.15, end - half),
             (x, end), (x + half * 1.15, end - half), (x + half * 0.8, (y + end) / 2),
             (x + half * 0.6, y)], closed=True,
        )  # fmt: skip
        canvas.fill(stream, _WATER_LINE, alpha=alpha)
        middle = stream.mean(axis=0)
        canvas.fill(
            (stream - middle) * (0.60, 0.93) + middle, blend(_WATER, WHITE, 0.3), alpha=alpha
        )
        canvas.fill(ellipse(x - 2, end - half - 2, 2.6, 4.5), WHITE, alpha=alpha)


def _drop(canvas: Canvas, x: float, y: float, size: float, lean: float, alpha: float) -> None:
    shape = np.array([(0, -1.5), (0.42, -0.55), (0.72, 0.15), (0.5, 0.72), (0, 0.92), (-0.5, 0.72),
                      (-0.72, 0.15), (-0.42, -0.55)])  # fmt: skip
    turn = np.deg2rad(lean)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    outline = catmull_rom(shape, closed=True) @ rotation
    canvas.fill(outline * (size * 1.16 + 1.0) + (x, y), _WATER_LINE, alpha=alpha)
    canvas.fill(outline * size * 0.88 + (x, y), _WATER, alpha=alpha)
    shine = ellipse(x - 0.22 * size, y + 0.1 * size, 0.17 * size, 0.32 * size)
    canvas.fill(shine, WHITE, alpha=alpha)


def draw_over_hair(canvas: Canvas, who: Identity, weights: Weights) -> None:
    """Draw sweat, drool and the anger vein, which stay visible over bangs and locks."""
    sweat = weights.get("sweat")
    if sweat > 0.0:
        size, alpha = min(sweat, 1.35), min(1.6 * sweat, 1.0)
        edge = who.face_width
        _drop(canvas, 0.80 * edge, -64, 25 * size, -10, alpha)
        _drop(canvas, -0.84 * edge, 78, 20 * size, 6, alpha)
        _drop(canvas, 0.84 * edge, 92, 14 * size, -6, alpha)
    drool = weights.get("drool")
    if drool > 0.0:
        x, y = lips(who, weights).corners[1]
        size = min(drool, 1.35)
        _drop(canvas, x + 7, y + 19 * size, 12 * size, 0, min(1.6 * drool, 1.0))
    vein = weights.get("angerVein")
    if vein > 0.0:
        _vein(canvas, 0.60 * who.face_width, -112.0, 23 * min(vein, 1.25), min(1.6 * vein, 1.0))


def _vein(canvas: Canvas, x: float, y: float, size: float, alpha: float) -> None:
    for quarter in range(4):
        turn = np.deg2rad(90 * quarter + 8)
        rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        arm = bezier((0.24, 1.0), (0.26, 0.26), (1.0, 0.24)) * size
        line = arm @ rotation + (x, y)
        canvas.stroke(line, WHITE, 0.52 * size, alpha=alpha)
        canvas.stroke(line, (216, 40, 52), 0.34 * size, alpha=alpha)
