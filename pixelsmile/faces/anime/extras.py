"""Accessories that lie over the hair and the eyes."""

import numpy as np

from pixelsmile.faces.anime.canvas import Canvas
from pixelsmile.faces.anime.curves import bezier, catmull_rom, ellipse, moved
from pixelsmile.faces.anime.head import LINE
from pixelsmile.faces.anime.identity import Identity
from pixelsmile.faces.anime.palette import INK, WHITE, blend, shade


def draw_extras(canvas: Canvas, who: Identity) -> None:
    """Draw glasses, ahoge, hair band, hair clip and ribbon onto the front layer."""
    if who.glasses != "none":
        _glasses(canvas, who)
    if "ahoge" in who.extras:
        _ahoge(canvas, who)
    if "band" in who.extras:
        _band(canvas, who)
    if "clip" in who.extras:
        _clip(canvas, who)
    if "ribbon" in who.extras:
        _ribbon(canvas, who)


def _glasses(canvas: Canvas, who: Identity) -> None:
    eye = who.eye
    rim = blend(shade(who.trim), INK, 0.5)
    rx, ry = min(eye.width + 10, eye.x - 7), (eye.top + eye.bottom) / 2 + 12
    inner = eye.x - rx + 3
    for side in (-1, 1):
        x, y = side * eye.x, eye.y - (eye.top - eye.bottom) / 2
        if who.glasses == "round":
            lens = ellipse(x, y, rx, ry, steps=40)
        else:
            corners = np.array([(-rx, -ry), (rx, -ry), (rx * 0.92, ry), (-rx * 0.92, ry)]) * 0.96
            lens = moved(corners, x, y)
        canvas.outline(lens, rim, 6)
        reach = [(side * (eye.x + rx), y - 8), (side * (who.face_width + 4), y - 14)]
        canvas.outline(reach, rim, 6, closed=False)
    y = eye.y - (eye.top - eye.bottom) / 2
    canvas.outline(bezier((-inner, y - 4), (0, y - 16), (inner, y - 4)), rim, 6, closed=False)


def _ahoge(canvas: Canvas, who: Identity) -> None:
    side = who.mirror
    curl = catmull_rom(
        [(-6 * side, -184), (8 * side, -226), (46 * side, -240), (66 * side, -216),
         (44 * side, -222), (24 * side, -208), (14 * side, -182)], closed=True,
    )  # fmt: skip
    canvas.fill(curl, who.hair)
    canvas.outline(curl, blend(shade(who.hair), INK, 0.75), LINE)


def _band(canvas: Canvas, who: Identity) -> None:
    w = who.face_width
    line = bezier((-1.08 * w, -88), (0, -250), (1.08 * w, -88), steps=24)
    canvas.outline(line, INK, 26, closed=False)
    canvas.outline(line, who.trim, 17, closed=False)


def _clip(canvas: Canvas, who: Identity) -> None:
    side = -who.mirror
    for turn in (24, -24):
        bar = ellipse(side * 0.74 * who.face_width, -88, 27, 7, angle=side * turn)
        canvas.fill(bar, blend(who.trim, (250, 200, 60), 0.5))
        canvas.outline(bar, INK, 4)


def _ribbon(canvas: Canvas, who: Identity) -> None:
    x, y = who.mirror * 0.66 * who.face_width, -168.0
    color = blend(who.trim, (226, 60, 90), 0.6)
    for side in (-1, 1):
        wing = catmull_rom(
            np.array([(4, 0), (30, -32), (58, -30), (60, 4), (52, 30), (26, 24)]) * (side, 1.0),
            closed=True,
        )
        wing = moved(wing, x, y)
        canvas.fill(wing, color)
        canvas.outline(wing, INK, LINE)
        canvas.stroke([(x + side * 12, y), (x + side * 38, y - 4)], shade(color), 6)
    knot = ellipse(x, y, 13, 15)
    canvas.fill(knot, blend(color, WHITE, 0.2))
    canvas.outline(knot, INK, LINE)
