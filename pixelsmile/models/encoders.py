"""Frozen image encoders: the feature space of the triplet loss."""

from pathlib import Path
from typing import Any, Self, cast

import open_clip
import torch.nn.functional as F
from torch import Tensor, nn


class FrozenImageEncoder(nn.Module):
    """Map images, (B, 3, H, W) in [-1, 1], to unit features, (B, D), float32.

    Args:
        vision: Maps normalised images, (B, 3, size, size), to features.
        mean: Per-channel mean that `vision` was trained with, for images in [0, 1].
        std: Per-channel standard deviation, likewise.
        size: Edge of the square input.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, vision: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], size: int
    ) -> None:
        super().__init__()
        self.vision = vision.eval().requires_grad_(False)
        self.size = size
        self.register_buffer("mean", _per_channel(mean), persistent=False)
        self.register_buffer("std", _per_channel(std), persistent=False)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: fit() must not wake dropout or batch statistics."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return unit features with gradients to the images."""
        images = (images.float() + 1) / 2
        images = F.interpolate(images, self.size, mode="bilinear", antialias=True)
        return F.normalize(self.vision((images - self.mean) / self.std).float(), dim=-1)


def _per_channel(values: tuple[float, ...]) -> Tensor:
    return Tensor(list(values)).view(1, -1, 1, 1)


def open_clip_encoder(
    folder: str | Path, *, architecture: str | None = None, projected: bool = False
) -> FrozenImageEncoder:
    """Load the vision tower of an open_clip model from local files.

    Args:
        folder: An open_clip folder (`open_clip_config.json` and weights), or with `architecture`
            a file of weights.
        architecture: Name of an open_clip architecture such as `ViT-L-14`.
        projected: Use the feature after the projection to the joint space; by default the pooled
            feature before it, as the release does. A CLIP ResNet pools and projects in one layer
            and only has the former.

    Raises:
        FileNotFoundError: If the folder or file is missing.
        ValueError: If the tower has no feature before the projection.
    """
    path = Path(folder)
    if not path.exists():
        raise FileNotFoundError(
            f"No CLIP weights at {path}: set model.encoder.folder to an open_clip folder."
        )
    if architecture is None:
        model = open_clip.create_model(f"local-dir:{path}")
    else:
        model = open_clip.create_model(architecture, pretrained=str(path))
    vision = cast(Any, model.visual)  # the towers of open_clip share no typed base
    if not projected:
        if getattr(vision, "proj", None) is None:
            raise ValueError(
                f"The image tower in {path} has no pooled feature before its projection: "
                "set model.encoder.projected=true."
            )
        vision.proj = None  # open_clip then returns the pooled feature as it is
    size = vision.image_size[0] if isinstance(vision.image_size, tuple) else vision.image_size
    return FrozenImageEncoder(vision, vision.image_mean, vision.image_std, size)
