"""Frozen image encoders: the feature space of the triplet loss."""

from pathlib import Path
from typing import Any, Self, cast

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
)

from pixelsmile.errors import UserError
from pixelsmile.weights import how_to_get, need_weights, reading


class FrozenImageEncoder(nn.Module):
    """Map images, (B, 3, H, W) in [-1, 1], to unit features, (B, D), float32.

    Args:
        vision: Maps normalised images, (B, 3, size, size), to features.
        mean: Per-channel mean that `vision` was trained with, for images in [0, 1].
        std: Per-channel standard deviation, likewise.
        size: Edge of the square input.
        interpolation: `bilinear`, as the release resizes, or `bicubic`, as CLIP was trained; both
            with antialiasing.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        vision: nn.Module,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        size: int,
        interpolation: str = "bilinear",
    ) -> None:
        super().__init__()
        self.vision = vision.eval().requires_grad_(False)
        self.size = size
        self.interpolation = interpolation
        self.register_buffer("mean", _per_channel(mean), persistent=False)
        self.register_buffer("std", _per_channel(std), persistent=False)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: fit() must not wake dropout or batch statistics."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return unit features with gradients to the images, whatever precision the trainer uses.

        Targets are encoded once, outside of the trainer: the same image must get the same feature.
        """
        with torch.autocast(images.device.type, enabled=False):
            images = (images.float() + 1) / 2
            images = F.interpolate(images, self.size, mode=self.interpolation, antialias=True)
            return F.normalize(self.vision((images - self.mean) / self.std).float(), dim=-1)


def _per_channel(values: tuple[float, ...]) -> Tensor:
    return Tensor(list(values)).view(1, -1, 1, 1)


def open_clip_encoder(
    folder: str | Path,
    *,
    architecture: str | None = None,
    projected: bool = False,
    interpolation: str = "bilinear",
) -> FrozenImageEncoder:
    """Load the vision tower of an open_clip model from local files.

    Args:
        folder: An open_clip folder (`open_clip_config.json` and weights), or with `architecture`
            a file of weights.
        architecture: Name of an open_clip architecture. OpenAI's own weights need a name that ends
            in `-quickgelu`, such as `ViT-L-14-quickgelu`: a file of weights does not say so.
        projected: Use the feature after the projection to the joint space; by default the pooled
            feature before it, as the release does. A CLIP ResNet pools and projects in one layer
            and only has the former.
        interpolation: See `FrozenImageEncoder`.

    Raises:
        UserError: If the folder or file is missing or damaged, or the tower has no feature before
            the projection.
    """
    path = need_weights(folder)
    if architecture is not None and architecture not in open_clip.list_models():
        raise UserError(
            f"model.encoder.architecture={architecture} is unknown to open_clip: "
            "choose one of open_clip.list_models(), such as ViT-L-14-quickgelu."
        )
    with reading(path, "open_clip weights"):
        if architecture is None:
            model = open_clip.create_model(f"local-dir:{path}")
        else:
            model = open_clip.create_model(architecture, pretrained=str(path))
    vision = cast(Any, model.visual)  # the towers of open_clip share no typed base
    if not projected:
        if getattr(vision, "proj", None) is None:
            raise UserError(
                f"The image tower in {path} has no pooled feature before its projection: "
                "set model.encoder.projected=true."
            )
        vision.proj = None  # open_clip then returns the pooled feature as it is
    size = vision.image_size[0] if isinstance(vision.image_size, tuple) else vision.image_size
    return FrozenImageEncoder(vision, vision.image_mean, vision.image_std, size, interpolation)


class _TransformersTower(nn.Module):
    """A CLIP vision tower of transformers that returns one feature."""

    def __init__(self, tower: nn.Module, projection: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        self.projection = projection

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the feature, (B, D)."""
        return self.projection(self.tower(pixel_values=pixels).pooler_output)


def transformers_clip_encoder(
    folder: str | Path, *, projected: bool = False, interpolation: str = "bilinear"
) -> FrozenImageEncoder:
    """Load the vision tower of a CLIP that transformers saved, such as DanbooruCLIP.

    Args:
        folder: With `config.json` and weights, of `CLIPModel` or one of its vision models, and
            `preprocessor_config.json`; without the latter the statistics are those of CLIP.
        projected: Use the feature after the projection; by default the pooled one before it.
        interpolation: See `FrozenImageEncoder`.

    Raises:
        UserError: If the folder is missing or damaged, or lacks part of the tower.
    """
    path = need_weights(folder)
    # A whole CLIP is loaded whole: its config is the one that knows the width of the projection.
    kinds: dict[str, Any] = {
        "clip": CLIPModel,
        "clip_vision_model": CLIPVisionModelWithProjection if projected else CLIPVisionModel,
    }
    with reading(path, "a CLIP of transformers"):
        model_type = AutoConfig.from_pretrained(path, local_files_only=True).model_type
        if model_type not in kinds:
            raise UserError(f"{path} holds a {model_type}, not a CLIP: {how_to_get(path)}")
        model, report = kinds[model_type].from_pretrained(
            path, output_loading_info=True, local_files_only=True
        )
        processor = CLIPImageProcessor()
        if (path / "preprocessor_config.json").is_file():
            processor = CLIPImageProcessor.from_pretrained(path, local_files_only=True)
    # transformers fills what a file lacks with random numbers and goes on.
    if absent := sorted(name for name in report["missing_keys"] if name.startswith("vis")):
        raise UserError(
            f"{path} lacks {len(absent)} tensors of the vision tower, e.g. {absent[0]!r}: "
            + ("set model.encoder.projected=false, or " if projected else "")
            + how_to_get(path)
        )
    tower = getattr(model, "vision_model", model)
    projection = model.visual_projection if projected else nn.Identity()
    return FrozenImageEncoder(
        _TransformersTower(tower, projection),
        tuple(processor.image_mean),
        tuple(processor.image_std),
        tower.config.image_size,
        interpolation,
    )
