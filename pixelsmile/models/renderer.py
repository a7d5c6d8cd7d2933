"""From strengths to pixels: what validation, the editor and every command share.

Shapes: N pictures, K expressions, C h w latent, H W image.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pixelsmile.models.autoencoder import Autoencoder
from pixelsmile.models.denoiser import Denoiser
from pixelsmile.models.sampler import Conditions, PromptedField, sample

Advance = Callable[[int], None]


def draw_noise(channels: int, height: int, width: int, seed: int) -> Tensor:
    """Return the noise of a seed, (channels, height, width), float32, the same on every device."""
    numbers = torch.Generator().manual_seed(seed)
    return torch.randn(channels, height, width, generator=numbers)


@torch.no_grad()
def render(
    denoiser: Denoiser,
    autoencoder: Autoencoder,
    conditions: Conditions,
    weights: Tensor,
    noise: Tensor,
    sigmas: Tensor,
    *,
    batch_size: int,
    progress: Advance | None = None,
) -> Tensor:
    """Return one picture for each row of weights, (N, 3, H, W), in [-1, 1], float32.

    All pictures start from the same noise. Equal rows are rendered once.

    Args:
        denoiser: The network.
        autoencoder: Its VAE; the decoder is enough.
        conditions: Of the source.
        weights: (N, K), strength of each expression in each picture, of any sign.
        noise: (C, h, w).
        sigmas: Noise levels, (steps + 1,), from 1 to 0.
        batch_size: Pictures that go through a network together.
        progress: Is told how many pictures' worth of work was finished since the last call.
    """
    rows, places = torch.unique(weights, dim=0, return_inverse=True)
    report = _Report(len(weights), len(sigmas), progress)
    field = PromptedField(denoiser, conditions, rows, batch_size)
    latents = sample(field, noise.to(rows.device), sigmas, report)
    images = torch.cat([autoencoder.decode(part) for part in latents.split(batch_size)])
    report(len(sigmas))
    return images[places]


class _Report:
    """Turn finished stages into finished pictures, whole numbers that add up to all of them."""

    def __init__(self, total: int, stages: int, progress: Advance | None) -> None:
        self.total, self.stages, self.progress = total, stages, progress
        self.told = 0

    def __call__(self, stage: int) -> None:
        done = self.total * stage // self.stages
        if self.progress is not None and done > self.told:
            self.progress(done - self.told)
            self.told = done
