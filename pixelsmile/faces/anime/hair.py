"""Hair in front of the face: cap, bangs, side locks and highlights."""

from typing import Final

import numpy as np
from PIL import Image

from pixelsmile.faces.anime.canvas import Canvas
from pixelsmile.faces.anime.curves import bezier, catmull_rom, moved
from pixelsmile.faces.anime.head import LINE, face_outline
from pixelsmile.faces.anime.identity import Identity
from pixelsmile.faces.anime.palette import INK, blend, light, shade

Hem = list[tuple[float, float]]

_SIDE: Final = [(-1.10, 6.0), (-0.97, 66.0)]

HEMS: Final[dict[str, Hem]] = {
    "blunt": [*_SIDE, (-0.86, -30), (-0.70, -24), (-0.58, -36), (-0.42, -27), (-0.28, -38),
              (-0.13, -28), (0.0, -40), (0.15, -28), (0.30, -38), (0.44, -26), (0.60, -36),
              (0.72, -23), (0.86, -30), (0.97, 66), (1.10, 6)],
    "spiky": [*_SIDE, (-0.80, -50), (-0.66, -8), (-0.42, -92), (-0.22, -22), (-0.02, -98),
              (0.26, -14), (0.46, -90), (0.72, -10), (0.84, -46), (0.98, 70), (1.10, 6)],
    "curtain": [*_SIDE, (-0.86, -8), (-0.80, 4), (-0.62, -66), (-0.60, -40), (0.0, -152),
                (0.60, -40), (0.62, -66), (0.80, 4), (0.86, -8), (0.97, 66), (1.10, 6)],
    "swept": [*_SIDE, (-0.84, -22), (-0.72, -2), (-0.52, -66), (-0.40, -22), (-0.12, -88),
              (-0.02, -34), (0.42, -150), (0.66, -34), (0.74, -60), (0.99, 60), (1.10, 6)],
    "long_middle": [*_SIDE, (-0.78, -40), (-0.60, -16), (-0.34, -100), (-0.20, -60),
                    (-0.14, -96), (0.02, 36), (0.14, -98), (0.24, -56), (0.36, -100),
                    (0.62, -18), (0.78, -42), (0.98, 62), (1.10, 6)],
    "short": [*_SIDE, (-0.86, -64), (-0.66, -66), (-0.52, -96), (-0.36, -76), (-0.18, -102),
              (0.0, -78), (0.18, -102), (0.38, -74), (0.52, -96), (0.68, -64), (0.86, -64),
              (0.97, 50), (1.10, 6)],
    "open": [(-1.10, 6), (-1.0, 40), (-0.88, -60), (-0.80, -70), (-0.50, -118), (-0.30, -124),
             (0.0, -132), (0.10, -48), (0.22, -130), (0.46, -112), (0.60, -112), (0.80, -76),
             (0.90, -56), (1.0, 40), (1.10, 6)],
    "arch": [*_SIDE, (-0.86, -6), (-0.72, -2), (-0.60, -48), (-0.46, -38), (-0.32, -74),
             (-0.18, -56), (0.0, -84), (0.18, -56), (0.32, -74), (0.46, -38), (0.60, -48),
             (0.72, -2), (0.86, -6), (0.97, 66), (1.10, 6)],
    "diagonal": [*_SIDE, (-0.86, 0), (-0.74, 6), (-0.60, -28), (-0.44, -12), (-0.28, -48),
                 (-0.08, -34), (0.10, -72), (0.30, -58), (0.46, -92), (0.66, -82),
                 (0.82, -84), (0.99, 54), (1.10, 6)],
    "claws": [*_SIDE, (-0.84, -44), (-0.46, -10), (-0.36, -96), (0.18, -14), (0.20, -98),
              (0.76, -12), (0.82, -48), (0.98, 64), (1.10, 6)],
}  # fmt: skip
"""Lower edge of the bangs: valley, tip, valley, ... in face half widths and head units."""


def hem_curve(who: Identity) -> np.ndarray:
    """Return the lower edge of the bangs from one temple to the other, pointed at the tips."""
    nodes = np.array(HEMS[who.bangs]) * (who.face_width * who.mirror, 1.0)
    pieces = []
    for i in range(len(nodes) - 1):
        valley, tip = (nodes[i], nodes[i + 1]) if i % 2 == 0 else (nodes[i + 1], nodes[i])
        bulge = valley + (tip - valley) * (0.12, 0.62)
        pieces.append(bezier(nodes[i], bulge, nodes[i + 1]))
    return np.concatenate(pieces)


def cap_outline(who: Identity) -> np.ndarray:
    """Return the closed outline of bangs and the top of the head."""
    w = who.face_width
    start = who.mirror
    top = catmull_rom(
        [
            (start * 1.10 * w, 6),
            (start * 1.13 * w, -50),
            (start * 0.98 * w, -124),
            (start * 0.55 * w, -178),
            (0, -196),
            (-start * 0.55 * w, -178),
            (-start * 0.98 * w, -124),
            (-start * 1.13 * w, -50),
            (-start * 1.10 * w, 6),
        ]
    )
    return np.concatenate([top, hem_curve(who)])


def draw_shadow(canvas: Canvas, who: Identity) -> None:
    """Cast the shadow of the bangs on the forehead and of the locks on the cheeks."""
    face = canvas.mask(face_outline(who))
    canvas.fill(moved(cap_outline(who), 4 * who.mirror, 13), shade(who.skin), clip=face)
    for side in (-1, 1):
        lock = _lock(who, side)
        if lock is not None:
            canvas.fill(moved(lock * (0.965, 1.0), 0, 6), shade(who.skin), clip=face)


def _lock(who: Identity, side: int) -> np.ndarray | None:
    w = who.face_width
    shapes = {
        "short": [(1.09, -60), (1.16, 10), (1.10, 70), (0.93, 108), (0.97, 60), (0.93, 10)],
        "chin": [(1.09, -60), (1.19, 20), (1.16, 100), (0.98, 168), (0.94, 100), (0.91, 10)],
        "long": [(1.09, -60), (1.20, 30), (1.18, 140), (1.12, 220), (1.0, 290), (0.96, 180),
                 (0.96, 90), (0.91, 10)],
        "curl": [(1.09, -60), (1.18, 10), (1.13, 70), (1.24, 116), (1.12, 158), (0.88, 136),
                 (1.02, 124), (0.95, 76), (0.92, 10)],
    }  # fmt: skip
    if who.locks == "none":
        return None
    points = np.array(shapes[who.locks]) * (side * w, 1.0)
    return catmull_rom(points, closed=True)


def draw_front(canvas: Canvas, who: Identity) -> None:
    """Draw side locks and bangs onto a transparent layer."""
    dark = blend(shade(who.hair), INK, 0.75)
    for side in (-1, 1):
        lock = _lock(who, side)
        if lock is not None:
            canvas.fill(lock, who.hair)
            canvas.fill(moved(lock, side * 12, 0), shade(who.hair), clip=canvas.mask(lock))
            canvas.outline(lock, dark, LINE)
    cap = cap_outline(who)
    canvas.fill(cap, who.hair)
    inside = canvas.mask(cap)
    _draw_cel_shade(canvas, who, inside)
    _draw_highlight(canvas, who, inside)
    _draw_strands(canvas, who, inside)
    canvas.outline(cap, dark, LINE)


def _draw_cel_shade(canvas: Canvas, who: Identity, inside: Image.Image) -> None:
    w, side = who.face_width, who.mirror
    flank = [(side * 1.3 * w, -220), (side * 0.62 * w, -176), (side * 0.96 * w, -92),
             (side * 0.98 * w, -20), (side * 0.9 * w, 90), (side * 1.3 * w, 90)]  # fmt: skip
    canvas.fill(catmull_rom(flank, closed=True), shade(who.hair), clip=inside)


def _draw_highlight(canvas: Canvas, who: Identity, inside: Image.Image) -> None:
    w = who.face_width
    x = np.linspace(-0.80, 0.80, 17)
    zigzag = np.where(np.arange(17) % 2 == 0, 0.0, 1.0)
    arch = -124 + 34 * x**2
    fade = 1 - np.abs(x / 0.8) ** 3
    upper = np.stack([x * w, arch - 12 * fade], axis=1)
    lower = np.stack([x * w, arch + (2 + 16 * zigzag) * fade], axis=1)
    canvas.fill(np.concatenate([upper, lower[::-1]]), light(who.hair), alpha=0.8, clip=inside)


def _draw_strands(canvas: Canvas, who: Identity, inside: Image.Image) -> None:
    dark = blend(shade(who.hair), INK, 0.45)
    nodes = np.array(HEMS[who.bangs]) * (who.face_width * who.mirror, 1.0)
    for x, y in nodes[2:-2:2]:
        if y < -140:
            continue
        line = bezier((x, y), (x * 0.92, y - 35), (x * 0.72, max(y - 70, -165)))
        canvas.stroke(line, dark, np.linspace(6, 1, len(line)), clip=inside)
