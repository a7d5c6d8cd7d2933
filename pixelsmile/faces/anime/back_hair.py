"""Hair behind the head."""

import numpy as np

from pixelsmile.faces.anime.canvas import Canvas
from pixelsmile.faces.anime.curves import catmull_rom, ellipse, mirrored, moved
from pixelsmile.faces.anime.head import LINE
from pixelsmile.faces.anime.identity import Identity
from pixelsmile.faces.anime.palette import INK, blend, light, shade


def _piece(canvas: Canvas, who: Identity, outline: np.ndarray, *, dark: bool = True) -> None:
    canvas.fill(outline, shade(who.hair) if dark else who.hair)
    canvas.outline(outline, blend(shade(who.hair), INK, 0.75), LINE)


def _bob(canvas: Canvas, who: Identity) -> None:
    w = who.face_width
    right = [(0, -196), (0.9 * w, -140), (1.2 * w, -40), (1.28 * w, 60), (1.22 * w, 130),
             (0.9 * w, 158), (0, 150)]  # fmt: skip
    _piece(canvas, who, catmull_rom(mirrored(right), closed=True))


def _long(canvas: Canvas, who: Identity) -> None:
    w = who.face_width
    right = [(0, -196), (0.95 * w, -140), (1.22 * w, -30), (1.32 * w, 100), (1.42 * w, 230),
             (1.46 * w, 330), (0, 330)]  # fmt: skip
    _piece(canvas, who, catmull_rom(mirrored(right), closed=True))


def _wavy(canvas: Canvas, who: Identity) -> None:
    w = who.face_width
    right = [(0, -196), (0.95 * w, -146), (1.26 * w, -60), (1.18 * w, 0), (1.46 * w, 60),
             (1.30 * w, 120), (1.60 * w, 180), (1.40 * w, 236),
             (1.64 * w, 300), (0, 330)]  # fmt: skip
    _piece(canvas, who, catmull_rom(mirrored(right), closed=True))


def _cropped(canvas: Canvas, who: Identity) -> None:
    w = who.face_width
    right = [(0, -194), (0.9 * w, -140), (1.14 * w, -40), (1.08 * w, 40), (0.8 * w, 80), (0, 90)]
    _piece(canvas, who, catmull_rom(mirrored(right), closed=True))


def _spikes(canvas: Canvas, who: Identity) -> None:
    w = who.face_width
    right = [(0, -190), (0.22 * w, -232), (0.42 * w, -178), (0.86 * w, -204), (0.86 * w, -140),
             (1.36 * w, -122), (1.12 * w, -70), (1.50 * w, -22), (1.14 * w, -6), (1.42 * w, 74),
             (1.06 * w, 66), (1.16 * w, 132), (0.7 * w, 100), (0, 100)]  # fmt: skip
    _piece(canvas, who, mirrored(right), dark=False)


def _twintails(canvas: Canvas, who: Identity) -> None:
    w = who.face_width
    for side in (-1, 1):
        tail = [(0.86, -128), (1.30, -150), (1.72, -84), (1.86, 40), (1.78, 170), (1.52, 276),
                (1.56, 170), (1.30, 90), (1.22, 0), (1.06, -74)]  # fmt: skip
        points = catmull_rom(np.array(tail) * (side * w, 1.0), closed=True)
        _piece(canvas, who, points, dark=False)
        canvas.fill(moved(points, side * 30, 10), shade(who.hair), clip=canvas.mask(points))
        tie = ellipse(side * 1.08 * w, -120, 16, 24, angle=side * 30)
        canvas.fill(tie, who.trim)
        canvas.outline(tie, INK, LINE)
    _cropped(canvas, who)


def _ponytail(canvas: Canvas, who: Identity) -> None:
    w, side = who.face_width, who.mirror
    tail = [(0.50, -160), (0.86, -214), (1.40, -196), (1.74, -80), (1.70, 60), (1.40, 190),
            (1.42, 60), (1.24, -40), (0.96, -110)]  # fmt: skip
    points = catmull_rom(np.array(tail) * (side * w, 1.0), closed=True)
    _piece(canvas, who, points, dark=False)
    canvas.fill(moved(points, side * 26, 12), shade(who.hair), clip=canvas.mask(points))
    tie = ellipse(side * 0.78 * w, -168, 17, 25, angle=side * 50)
    canvas.fill(tie, who.trim)
    canvas.outline(tie, INK, LINE)
    _cropped(canvas, who)


def _braids(canvas: Canvas, who: Identity) -> None:
    w = who.face_width
    _cropped(canvas, who)
    for side in (-1, 1):
        for i in range(6):
            lean = 9 if i % 2 else -9
            bead = ellipse(side * (1.17 * w + 3 * i), 84 + 38 * i, 27, 26, angle=lean * 3)
            _piece(canvas, who, bead, dark=False)
            canvas.fill(ellipse(side * (1.17 * w + 3 * i) - 7, 78 + 38 * i, 8, 6), light(who.hair))


def _buns(canvas: Canvas, who: Identity) -> None:
    w = who.face_width
    for side in (-1, 1):
        bun = ellipse(side * 0.84 * w, -166, 50, 48)
        _piece(canvas, who, bun, dark=False)
        canvas.fill(ellipse(side * 0.84 * w, -150, 44, 30), shade(who.hair), clip=canvas.mask(bun))
        canvas.fill(ellipse(side * 0.84 * w - 12, -188, 15, 7, angle=-15), light(who.hair))
    _cropped(canvas, who)


_STYLES = {
    "bob": _bob,
    "long": _long,
    "twintails": _twintails,
    "ponytail": _ponytail,
    "spikes": _spikes,
    "wavy": _wavy,
    "braids": _braids,
    "buns": _buns,
    "cropped": _cropped,
}


def draw_back(canvas: Canvas, who: Identity) -> None:
    """Draw the hair behind the head."""
    _STYLES[who.back](canvas, who)
