"""From strengths to pixels: what validation, the editor and every command share.

Shapes: N pictures, K expressions, C h w latent, H W image.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelsmile.models.autoencoder import Autoencoder
from pixelsmile.models.denoiser import Denoiser
from pixelsmile.models.sampler import Conditions, PromptedField, sample
from pixelsmile.models.speed import Speed

EXACT = Speed()

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
    speed: Speed = EXACT,
    progress: Advance | None = None,
    using: Callable[[nn.Module], AbstractContextManager[None]] = nullcontext,
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
        speed: What may be left out.
        progress: Is told how many pictures' worth of work was finished since the last call.
        using: Returns a context manager within which a network may be called.
    """
    rows, places, asked = distinct_rows(weights, with_neutral=not speed.exact)
    groups = split_rows(rows, speed.at_once)
    stages = len(groups) * (len(sigmas) - 1) + 1
    report, noise = _Report(len(weights), stages, progress), noise.to(rows.device)
    parts = []
    with using(denoiser):
        for number, group in enumerate(groups):
            before = number * (len(sigmas) - 1)
            field = speed.wrap(PromptedField(denoiser, conditions, rows[group], batch_size))
            latents = sample(field, noise, sigmas, lambda step, done=before: report(done + step))
            parts.append(latents if number == 0 else latents[1:])  # its leader is there already
    latents = torch.cat(parts)[asked]
    with using(autoencoder):
        images = torch.cat([autoencoder.decode(part) for part in latents.split(batch_size)])
    report(stages)
    return images[places]


def split_rows(rows: Tensor, at_once: int | None) -> list[Tensor]:
    """Return numbers of rows in groups of at most `at_once` beside row 0, which leads them all.

    Example:
        >>> split_rows(torch.zeros(4, 1), 2)
        [tensor([0, 1, 2]), tensor([0, 3])]
    """
    numbers = torch.arange(len(rows), device=rows.device)
    if at_once is None or len(rows) <= at_once + 1:
        return [numbers]
    return [torch.cat([numbers[:1], part]) for part in numbers[1:].split(at_once)]


def distinct_rows(weights: Tensor, *, with_neutral: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows that differ, so that no picture is rendered twice.

    Args:
        weights: (N, K).
        with_neutral: Put the neutral row first, and add it where it is missing; a single row
            stays alone.

    Returns:
        The rows to sample, (R, K); for each picture its place among those asked for, (N,); and
        which of the rows were asked for, (R,), bool.
    """
    rows, places = torch.unique(weights + 0.0, dim=0, return_inverse=True)
    neutral = ~rows.any(dim=1)
    asked = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    if not with_neutral or len(rows) == 1:
        return rows, places, asked
    if not neutral.any():
        return torch.cat([rows.new_zeros(1, rows.shape[1]), rows]), places, F.pad(asked, (1, 0))
    order = torch.argsort(~neutral, stable=True)
    return rows[order], torch.argsort(order)[places], asked


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
