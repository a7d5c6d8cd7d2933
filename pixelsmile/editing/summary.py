"""What shows all results of an image at once: a labelled grid, and sweeps that move."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from pixelsmile.editing.animation import shrink, there_and_back, write_gif, write_mp4
from pixelsmile.editing.facts import Facts, known_facts, read_facts, write_png
from pixelsmile.editing.reading import read_picture
from pixelsmile.errors import UserError
from pixelsmile.pictures import label_grid

CELL = 192
"""Longest side of a picture in the grid, in pixels."""

COLUMNS = 11
"""Most levels that a grid shows; of more it takes as many, evenly spaced."""


def write_grid(
    path: Path,
    image: Path,
    rows: Sequence[Sequence[Path]],
    names: Sequence[str],
    titles: Sequence[str],
) -> None:
    """Write the grid of an image, unless it is there and shows these very pictures.

    Args:
        path: Of the grid.
        image: The source, shown first in every row.
        rows: Written pictures, one row a direction.
        names: Of the rows.
        titles: Of the columns.

    Raises:
        UserError: If something else is there.
    """
    facts = {"title": f"{image.name}: grid", "pictures": _fingerprint(rows)}
    if _is_current(path, facts):
        return
    shown = _spread(len(titles))
    crop = tuple(read_facts(rows[0][0])["made"]["crop"])
    source = shrink(read_picture(image).on_white().crop(crop), CELL)
    cells = [
        [source, *(shrink(Image.open(row[column]).crop(crop), CELL) for column in shown)]
        for row in rows
    ]
    columns = ["source", *(titles[column] for column in shown)]
    write_png(label_grid(cells, names, columns), path, facts)


def write_sweep(path: Path, frames: Sequence[Path], *, fps: float, edge: int) -> None:
    """Write a GIF or MP4 that runs through pictures and back, unless it is there.

    Args:
        path: Its suffix decides.
        frames: Written pictures, in order.
        fps: Frames a second.
        edge: Longest side in pixels.

    Raises:
        UserError: If something else is there.
    """
    facts = {"frames": _fingerprint([frames]), "fps": fps, "edge": edge}
    if _is_current(path, facts):
        return
    write, even = (write_mp4, True) if path.suffix == ".mp4" else (write_gif, False)
    pictures = [shrink(Image.open(frame), edge, even=even) for frame in frames]
    write(there_and_back(pictures), path, fps, facts)


def _is_current(path: Path, facts: Facts) -> bool:
    if not path.exists():
        return False
    before = known_facts(path)
    if before is None:
        raise UserError(
            f"{path} is there and was not made by pixelsmile.edit: choose another out=."
        )
    return before == facts


def _fingerprint(rows: Sequence[Sequence[Path]]) -> str:
    """Return a hash of the bytes of pictures in their order."""
    digest = hashlib.sha256()
    for row in rows:
        for path in row:
            digest.update(f"{path.name}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
        digest.update(b"\n")
    return digest.hexdigest()


def _spread(count: int) -> list[int]:
    """Return the columns to show, first and last among them.

    Example:
        >>> _spread(3), _spread(21)
        ([0, 1, 2], [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20])
    """
    if count <= COLUMNS:
        return list(range(count))
    return [round(step * (count - 1) / (COLUMNS - 1)) for step in range(COLUMNS)]
