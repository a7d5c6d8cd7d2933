"""What an editor knows about one image, encoded once for any number of edits."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pixelsmile.data.decoding import seen
from pixelsmile.editing.reading import read_picture
from pixelsmile.errors import UserError

ImageLike = Image.Image | str | Path


@dataclass(frozen=True)
class Source:
    """An encoded image and its prompts.

    Shapes: H W image, C h w latent (1/8), L text tokens, T suffix tokens, D text width.

    Attributes:
        image: (3, H, W), in [-1, 1], at the size of the edits.
        latent: (C, h, w), float32.
        neutral: (L, D), embedding of the neutral prompt, in the dtype of the text encoder.
        suffixes: (12, T, D), what replaces its last T tokens for each expression.
    """

    image: Tensor
    latent: Tensor
    neutral: Tensor
    suffixes: Tensor


def open_source(image: Image.Image | str | Path) -> Image.Image:
    """Return an image as the eye sees it: RGB, upright, sRGB, white where it is transparent.

    Raises:
        UserError: If it is a path that cannot be read, or no image at all.
    """
    if isinstance(image, Image.Image):
        return seen(image)
    if not isinstance(image, str | Path):
        raise UserError(
            f"The image is a {type(image).__name__}: give a PIL image or the path of a file."
        )
    return read_picture(image).on_white()


def to_pixels(image: Image.Image, height: int, width: int) -> Tensor:
    """Return an RGB image, stretched to a size, as (3, height, width), in [-1, 1]."""
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1


def check_size(height: int, width: int) -> None:
    """Refuse sizes that latents cannot have.

    Raises:
        UserError: If one of them is no positive multiple of 16.
    """
    if min(height, width) < 16 or height % 16 or width % 16:
        raise UserError(f"size=({height}, {width}): give height and width in multiples of 16.")
