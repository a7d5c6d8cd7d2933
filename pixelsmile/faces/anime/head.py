"""Static parts under the features: background, body, neck, ears, skin and nose."""

import numpy as np
from PIL import Image

from pixelsmile.faces.anime.canvas import Canvas
from pixelsmile.faces.anime.curves import bezier, catmull_rom, ellipse, mirrored, moved
from pixelsmile.faces.anime.identity import Identity
from pixelsmile.faces.anime.palette import INK, blend, shade

LINE = 5.0
"""Weight of all outlines in head units."""


def face_outline(who: Identity) -> np.ndarray:
    """Return the closed contour of the face, skull included."""
    w, chin = who.face_width, who.chin
    return catmull_rom(
        mirrored(
            [
                (0, -160),
                (0.62 * w, -138),
                (0.96 * w, -70),
                (w, 0),
                (0.96 * w, 50),
                ((0.78 + 0.06 * who.jaw) * w, 50 + 0.45 * (chin - 50)),
                ((0.40 + 0.12 * who.jaw) * w, chin - 22),
                (0.13 * w, chin - 1),
                (0, chin),
            ]
        ),
        closed=True,
    )


def draw_background(canvas: Canvas, who: Identity) -> None:
    """Fill the whole image with a soft vertical gradient."""
    width, height = canvas.image.size
    ramp = np.linspace(0.0, 1.0, height)[:, None, None]
    top, bottom = (np.asarray(color, dtype=float) for color in who.background)
    column = (top * (1 - ramp) + bottom * ramp).astype(np.uint8)
    canvas.image.paste(Image.fromarray(column).resize((width, height), Image.Resampling.NEAREST))


def draw_body(canvas: Canvas, who: Identity) -> None:
    """Draw shoulders, neck with the shadow of the chin, and the collar."""
    shoulders = catmull_rom(
        mirrored([(0, 168), (52, 176), (120, 206), (185, 236), (222, 300), (235, 420)])
    )
    neck = np.array([(-44, 90), (44, 90), (47, 178), (60, 200), (0, 236), (-60, 200), (-47, 178)])
    canvas.fill(shoulders, who.cloth)
    canvas.outline(shoulders, INK, LINE)
    canvas.fill(neck, who.skin)
    shadow = moved(face_outline(who) * (0.8, 1.0), 0, 26)
    canvas.fill(shadow, shade(who.skin), clip=canvas.mask(neck))
    for side in (-1, 1):
        canvas.outline([(side * 44, 90), (side * 47, 178)], INK, LINE, closed=False)
    _COLLARS[who.clothes](canvas, who)


def _sailor(canvas: Canvas, who: Identity) -> None:
    for side in (-1, 1):
        flap = np.array([(50, 166), (128, 196), (122, 262), (0, 262)]) * (side, 1)
        canvas.fill(flap, who.trim)
        canvas.outline(flap, INK, LINE)
        stripe = np.array([(112, 200), (107, 250), (18, 252)]) * (side, 1)
        canvas.outline(stripe, blend(who.trim, (255, 255, 255), 0.8), 4, closed=False)
    knot = catmull_rom([(-34, 232), (34, 232), (22, 262), (0, 250), (-22, 262)], closed=True)
    canvas.fill(knot, (214, 70, 80))
    canvas.outline(knot, INK, LINE)


def _shirt(canvas: Canvas, who: Identity) -> None:
    for side in (-1, 1):
        flap = np.array([(46, 158), (78, 186), (52, 236), (2, 212)]) * (side, 1)
        canvas.fill(flap, blend(who.trim, (255, 255, 255), 0.7))
        canvas.outline(flap, INK, LINE)
    canvas.outline([(0, 214), (0, 330)], INK, LINE, closed=False)


def _turtleneck(canvas: Canvas, who: Identity) -> None:
    roll = catmull_rom(mirrored([(0, 164), (50, 152), (60, 170), (58, 206), (0, 220)]), closed=True)
    canvas.fill(roll, blend(who.cloth, (255, 255, 255), 0.15))
    canvas.outline(roll, INK, LINE)
    for x in (-30, -10, 10, 30):
        canvas.outline([(x, 172), (x, 204)], shade(who.cloth), 4, closed=False)


def _hoodie(canvas: Canvas, who: Identity) -> None:
    hood = catmull_rom(
        [(-50, 158), (-120, 176), (-132, 220), (-60, 240), (0, 262), (60, 240), (132, 220),
         (120, 176), (50, 158), (44, 206), (0, 232), (-44, 206)], closed=True,
    )  # fmt: skip
    canvas.fill(hood, blend(who.cloth, (255, 255, 255), 0.22))
    canvas.outline(hood, INK, LINE)
    for side in (-1, 1):
        canvas.outline([(side * 30, 244), (side * 33, 300)], who.trim, 7, closed=False)


def _tee(canvas: Canvas, who: Identity) -> None:
    band = bezier((-62, 186), (0, 268), (62, 186), steps=16)
    canvas.outline(band, INK, 16, closed=False)
    canvas.outline(band, who.trim, 8, closed=False)


def _blazer(canvas: Canvas, who: Identity) -> None:
    shirt = np.array([(-48, 168), (48, 168), (30, 320), (-30, 320)])
    canvas.fill(shirt, (246, 246, 250), clip=canvas.mask([(-80, 204), (80, 204), (0, 420)]))
    tie = np.array([(-13, 214), (13, 214), (8, 232), (20, 320), (-20, 320), (-8, 232)])
    canvas.fill(tie, who.trim)
    canvas.outline(tie, INK, LINE)
    for side in (-1, 1):
        lapel = np.array([(46, 160), (92, 184), (100, 226), (74, 232), (30, 330)]) * (side, 1)
        canvas.fill(lapel, shade(who.cloth))
        canvas.outline(lapel, INK, LINE)


_COLLARS = {
    "sailor": _sailor,
    "shirt": _shirt,
    "turtleneck": _turtleneck,
    "hoodie": _hoodie,
    "tee": _tee,
    "blazer": _blazer,
}


def draw_face(canvas: Canvas, who: Identity) -> None:
    """Draw ears, skin with a cel shade along one cheek, nose, freckles and mole."""
    shadow = shade(who.skin)
    for side in (-1, 1):
        ear = ellipse(side * (who.face_width + 2), 34, 17, 30, angle=side * -12)
        canvas.fill(ear, who.skin)
        canvas.outline(ear, INK, LINE)
        canvas.fill(ellipse(side * (who.face_width + 4), 34, 8, 18, angle=side * -12), shadow)
    outline = face_outline(who)
    canvas.fill(outline, who.skin)
    inside = canvas.mask(outline)
    lit = canvas.mask(moved(outline, -15 * who.mirror, -7))
    side_shade = Image.new("L", canvas.image.size, 255)
    side_shade.paste(0, mask=lit)
    canvas.image.paste(shadow, mask=Image.composite(side_shade, Image.new("L", lit.size), inside))
    canvas.outline(outline, INK, LINE)
    _draw_nose(canvas, who)
    _draw_marks(canvas, who)


def _draw_nose(canvas: Canvas, who: Identity) -> None:
    dark = blend(shade(who.skin), INK, 0.55)
    side = who.mirror
    if who.nose == 0:
        canvas.stroke(bezier((side * 1, 58), (side * 9, 72), (0, 74)), dark, 4.5)
    elif who.nose == 1:
        canvas.fill([(0, 56), (side * 11, 74), (-side * 2, 74)], shade(who.skin))
        canvas.stroke(bezier((-5, 74), (0, 78), (7, 73)), dark, 4.0)
    else:
        canvas.stroke(bezier((-6, 70), (0, 77), (6, 70)), dark, 4.5)


def _draw_marks(canvas: Canvas, who: Identity) -> None:
    if "freckles" in who.extras:
        for x, y in ((66, 78), (78, 72), (90, 78), (73, 86), (85, 87)):
            for side in (-1, 1):
                canvas.fill(
                    ellipse(side * x, y, 3.2, 3.2, steps=10), blend(who.skin, (150, 70, 40), 0.55)
                )
    if "mole" in who.extras:
        canvas.fill(ellipse(who.mirror * 58, 84, 4.2, 4.2, steps=12), INK)
    if "earrings" in who.extras:
        for side in (-1, 1):
            ring = ellipse(side * (who.face_width + 4), 74, 7, 9)
            canvas.fill(ring, (244, 206, 92))
            canvas.outline(ring, INK, 3.5)
