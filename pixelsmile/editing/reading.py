"""Read pictures as people have them: turned, transparent, grey, printed, deep, with a profile.

A `Picture` is what the eye would see: upright, 8 bits a channel, in sRGB, with its transparency
kept apart.
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from pixelsmile.data.faults import BadItemError
from pixelsmile.data.samples import FORMATS, readable

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".avif")
"""Files of a folder that are taken for pictures, in any case."""

MIN_EDGE = 32
"""Pixels of the shorter side below which there is nothing to edit."""

_SRGB = ImageCms.createProfile("sRGB")
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")


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
        return _on_white(self.image, self.alpha)


def seen(image: Image.Image) -> Image.Image:
    """Return a PIL image as `Picture.on_white` would: RGB, upright, sRGB, on white."""
    upright = _upright(image)
    return _on_white(_colours(upright), _alpha(upright))


def read_picture(path: str | Path) -> Picture:
    """Read a picture file; of an animation its first frame.

    EXIF orientation is applied. Colours are converted to sRGB by the embedded ICC profile; a
    profile that is damaged, or made for other channels, is passed over. 16-bit values are divided
    by 257, floating-point values count from 0 to 1, or to 255 if one is above 1.

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
        upright = _upright(opened)
        picture = Picture(path, _colours(upright), _alpha(upright), read_digest(path))
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


def _on_white(image: Image.Image, alpha: Image.Image | None) -> Image.Image:
    if alpha is None:
        return image
    return Image.composite(image, Image.new("RGB", image.size, "white"), alpha)


def _upright(image: Image.Image) -> Image.Image:
    """Return the image as its EXIF orientation shows it; damaged EXIF says nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the parser of EXIF raises whatever the damaged bytes lead it to
        return image.copy()


def _alpha(image: Image.Image) -> Image.Image | None:
    """Return the transparency, None if every pixel is opaque."""
    if not image.has_transparency_data:
        return None
    if image.mode in _DEEP:  # one value of grey stands for transparent
        clear = np.asarray(image) == image.info["transparency"]
        alpha = Image.fromarray(np.where(clear, 0, 255).astype(np.uint8))
    else:
        alpha = image.convert("RGBA").getchannel("A")
    return None if alpha.getextrema()[0] == 255 else alpha


def _colours(image: Image.Image) -> Image.Image:
    """Return the image without transparency, as RGB in sRGB."""
    profile = image.info.get("icc_profile")
    image = _eight_bits(image)
    converted = None if profile is None else _from_profile(image, profile)
    return image.convert("RGB") if converted is None else converted


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return the image in L, RGB, CMYK, or another mode that Pillow converts without loss."""
    if image.mode in _DEEP:
        deep = np.asarray(image).astype(np.float64) / 257
        return Image.fromarray(deep.round().clip(0, 255).astype(np.uint8))
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        scale = 255 if values.max() <= 1 else 1
        return Image.fromarray((values * scale).round().clip(0, 255).astype(np.uint8))
    if image.mode in ("1", "L", "LA", "La"):
        return image.convert("LA").getchannel("L") if image.mode == "La" else image.convert("L")
    if image.mode == "RGBa":
        image = image.convert("RGBA")
    if image.mode in ("P", "PA", "RGBA", "RGBX"):
        return image.convert("RGBA").convert("RGB")  # by way of RGBA: palettes keep their colours
    return image


def _from_profile(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Return the image in sRGB, or None where the profile cannot be used."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if ImageCms.getProfileDescription(source).startswith("sRGB"):
            return None  # nothing to convert, and rounding would cost a level
        return ImageCms.profileToProfile(image, source, _SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
