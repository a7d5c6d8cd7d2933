"""Refuse what is no picture, or too much of one, before anything is decoded."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from pixelsmile.errors import UserError

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "TIFF", "GIF")
"""What is read, told by the content of a file and not by its name. MPO is the JPEG of phones that
keep a second picture, such as a depth map, in the same file."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")


@dataclass(frozen=True)
class Limits:
    """How large an upload may be.

    Attributes:
        megabytes: Size of the file.
        megapixels: Size of the picture.
        smallest: Length of the shorter edge, in pixels.
    """

    megabytes: float = 20
    megapixels: float = 50
    smallest: int = 32

    @property
    def sentence(self) -> str:
        """What may be uploaded, for the page."""
        return (
            f"JPEG, PNG, WebP, TIFF, BMP or GIF, up to {self.megabytes:g} MB and "
            f"{self.megapixels:g} megapixels"
        )


def check_upload(path: str | os.PathLike[str], limits: Limits) -> None:
    """Look at size and header of an upload; nothing is decoded.

    Args:
        path: Of the file.
        limits: What is allowed.

    Raises:
        UserError: If it is empty, too large, no picture of `FORMATS`, or too small.
    """
    path = Path(path)
    size = path.stat().st_size
    if size == 0:
        raise UserError(f"{path.name} is empty: choose another file.")
    if size > limits.megabytes * 1e6:
        raise UserError(
            f"{path.name} has {size / 1e6:.1f} MB: upload at most {limits.megabytes:g} MB."
        )
    width, height, kind = _header(path)
    if kind not in FORMATS:
        raise UserError(f"{path.name} is a {kind} file: upload {limits.sentence}.")
    if width * height > limits.megapixels * 1e6:
        raise UserError(
            f"{path.name} has {width} x {height} pixels: upload at most "
            f"{limits.megapixels:g} megapixels."
        )
    if min(width, height) < limits.smallest:
        raise UserError(
            f"{path.name} has {width} x {height} pixels: each edge needs {limits.smallest} or more."
        )


def _header(path: Path) -> tuple[int, int, str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # we count ourselves
            with Image.open(path) as image:
                return *image.size, image.format or "unknown"
    except Image.DecompressionBombError:
        raise UserError(f"{path.name} claims to be gigantic: upload a smaller picture.") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise UserError(
            f"{path.name} is no picture that can be read: upload a JPEG, PNG, WebP, TIFF, BMP or "
            "GIF file."
        ) from None
