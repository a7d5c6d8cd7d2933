"""Put an edited part back into its picture so that nobody sees where it ends. Pure.

Shapes: H W picture, h w part. Colours are RGB; masks are (h, w), float32, in [0, 1]: 1 takes the
edit, 0 keeps the picture, to the bit.
"""

import numpy as np
from PIL import Image

from pixelsmile.editing.framing import Box, Crop

RIM = 0.12
"""Width of the fade at a cut edge, as a share of the part's shorter edge."""

REACH = 1.4
"""Where the face region ends, in half sides of the face box; inside 1 all is the edit."""

_STRIPE = 256

_HEAD_SHOT = (0.14, 0.08, 0.86, 0.95)
"""Where the face is in a head-shot of which nobody knows the box, as shares of the picture."""


def rim_mask(crop: Crop, size: tuple[int, int]) -> np.ndarray:
    """Return a mask that fades at the edges of the part that are not edges of the picture.

    Args:
        crop: The part.
        size: Width and height of the picture.
    """
    x0, y0, x1, y1 = crop
    width = RIM * min(x1 - x0, y1 - y0)
    across = _fade(x1 - x0, width, start=x0 > 0, end=x1 < size[0])
    down = _fade(y1 - y0, width, start=y0 > 0, end=y1 < size[1])
    return down[:, None] * across


def face_mask(crop: Crop, size: tuple[int, int], box: Box | None) -> np.ndarray:
    """Return a mask of the face alone: 1 inside its box, rounded, fading to 0 at `REACH`.

    Args:
        crop: The part.
        size: Width and height of the picture.
        box: Of the face, in pixels of the picture; None stands for a head-shot.
    """
    if box is None:
        box = tuple(share * edge for share, edge in zip(_HEAD_SHOT, size * 2, strict=True))
    x = (np.arange(crop[0], crop[2]) + 0.5 - (box[0] + box[2]) / 2) / ((box[2] - box[0]) / 2)
    y = (np.arange(crop[1], crop[3]) + 0.5 - (box[1] + box[3]) / 2) / ((box[3] - box[1]) / 2)
    # The cubic superellipse lies between the ellipse, which cuts off jaws, and the box.
    radius = np.cbrt(np.abs(y[:, None]) ** 3 + np.abs(x) ** 3)
    face = _smooth((REACH - radius) / (REACH - 1))
    return (face * rim_mask(crop, size)).astype(np.float32)


def colour_plane(edited: np.ndarray, original: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return what to add to the edit so that it has the light of the picture where they meet.

    A plane in each channel is fitted to the difference over the band where the mask fades, twice,
    the second time without the pixels that differ most: there something has moved.

    Args:
        edited: (h, w, 3), 0 to 255.
        original: The same part of the picture.
        mask: (h, w); without a fading band nothing is added.

    Returns:
        (3, 3), float32: constant, slope across and slope down, for places that run from -1 to 1.
    """
    rows, columns = np.nonzero((mask > 0.02) & (mask < 0.98))
    if len(rows) < 32:
        return np.zeros((3, 3), np.float32)
    step = max(1, len(rows) // 20_000)  # enough for three numbers
    rows, columns = rows[::step], columns[::step]
    height, width = mask.shape
    ones = np.ones(len(rows), np.float32)
    places = np.stack([ones, _line(width)[columns], _line(height)[rows]], axis=1)
    differences = original[rows, columns].astype(np.float32) - edited[rows, columns]
    kept = np.ones(len(rows), bool)
    plane = np.zeros((3, 3), np.float32)
    for _ in range(2):
        plane = np.linalg.lstsq(places[kept], differences[kept], rcond=None)[0]
        left = np.abs(differences - places @ plane).sum(1)
        kept = left <= np.median(left) * 2.5 + 1e-3
    return plane.astype(np.float32)


def paste(
    picture: Image.Image,
    edited: Image.Image,
    crop: Crop,
    mask: np.ndarray,
    *,
    alpha: Image.Image | None = None,
) -> Image.Image:
    """Return the picture with an edited part, at its own size.

    Args:
        picture: RGB.
        edited: RGB, of any size and about the shape of the part.
        crop: The part.
        mask: (h, w) of the part.
        alpha: Of the picture, mode L: it is kept, and colours of clear pixels as well.

    Returns:
        RGB, or RGBA with `alpha`. Pixels outside the mask are those of the picture.
    """
    size = (crop[2] - crop[0], crop[3] - crop[1])
    if edited.size != size:
        edited = edited.resize(size, Image.Resampling.LANCZOS)
    old, new = np.asarray(picture.crop(crop)), np.asarray(edited)
    plane = colour_plane(new, old, mask)
    across, down = _line(size[0])[:, None] * plane[1], _line(size[1])[:, None] * plane[2]
    clear = None if alpha is None else np.asarray(alpha.crop(crop))
    mixed = np.empty_like(old)
    # In stripes: a picture of 80 megapixels as floats would take gigabytes.
    for top in range(0, size[1], _STRIPE):
        rows = slice(top, top + _STRIPE)
        weight = mask[rows, :, None]
        if clear is not None:
            weight = weight * (clear[rows, :, None] / np.float32(255))
        matched = (new[rows] + plane[0] + across + down[rows, None]).clip(0, 255)
        mixed[rows] = (old[rows] + weight * (matched - old[rows])).round()
    result = picture.copy()
    result.paste(Image.fromarray(mixed), crop[:2])
    if alpha is not None:
        result.putalpha(alpha)
    return result


def _line(length: int) -> np.ndarray:
    return np.linspace(-1, 1, length, dtype=np.float32)


def _fade(length: int, width: float, *, start: bool, end: bool) -> np.ndarray:
    """Return a line of ones that fades to 0 within `width` pixels of the chosen ends."""
    place = np.arange(length, dtype=np.float32)
    line = np.ones(length, np.float32)
    if start:
        line *= _smooth(place / max(width, 1))
    if end:
        line *= _smooth((length - 1 - place) / max(width, 1))
    return line


def _smooth(values: np.ndarray) -> np.ndarray:
    """Rise from 0 to 1 without a corner at either end."""
    values = values.clip(0, 1)
    return values * values * (3 - 2 * values)
