"""Images and landmarks of samples as tensors, at the sizes that the models take."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from pixelsmile.data.crops import DIRECT, Resize
from pixelsmile.data.samples import Sample
from pixelsmile.data.squares import load_picture, place
from pixelsmile.errors import UserError


@dataclass(frozen=True)
class Sizes:
    """Edges of the square images, in pixels, and how images become square.

    Attributes:
        image: Of the target, as the VAE sees it.
        text: Of the image that the text encoder sees.
        condition: Of the source, as the VAE sees it; None stands for `image`.
        resize: The same rule for all three.
    """

    image: int
    text: int
    condition: int | None = None
    resize: Resize = DIRECT

    @property
    def of_source(self) -> int:
        """Return the size of the source."""
        return self.image if self.condition is None else self.condition


def load_image(sample: Sample, size: int, resize: Resize = DIRECT) -> Tensor:
    """Return an image, (3, size, size), in [-1, 1]."""
    return pil_to_tensor(load_picture(sample, size, resize)).float() / 127.5 - 1


def load_landmarks(sample: Sample, size: int, resize: Resize = DIRECT) -> Tensor:
    """Return five landmarks, (5, 2), in pixels of the square image.

    Raises:
        UserError: If the annotations have none.
    """
    if sample.landmarks is None:
        raise UserError(
            f"Image {sample.image} has no landmarks, which face recognition needs: add "
            "'landmarks' to its annotation line."
        )
    return torch.tensor(place(sample, size, resize).points(sample.landmarks), dtype=torch.float32)
