"""Contact sheets: labelled grids of faces, to judge a set or an edit by eye."""

import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from pixelsmile.errors import naming
from pixelsmile.expressions import EXPRESSIONS, NEUTRAL

MARGIN = 8
BACKGROUND, INK, EMPTY = (255, 255, 255), (20, 20, 20), (225, 225, 225)


def contact_sheet(
    rows: Sequence[Sequence[Image.Image | None]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    *,
    cell: int = 128,
    groups: Sequence[str] = (),
) -> Image.Image:
    """Return a labelled grid of images.

    Args:
        rows: The images, row by row; None leaves a grey cell.
        row_labels: One per row, at the left.
        column_labels: One per column, at the top.
        cell: Edge of a cell in pixels; images of another size are scaled.
        groups: Headings above equally wide groups of columns.

    Raises:
        ValueError: If labels and images differ in number.
    """
    if len(row_labels) != len(rows) or any(len(row) != len(column_labels) for row in rows):
        raise ValueError(
            f"{len(rows)} rows of {[len(row) for row in rows]} images need as many labels, "
            f"got {len(row_labels)} and {len(column_labels)}."
        )
    points = max(12, cell // 7)
    font = ImageFont.load_default(size=points)
    line = int(points * 1.5)
    left = 2 * MARGIN + int(max((font.getlength(label) for label in row_labels), default=0))
    top = MARGIN + line * (2 if groups else 1)
    width, height = left + cell * len(column_labels), top + cell * len(rows)
    sheet = Image.new("RGB", (width + MARGIN, height + MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for group, label in enumerate(groups):
        span = cell * len(column_labels) / len(groups)
        draw.text((left + (group + 0.5) * span, MARGIN), label, INK, font, anchor="ma")
    for column, label in enumerate(column_labels):
        draw.text((left + (column + 0.5) * cell, top - 4), label, INK, font, anchor="md")
    for row, (label, images) in enumerate(zip(row_labels, rows, strict=True)):
        middle = top + (row + 0.5) * cell
        draw.text((left - MARGIN, middle), label, INK, font, anchor="rm")
        for column, image in enumerate(images):
            corner = (left + column * cell, top + row * cell)
            if image is None:
                draw.rectangle((*corner, corner[0] + cell - 1, corner[1] + cell - 1), EMPTY)
            else:
                sheet.paste(_fit(image, cell), corner)
    return sheet


def set_sheet(annotations: Path, path: Path, *, identities: int = 4, cell: int = 128) -> None:
    """Draw the first identities of a face set: rows are expressions, columns strengths.

    Args:
        annotations: The set's JSONL file; images are found beside it.
        path: Where to write the PNG.
        identities: How many identities to show.
        cell: Edge of a cell in pixels.
    """
    images: dict[str, dict[tuple[str, float], Path]] = {}
    with annotations.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["identity"] not in images and len(images) == identities:
                break
            strength = _strength_of(Path(row["image"]))
            shown = images.setdefault(row["identity"], {})
            shown[row["category"], strength] = annotations.parent / row["image"]
    strengths = sorted({strength for shown in images.values() for _, strength in shown} - {0.0})
    rows = [
        [
            _load(shown.get((category, 0.0 if category == NEUTRAL else strength)))
            for shown in images.values()
            for strength in strengths
        ]
        for category in (NEUTRAL, *EXPRESSIONS)
    ]
    sheet = contact_sheet(
        rows,
        (NEUTRAL, *EXPRESSIONS),
        [f"{strength:g}" for _ in images for strength in strengths],
        cell=cell,
        groups=list(images),
    )
    with naming(path):
        sheet.save(path, format="PNG")


def _strength_of(image: Path) -> float:
    """Read the strength from a file name such as `fear_0.35.png`; neutral has 0."""
    return 0.0 if image.stem == NEUTRAL else float(image.stem.rpartition("_")[2])


def _load(path: Path | None) -> Image.Image | None:
    return None if path is None else Image.open(path).convert("RGB")


def _fit(image: Image.Image, cell: int) -> Image.Image:
    return (
        image
        if image.size == (cell, cell)
        else image.resize((cell, cell), Image.Resampling.LANCZOS)
    )
