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


def to_pictures(pixels: Tensor) -> list[Image.Image]:
    """Turn images, (N, 3, H, W) in [-1, 1], into pictures."""
    return [Image.fromarray(array) for array in to_uint8(pixels)]


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
    cells = [[Image.fromarray(column[row]) for column in columns] for row in range(rows)]
    return np.asarray(label_grid(cells, EXPRESSIONS[:rows], titles))


def label_grid(
    cells: Sequence[Sequence[Image.Image]], rows: Sequence[str], columns: Sequence[str]
) -> Image.Image:
    """Put pictures of one size beside each other, with a name for each row and column.

    Args:
        cells: As many rows as there are names in `rows`, each with one picture a column.
        rows: Names at the left.
        columns: Names at the top.
    """
    width, height = cells[0][0].size
    size = (_MARGIN + width * len(columns), _HEAD + height * len(rows))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for column, title in enumerate(columns):
        centre = _MARGIN + width * (column + 0.5)
        draw.text((centre, _HEAD / 2), title, fill="black", font=font, anchor="mm")
    for row, (name, pictures) in enumerate(zip(rows, cells, strict=True)):
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (_MARGIN + width * column, _HEAD + height * row))
        centre = _HEAD + height * (row + 0.5)
        draw.text((_MARGIN - 5, centre), name, fill="black", font=font, anchor="rm")
    return sheet


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
