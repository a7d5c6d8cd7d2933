"""Images of samples as squares, without torch: for whoever only looks at them."""

import numpy as np
from PIL import Image

from pixelsmile.data.crops import DIRECT, Placement, Resize
from pixelsmile.data.samples import Sample, image_size, open_image


def geometry(sample: Sample, resize: Resize) -> tuple[object, ...]:
    """Return what the pixels of a square image depend on beside its file and size."""
    if resize.follows_box:
        return (resize.mode, resize.vertical_bias, sample.crop_box)
    return (resize.mode,)


def place(sample: Sample, size: int, resize: Resize = DIRECT) -> Placement:
    """Return where a sample's image lands on a canvas of size x size; reads the header only.

    Raises:
        UserError: If the file is missing or no image.
    """
    return resize.place(*image_size(sample.image), size, sample.crop_box)


def load_picture(sample: Sample, size: int, resize: Resize = DIRECT) -> Image.Image:
    """Return an image as RGB, size x size, resampled by Lanczos.

    Raises:
        UserError: If the file is missing or cannot be read.
    """
    image = open_image(sample.image)
    placement = resize.place(*image.size, size, sample.crop_box)
    if placement == (1.0, 1.0, 0.0, 0.0) and image.size == (size, size):
        return image
    inner = (round(image.width * placement.scale_x), round(image.height * placement.scale_y))
    if min(inner) < size:
        return _reflected(image.resize(inner, Image.Resampling.LANCZOS), size, placement)
    return image.resize(
        (size, size), Image.Resampling.LANCZOS, box=_visible(placement, image, size)
    )


def _visible(
    placement: Placement, image: Image.Image, size: int
) -> tuple[float, float, float, float]:
    """Return the part of the image that fills the canvas; rounding must not leave the image."""
    scale_x, scale_y, left, top = placement
    right, bottom = (left + size) / scale_x, (top + size) / scale_y
    return (left / scale_x, top / scale_y, min(right, image.width), min(bottom, image.height))


def _reflected(image: Image.Image, size: int, placement: Placement) -> Image.Image:
    """Mirror an image of the inner size into the margins."""
    inner = np.asarray(image)
    before = (round(-placement.top), round(-placement.left))
    margins = [
        (start, size - start - edge) for start, edge in zip(before, inner.shape[:2], strict=True)
    ]
    return Image.fromarray(np.pad(inner, [*margins, (0, 0)], mode="reflect"))
