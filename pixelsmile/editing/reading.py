"""Read pictures as people have them: turned, transparent, grey, printed, deep, with a profile.

A `Picture` is what the eye would see: upright, 8 bits a channel, in sRGB, with its transparency
kept apart.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pixelsmile.data.decoding import alpha_of, colours, on_white, upright
from pixelsmile.data.faults import BadItemError
from pixelsmile.data.samples import FORMATS, readable

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".avif")
"""Files of a folder that are taken for pictures, in any case."""

MIN_EDGE = 32
"""Pixels of the shorter side below which there is nothing to edit."""


@dataclass(frozen=True)
class Picture:
    """One picture to edit.

    Attributes:
        path: Where it was read.
        image: RGB, upright, sRGB.
        alpha: Its transparency, mode L, or None where it is opaque.
        digest: SHA-256 of the file.
    """

    path: Path
    image: Image.Image
    alpha: Image.Image | None
    digest: str

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as it is shown."""
        return self.image.size

    def on_white(self) -> Image.Image:
        """Return what the model sees: RGB, with white where the picture is transparent."""
        return on_white(self.image, self.alpha)


def read_picture(path: str | Path) -> Picture:
    """Read a picture file; of an animation its first frame.

    Orientation, colours and depth are read as `pixelsmile.data.decoding.seen` says.

    Args:
        path: Of the file.

    Raises:
        BadItemError: If it is missing, unreadable, smaller than `MIN_EDGE`, over Pillow's limit of
            89 megapixels, or wholly transparent.
    """
    path = Path(path)
    with readable(
        path,
        formats=(*FORMATS, "AVIF"),
        missing="check the path.",
        broken=f"give a whole picture of one of these kinds: {', '.join(SUFFIXES)}.",
    ) as opened:
        opened.load()
        turned = upright(opened)
        picture = Picture(path, colours(turned), alpha_of(turned), read_digest(path))
    width, height = picture.size
    if min(width, height) < MIN_EDGE:
        raise BadItemError(
            "file",
            f"Image {path} has {width} x {height} pixels, too few for a face: give one of "
            f"{MIN_EDGE} x {MIN_EDGE} or more.",
        )
    if picture.alpha is not None and picture.alpha.getextrema()[1] == 0:
        raise BadItemError("file", f"Image {path} is wholly transparent: give another one.")
    return picture


def read_digest(path: Path) -> str:
    """Return the SHA-256 of a picture file, as `Picture.digest` has it.

    Raises:
        BadItemError: If it is missing or cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BadItemError("file", f"Image {path} cannot be read ({reason}): check it.") from None
