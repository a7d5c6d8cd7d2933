"""Three small face recognisers of different families, so that their mean is no one's blind spot.

All map aligned faces, (B, 3, 112, 112) in [-1, 1], to embeddings, (B, 128), not normalised. They
use plain layers only, so that ONNX, onnxruntime and onnx2torch agree on them.
"""

import torch
from torch import Tensor, nn

EMBEDDING = 128


class ArcFaceLike(nn.Sequential):
    """Wide and shallow residual network with PReLU; the embedding sees every position."""

    def __init__(self) -> None:
        super().__init__(
            _convolution(3, 24, 3, stride=2),
            _Residual(24, 32, stride=2),
            _Residual(32, 56, stride=2),
            _Residual(56, 64, stride=2),
            nn.Conv2d(64, 8, 1),
            nn.Flatten(),
            nn.Linear(8 * 7 * 7, EMBEDDING, bias=False),
            nn.BatchNorm1d(EMBEDDING),
        )


class AdaFaceLike(nn.Sequential):
    """Narrow and deep residual network whose last convolution weighs the positions."""

    def __init__(self) -> None:
        super().__init__(
            _convolution(3, 16, 3, stride=2),
            _Residual(16, 24, stride=2),
            _Residual(24, 24),
            _Residual(24, 40, stride=2),
            _Residual(40, 40),
            _Residual(40, 56, stride=2),
            _Residual(56, 56),
            nn.Conv2d(56, 56, 7, groups=56, bias=False),
            nn.BatchNorm2d(56),
            nn.Flatten(),
            nn.Linear(56, EMBEDDING, bias=False),
            nn.BatchNorm1d(EMBEDDING),
        )


class FaceNetLike(nn.Sequential):
    """Parallel branches of different reach with ReLU, averaged over the image."""

    def __init__(self) -> None:
        super().__init__(
            _convolution(3, 16, 5, stride=2, activation=nn.ReLU()),
            _convolution(16, 32, 3, stride=2, activation=nn.ReLU()),
            _Mixed(32, 16),
            nn.MaxPool2d(2),
            _Mixed(64, 24),
            nn.MaxPool2d(2),
            _Mixed(96, 40),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(160, EMBEDDING, bias=False),
            nn.BatchNorm1d(EMBEDDING),
        )


class _Residual(nn.Module):
    """Normalise, convolve twice, add the shortcut."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs),
            _convolution(inputs, outputs, 3, stride=stride),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        same = inputs == outputs and stride == 1
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, H / stride, W / stride)."""
        return self.shortcut(features) + self.body(features)


class _Mixed(nn.Module):
    """Four branches of equal width side by side: reach 1, 3, 5 and a local maximum."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()

        def layer(channels: int, kernel: int) -> nn.Sequential:
            return _convolution(channels, width, kernel, activation=nn.ReLU())

        self.branches = nn.ModuleList(
            [
                layer(inputs, 1),
                nn.Sequential(layer(inputs, 1), layer(width, 3)),
                nn.Sequential(layer(inputs, 1), layer(width, 3), layer(width, 3)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), layer(inputs, 1)),
            ]
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, 4 * width, H, W)."""
        return torch.cat([branch(features) for branch in self.branches], dim=1)


def _convolution(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, activation: nn.Module | None = None
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.PReLU(outputs) if activation is None else activation,
    )
