"""A decoded picture as the eye sees it: upright, 8 bits a channel, in sRGB, transparency on white.

Training and editing share this, so that an image means the same to both.
"""

import io

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

_SRGB = ImageCms.createProfile("sRGB")
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_UPRIGHT = 1
"""The EXIF orientation that asks for nothing."""


def seen(image: Image.Image) -> Image.Image:
    """Return an image as RGB, upright, in sRGB, with white where it is transparent.

    EXIF orientation is applied. Colours are converted to sRGB by the embedded ICC profile; a
    profile that is damaged, or made for other channels, is passed over. 16-bit values are divided
    by 257, floating-point values count from 0 to 1, or to 255 if one is above 1. Eight bits of
    plain RGB come out as they are.
    """
    turned = upright(image)
    return on_white(colours(turned), alpha_of(turned))


def seen_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height of `seen`; only what may lie on its side is decoded for it."""
    if image.width == image.height:
        return image.size
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, _UPRIGHT) != _UPRIGHT
    except Exception:  # as in `upright`
        turned = False
    if turned:
        image.load()  # TIFF is turned by that
        image = upright(image)
    return image.size


def on_white(image: Image.Image, alpha: Image.Image | None) -> Image.Image:
    """Return an RGB image with white where its transparency, mode L, says so."""
    if alpha is None:
        return image
    return Image.composite(image, Image.new("RGB", image.size, "white"), alpha)


def upright(image: Image.Image) -> Image.Image:
    """Return the image as its EXIF orientation shows it; damaged EXIF says nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the parser of EXIF raises whatever the damaged bytes lead it to
        return image.copy()


def alpha_of(image: Image.Image) -> Image.Image | None:
    """Return the transparency, None if every pixel is opaque."""
    if not image.has_transparency_data:
        return None
    if image.mode in _DEEP:  # one value of grey stands for transparent
        clear = np.asarray(image) == image.info["transparency"]
        alpha = Image.fromarray(np.where(clear, 0, 255).astype(np.uint8))
    else:
        alpha = image.convert("RGBA").getchannel("A")
    return None if alpha.getextrema()[0] == 255 else alpha


def colours(image: Image.Image) -> Image.Image:
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
