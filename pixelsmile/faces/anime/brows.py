"""Brows, drawn over the bangs as is usual in the style, and the furrow between them."""

import numpy as np
from PIL import Image

from pixelsmile.faces.anime.actions import Weights
from pixelsmile.faces.anime.canvas import Canvas
from pixelsmile.faces.anime.curves import bezier, catmull_rom
from pixelsmile.faces.anime.identity import Identity
from pixelsmile.faces.anime.palette import INK, blend, light, shade


def brow_curve(who: Identity, weights: Weights, side: int) -> np.ndarray:
    """Return the middle line of one brow, from its inner to its outer end."""
    brow = who.brow
    inner_up = min(weights.get("browInnerUp"), 1.4)
    down = min(weights.side("browDown", side), 1.4)
    outer_up = min(weights.side("browOuterUp", side), 1.4)
    knit = min(weights.get("browKnit"), 1.4)
    start = who.eye.x - 0.95 * brow.length - 9 * knit - 4 * down
    end = who.eye.x + 1.05 * brow.length + 2 * outer_up
    inner = brow.y + brow.slope + 29 * down - 25 * inner_up - 7 * outer_up
    outer = brow.y + 2 + 9 * down - 24 * outer_up + 15 * inner_up - 4 * down * outer_up
    middle = brow.y - brow.arch + 15 * down - 7 * inner_up - 22 * outer_up
    xs = (start, start + 0.5 * (end - start), end)
    return catmull_rom(
        [(side * x, y) for x, y in zip(xs, (inner, middle, outer), strict=True)], steps=8
    )


def draw_brows(canvas: Canvas, who: Identity, weights: Weights, hair: Image.Image) -> None:
    """Draw both brows and the furrow; a light rim sets the brows off where they cross `hair`."""
    color = blend(shade(shade(who.hair)), INK, 0.60)
    # The darker the hair, the more the brows need the rim.
    rim_alpha = min(max(1.1 - sum(who.hair) / 765, 0.35), 0.9)
    rim = blend(light(who.hair), who.skin, 0.35)
    for side in (-1, 1):
        line = brow_curve(who, weights, side)
        t = np.linspace(0.0, 1.0, len(line))
        width = who.brow.thick * (0.62 + 0.5 * np.sin(np.pi * (0.15 + 0.75 * t)) - 0.62 * t**3)
        canvas.stroke(line, rim, width + 7, alpha=rim_alpha, clip=hair)
        canvas.stroke(line, color, width)
    knit = min(weights.get("browKnit"), 1.4)
    if knit > 0.0:
        line_color = blend(shade(who.skin), INK, 0.6)
        for side in (-1, 1):
            x, y = side * (7 + 1 * knit), who.brow.y + 18
            fold = bezier((x, y - 11 * knit), (x - side * 4, y), (x + side * 1, y + 9 * knit))
            canvas.stroke(fold, line_color, 4.0, alpha=min(knit, 1.0) * 0.85)
