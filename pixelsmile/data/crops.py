"""How an image of any shape lands on a square canvas. Pure geometry, no pixels.

Coordinates are continuous: the left edge of an image is 0, its right edge is its width. Boxes are
x0, y0, x1, y1.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from pixelsmile.errors import UserError

Box = tuple[float, ...]
Point = tuple[float, float]


class Placement(NamedTuple):
    """Where the pixels go: x lands on x * scale_x - left, y on y * scale_y - top.

    A negative `left` or `top` leaves a margin to fill, a positive one cuts.
    """

    scale_x: float
    scale_y: float
    left: float
    top: float

    def points(self, points: Iterable[Point]) -> list[Point]:
        """Return points of the image in pixels of the canvas."""
        return [(x * self.scale_x - self.left, y * self.scale_y - self.top) for x, y in points]

    def box(self, box: Box) -> Box:
        """Return a box of the image in pixels of the canvas, not clipped to it."""
        (x0, y0), (x1, y1) = self.points([(box[0], box[1]), (box[2], box[3])])
        return (x0, y0, x1, y1)


@dataclass(frozen=True)
class Resize:
    """The rule that makes images square; its repr is stable and may enter a cache key.

    Attributes:
        mode: `direct` stretches both sides, `padding` keeps the shape and reflects the image into
            the margins, `crop` keeps the shape and covers the canvas, centred on the face box
            horizontally.
        vertical_bias: For `crop`, the share of the free height that lies above the box: 0 puts the
            box at the top of the crop, 1 at the bottom; 0.5 is the release's.

    Raises:
        UserError: If the mode is unknown or the bias outside [0, 1].

    Example:
        >>> Resize("crop").place(200, 100, 50, box=(120, 20, 160, 80))
        Placement(scale_x=0.5, scale_y=0.5, left=45.0, top=0.0)
    """

    mode: str = "direct"
    vertical_bias: float = 0.5

    def __post_init__(self) -> None:
        """Check the values, which come from a config."""
        if self.mode not in MODES:
            raise UserError(f"data.resize={self.mode}: choose one of {', '.join(MODES)}.")
        if not 0 <= self.vertical_bias <= 1:
            raise UserError(f"data.vertical_bias={self.vertical_bias}: give a number in [0, 1].")

    @property
    def follows_box(self) -> bool:
        """Tell whether the face box decides where the pixels go."""
        return self.mode == "crop"

    def place(self, width: int, height: int, size: int, box: Box | None = None) -> Placement:
        """Return where an image goes on a canvas of size x size.

        Args:
            width: Of the image in pixels.
            height: Of the image in pixels.
            size: Edge of the canvas in pixels.
            box: Face box in pixels of the image; None stands for the whole image.
        """
        return MODES[self.mode](width, height, size, box, self.vertical_bias)


def _direct(width: int, height: int, size: int, box: Box | None, bias: float) -> Placement:
    return Placement(size / width, size / height, 0.0, 0.0)


def _padding(width: int, height: int, size: int, box: Box | None, bias: float) -> Placement:
    scale = size / max(width, height)
    inner_width, inner_height = (max(1, round(edge * scale)) for edge in (width, height))
    # Whole margins: the image inside is resized on its own before it is reflected.
    return Placement(
        inner_width / width,
        inner_height / height,
        -float((size - inner_width) // 2),
        -float((size - inner_height) // 2),
    )


def _crop(width: int, height: int, size: int, box: Box | None, bias: float) -> Placement:
    scale = size / min(width, height)
    x0, y0, x1, y1 = (0, 0, width, height) if box is None else box
    left = (x0 + x1) / 2 * scale - size / 2
    top = y0 * scale - bias * (size - (y1 - y0) * scale)
    return Placement(
        scale,
        scale,
        # 0 has the last word: rounding puts width * scale as much as 1e-13 below the size.
        max(min(left, width * scale - size), 0.0),
        max(min(top, height * scale - size), 0.0),
    )


MODES: dict[str, Callable[[int, int, int, Box | None, float], Placement]] = {
    "direct": _direct,
    "padding": _padding,
    "crop": _crop,
}
"""What `Resize.mode` may be."""

DIRECT = Resize()
"""Stretch both sides to the edge of the canvas."""
