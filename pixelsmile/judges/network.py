"""A small convolutional network that reads twelve expression scores from one face."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelsmile.expressions import EXPRESSIONS

SIZE = 128


class ExpressionNet(nn.Module):
    """Score the twelve expressions of a face; about 0.2 M parameters.

    The last feature map is read with its positions, not averaged: whether a raised edge lies at the
    brow or at the mouth is what tells expressions apart.

    Args:
        widths: Channels after each halving of the image: 64, 32, 16 and 8 pixels a side.

    Shape:
        - images: (B, 3, H, W), in [-1, 1]; other sizes than 128 are resized.
        - output: (B, 12), in [0, 1], in the order of `EXPRESSIONS`.
    """

    def __init__(self, widths: tuple[int, int, int, int] = (16, 32, 64, 96)) -> None:
        super().__init__()
        self.widths = widths
        first, second, third, fourth = widths
        self.features = nn.Sequential(
            _block(3, first, stride=2),
            _block(first, second, stride=2),
            _block(second, third, stride=2),
            _Residual(third),
            _block(third, fourth, stride=2),
            _block(fourth, third),
        )
        self.squeeze = nn.Conv2d(third, 16, 1)
        self.head = nn.Linear(third + 16 * (SIZE // 16) ** 2, len(EXPRESSIONS))

    def logits(self, images: Tensor) -> Tensor:
        """Return the scores before the sigmoid, (B, 12), for losses."""
        if images.shape[-2:] != (SIZE, SIZE):
            images = F.interpolate(images, (SIZE, SIZE), mode="bilinear", antialias=True)
        features = self.features(images)
        placed = F.relu(self.squeeze(features)).flatten(1)
        return self.head(torch.cat([features.mean((2, 3)), placed], dim=1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores."""
        return self.logits(images).float().sigmoid()


class _Residual(nn.Module):
    """Two convolutions around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_block(width, width), _block(width, width, activate=False))

    def forward(self, features: Tensor) -> Tensor:
        """Keep width and size."""
        return F.relu(features + self.body(features))


def _block(inputs: int, outputs: int, *, stride: int = 1, activate: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, nn.ReLU()) if activate else nn.Sequential(*layers)
