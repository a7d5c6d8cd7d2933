"""Changes that must not change a verdict: framing, light, and the ways in which edits are unsharp.

All functions take and return images, (B, 3, H, W), in [-1, 1]; a change that has a chance below 1
falls on a random part of the batch. Randomness comes from the generator alone.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Change = Callable[[Tensor, Generator], Tensor]


def augment(
    images: Tensor, generator: Generator, *, framing: float = 1.0, softness: float = 1.0
) -> Tensor:
    """Apply all of them in the order in which a camera, an editor and a file would.

    Args:
        images: (B, 3, H, W), in [-1, 1].
        generator: On the CPU.
        framing: Size of shift and scale; 1 is up to 4 % of the edge and 8 % of the size.
        softness: Chance factor of blur, resampling, compression and noise.
    """
    images = frame(images, generator, shift=0.04 * framing, scale=0.08 * framing)
    images = light(images, generator)
    images = _sometimes(images, 0.35 * softness, generator, blur)
    images = _sometimes(images, 0.30 * softness, generator, resample)
    images = _sometimes(images, 0.20 * softness, generator, compress)
    images = _sometimes(images, 0.30 * softness, generator, grain)
    return images.clamp(-1, 1)


def frame(images: Tensor, generator: Generator, *, shift: float, scale: float) -> Tensor:
    """Move and scale each image; the border is repeated."""
    count = len(images)
    matrices = torch.zeros(count, 2, 3)
    size = 1 + scale * _signed(count, generator)
    matrices[:, 0, 0] = matrices[:, 1, 1] = size
    matrices[:, 0, 2] = 2 * shift * _signed(count, generator)
    matrices[:, 1, 2] = 2 * shift * _signed(count, generator)
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def light(images: Tensor, generator: Generator) -> Tensor:
    """Change brightness, contrast and colour of each image."""
    count = len(images)
    contrast = 1 + 0.2 * _signed(count, generator).view(-1, 1, 1, 1)
    brightness = 0.2 * _signed(count, generator).view(-1, 1, 1, 1)
    tint = 1 + 0.08 * _signed(3 * count, generator).view(-1, 3, 1, 1)
    return ((images * contrast + brightness + 1) * tint - 1).clamp(-1, 1)


def blur(images: Tensor, generator: Generator) -> Tensor:
    """Blur with one Gaussian of 0.4 to 1.5 pixels."""
    sigma = 0.4 + 1.1 * float(torch.rand((), generator=generator))
    height, width = images.shape[-2:]
    return _smoothing(height, sigma) @ images @ _smoothing(width, sigma).T


def resample(images: Tensor, generator: Generator) -> Tensor:
    """Reduce to 40 to 90 % and enlarge again."""
    height, width = images.shape[-2:]
    factor = 0.4 + 0.5 * float(torch.rand((), generator=generator))
    small = (round(height * factor), round(width * factor))
    images = F.interpolate(images, small, mode="bilinear", antialias=True)
    return F.interpolate(images, (height, width), mode="bilinear")


def compress(images: Tensor, generator: Generator) -> Tensor:
    """Quantise the 8 x 8 cosine transform, coarser at high frequencies, as JPEG does."""
    count, channels, height, width = images.shape
    basis = _cosine_basis()
    blocks = images.reshape(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    spectrum = basis @ blocks @ basis.T
    ramp = torch.arange(8.0)
    strength = 0.02 + 0.10 * float(torch.rand((), generator=generator))
    steps = strength * (1 + ramp[:, None] + ramp[None, :])
    blocks = basis.T @ ((spectrum / steps).round() * steps) @ basis
    return blocks.transpose(3, 4).reshape(count, channels, height, width)


def grain(images: Tensor, generator: Generator) -> Tensor:
    """Add Gaussian noise of up to 0.06."""
    deviation = 0.06 * torch.rand(len(images), 1, 1, 1, generator=generator)
    return images + deviation * torch.randn(images.shape, generator=generator)


def _sometimes(images: Tensor, chance: float, generator: Generator, change: Change) -> Tensor:
    chosen = torch.rand(len(images), generator=generator) < chance
    if not chosen.any():
        return images
    images = images.clone()
    images[chosen] = change(images[chosen], generator)
    return images


def _signed(count: int, generator: Generator) -> Tensor:
    return 2 * torch.rand(count, generator=generator) - 1


def _smoothing(size: int, sigma: float) -> Tensor:
    """Return the matrix that blurs a column of `size` pixels; far faster here than convolution."""
    steps = torch.arange(float(size))
    weights = torch.exp(-((steps[:, None] - steps[None, :]) ** 2) / (2 * sigma**2))
    return weights / weights.sum(1, keepdim=True)


def _cosine_basis() -> Tensor:
    """Return the orthonormal DCT-II of eight samples, (8, 8), one frequency a row."""
    frequency, sample = torch.arange(8.0)[:, None], torch.arange(8.0)[None, :]
    basis = torch.cos(math.pi * (sample + 0.5) * frequency / 8) / 2
    basis[0] /= math.sqrt(2)
    return basis
