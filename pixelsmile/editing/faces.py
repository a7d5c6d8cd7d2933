"""Find the face that is meant in a picture, or say what is missing."""

from typing import NamedTuple

from pixelsmile.data.faults import BadItemError
from pixelsmile.editing.framing import Box, check_box
from pixelsmile.editing.reading import Picture
from pixelsmile.errors import UserError
from pixelsmile.models.detectors import Detector, Points

_WAY_OUT = (
    "say where it is with box=[x0,y0,x1,y1] in pixels of the upright picture, or take the picture "
    "as a head-shot with framing.mode=whole."
)
_SQUARE = 1.05
"""Ratio of the edges up to which a picture counts as a square head-shot."""

_HEAD_SHOT = 2.0
"""The same where a detector takes every picture for a head-shot, as that of drawings does."""


class Face(NamedTuple):
    """What is known about the face.

    Attributes:
        box: In pixels of the picture, or None: the picture is a head-shot.
        points: Five landmarks in pixels of the picture, in ArcFace order, or None.
        note: A sentence for the user where something was assumed.
    """

    box: Box | None
    points: Points | None = None
    note: str | None = None


def find_face(
    picture: Picture, detector: Detector, *, box: Box | None = None, needed: bool = True
) -> Face:
    """Return the face in the given box, or else the largest.

    Args:
        picture: Where to look.
        detector: Of the domain.
        box: Given by the user.
        needed: False where a picture without a face will do.

    Raises:
        UserError: If there is none, the box misses the picture, or no detector works and the
            picture is no square.
    """
    width, height = picture.size
    ratio = max(width, height) / min(width, height)
    if box is not None:
        box = check_box(box, width, height)
    try:
        found = detector.locate(picture.on_white(), box)
    except UserError as error:  # its package or weights are missing
        if box is not None or ratio <= _SQUARE or not needed:
            assumed = "" if box is not None else f" {picture.path.name} is taken as a head-shot."
            return Face(box, None, f"{error}{assumed}")
        raise UserError(f"{error} For {picture.path}, {_WAY_OUT}") from None
    if box is not None:
        return Face(box, None if found is None else found.points)
    if found is None and needed:
        raise BadItemError(
            "face", f"No face found in {picture.path} ({width} x {height}): {_WAY_OUT}"
        )
    if found is None:
        return Face(None)
    if found.box is None and needed and ratio > _HEAD_SHOT:
        raise BadItemError(
            "face",
            f"{picture.path} is {width} x {height}, no head-shot, and nothing here finds faces in "
            f"such pictures: {_WAY_OUT}",
        )
    inside = None if found.box is None else _inside(found.box, width, height)
    return Face(inside, found.points)


def _inside(box: Box, width: int, height: int) -> Box:
    return (max(box[0], 0.0), max(box[1], 0.0), min(box[2], width), min(box[3], height))
