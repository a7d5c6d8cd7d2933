"""Pictures for people: strips of edits and the confusion table, as arrays.

Shapes: K expressions, S strengths, H W image.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pixelsmile.expressions import EXPRESSIONS

_MARGIN = 74  # room for the longest expression name
_HEAD = 18
_CELL = 44


def to_uint8(images: Tensor) -> np.ndarray:
    """Turn images, (..., 3, H, W) in [-1, 1], into uint8, (..., H, W, 3)."""
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().byte()
    return pixels.movedim(-3, -1).cpu().numpy()


def strip_sheet(
    edits: Tensor, strengths: Sequence[float], *, source: Tensor, truth: Tensor | None = None
) -> np.ndarray:
    """Lay out one identity: a row an expression, a column a strength, labelled.

    Args:
        edits: (K, S, 3, H, W), in [-1, 1].
        strengths: (S,).
        source: (3, H, W), shown first in every row.
        truth: (K, 3, H, W), true renders at full strength, shown last where they exist.

    Returns:
        (height, width, 3), uint8.
    """
    faces = to_uint8(edits)
    rows, _, height, width, _ = faces.shape
    columns = [np.broadcast_to(to_uint8(source), (rows, height, width, 3))]
    columns += list(faces.swapaxes(0, 1))
    titles = ["source", *(f"{strength:g}" for strength in strengths)]
    if truth is not None:
        columns.append(to_uint8(truth))
        titles.append("truth")
    body = np.concatenate([np.concatenate(list(column), axis=0) for column in columns], axis=1)
    sheet = Image.new("RGB", (_MARGIN + body.shape[1], _HEAD + body.shape[0]), "white")
    sheet.paste(Image.fromarray(body), (_MARGIN, _HEAD))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for column, title in enumerate(titles):
        centre = _MARGIN + width * (column + 0.5)
        draw.text((centre, _HEAD / 2), title, fill="black", font=font, anchor="mm")
    for row, name in enumerate(EXPRESSIONS[:rows]):
        centre = _HEAD + height * (row + 0.5)
        draw.text((_MARGIN - 5, centre), name, fill="black", font=font, anchor="rm")
    return np.asarray(sheet)


def confusion_picture(counts: Tensor) -> np.ndarray:
    """Draw a table of counts, (12, 12), rows requested and columns predicted.

    Each row is shaded by its share, so that the diagonal is dark where edits read as asked.

    Returns:
        (height, width, 3), uint8.
    """
    table = counts.cpu().numpy()
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    side = _CELL * len(EXPRESSIONS)
    sheet = Image.new("RGB", (_MARGIN + side + 8, _HEAD * 2 + side + 8), "white")
    draw = ImageDraw.Draw(sheet)
    font, small = ImageFont.load_default(13), ImageFont.load_default(10)
    draw.text((6, _HEAD), "asked \\ seen", fill="black", font=small, anchor="lm")
    for row, name in enumerate(EXPRESSIONS):
        top = 2 * _HEAD + row * _CELL
        draw.text((_MARGIN - 5, top + _CELL / 2), name, fill="black", font=font, anchor="rm")
        left = _MARGIN + row * _CELL
        draw.text((left + _CELL / 2, _HEAD * 1.5), name[:7], fill="black", font=small, anchor="mm")
        for column, share in enumerate(shares[row]):
            left = _MARGIN + column * _CELL
            shade = tuple(int(255 - share * (255 - dark)) for dark in (18, 90, 160))
            draw.rectangle((left, top, left + _CELL - 1, top + _CELL - 1), fill=shade)
            if table[row, column]:
                ink = "white" if share > 0.5 else "black"
                place = (left + _CELL / 2, top + _CELL / 2)
                draw.text(place, str(table[row, column]), fill=ink, font=font, anchor="mm")
    return np.asarray(sheet)
