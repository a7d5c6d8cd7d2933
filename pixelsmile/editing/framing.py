"""Which part of a picture the model edits, and at which size. Pure geometry.

Boxes are x0, y0, x1, y1 in pixels of the picture; sizes of edits are (height, width).
"""

import math
from dataclasses import dataclass

from pixelsmile.errors import UserError

Box = tuple[float, ...]
Crop = tuple[int, int, int, int]

STEP = 16
"""Edits have edges in multiples of this: the autoencoder's 8 times patches of 2."""

LONGEST = 4.0
"""Ratio of the edges of an edit above which there is no face to speak of."""


@dataclass(frozen=True)
class Framing:
    """The rule that says what of a picture goes through the model; it may enter a fingerprint.

    Attributes:
        mode: `whole` takes the picture as it is, `face` a square around the face, `auto` the
            square unless it would hold nearly everything.
        share: Of the square's edge, what the longer side of the face box takes. Above the box is
            as much room as below it.
        whole_from: For `auto`, the share of the picture's shorter edge from which the square is
            nearly everything.

    Raises:
        UserError: If the mode is unknown or a share lies outside (0, 1].
    """

    mode: str = "auto"
    share: float = 0.7
    whole_from: float = 0.85

    def __post_init__(self) -> None:
        """Check the values, which come from a config."""
        if self.mode not in MODES:
            raise UserError(f"framing.mode={self.mode}: choose one of {', '.join(MODES)}.")
        for name in ("share", "whole_from"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
                raise UserError(f"framing.{name}={value}: give a number above 0, at most 1.")

    def crop(self, width: int, height: int, box: Box | None) -> Crop:
        """Return the part of a picture to edit, in whole pixels inside it.

        Args:
            width: Of the picture.
            height: Of the picture.
            box: Of the face; None, where nobody knows, takes the whole picture.

        Example:
            >>> Framing("face", share=0.5).crop(400, 300, (180, 100, 220, 150))
            (150, 75, 250, 175)
        """
        whole = (0, 0, width, height)
        if box is None or self.mode == "whole":
            return whole
        edge = max(box[2] - box[0], box[3] - box[1]) / self.share
        if self.mode == "auto" and edge >= self.whole_from * min(width, height):
            return whole
        x0, x1 = _span((box[0] + box[2]) / 2, edge, width)
        y0, y1 = _span((box[1] + box[3]) / 2, edge, height)
        return (x0, y0, x1, y1)


MODES = ("auto", "face", "whole")
"""What `Framing.mode` may be."""


def _span(centre: float, edge: float, limit: int) -> tuple[int, int]:
    """Return start and end of an edge around a centre, moved and cut to lie within 0 to limit."""
    length = min(max(1, round(edge)), limit)
    start = min(max(round(centre - edge / 2), 0), limit - length)
    return start, start + length


def edit_size(width: int, height: int, edge: int) -> tuple[int, int]:
    """Return the (height, width) at which a part of a picture is edited.

    The shape is kept as far as multiples of 16 allow, the area is that of a square.

    Args:
        width: Of the part, in pixels.
        height: Of the part, in pixels.
        edge: Of the square that the model was made for.

    Raises:
        UserError: If one side is more than `LONGEST` times the other.

    Example:
        >>> edit_size(1920, 1080, 512)
        (384, 688)
        >>> edit_size(70, 70, 128)
        (128, 128)
    """
    ratio = width / height
    if not 1 / LONGEST <= ratio <= LONGEST:
        raise UserError(
            f"{width} x {height} pixels are too long a strip to edit: crop the picture, or give "
            "the face as box=[x0,y0,x1,y1]."
        )
    return _multiple(edge / math.sqrt(ratio)), _multiple(edge * math.sqrt(ratio))


def _multiple(length: float) -> int:
    return max(STEP, round(length / STEP) * STEP)


def check_box(box: Box, width: int, height: int) -> Box:
    """Return a box that a person gave, cut to the picture.

    Raises:
        UserError: If it is no box of at least 8 x 8 pixels inside the picture.

    Example:
        >>> check_box((-5, 10, 60, 90), 50, 100)
        (0.0, 10.0, 50.0, 90.0)
    """
    x0, y0, x1, y1 = box
    cut = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
    if cut[2] - cut[0] < 8 or cut[3] - cut[1] < 8:
        shown = ",".join(f"{value:g}" for value in box)
        raise UserError(
            f"box=[{shown}] leaves no face of 8 x 8 pixels in a picture of {width} x {height}: "
            "give left, top, right and bottom of the face in pixels of the upright picture."
        )
    return tuple(float(value) for value in cut)
