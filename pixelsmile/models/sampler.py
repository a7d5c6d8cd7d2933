"""Euler sampling of the flow, many pictures of one source at a time.

Shapes: R rows (pictures), K expressions, C h w latent, L tokens, T suffix tokens, D text width.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import calculate_shift
from torch import Tensor

from pixelsmile.conditioning import steer_text
from pixelsmile.models.denoiser import Denoiser


class Conditions(NamedTuple):
    """What all pictures of one source have in common."""

    latent: Tensor  # (C, h', w'), of the source
    neutral: Tensor  # (L, D), embedding of the neutral prompt
    suffixes: Tensor  # (K, T, D), what replaces its last tokens for each expression


class Field(Protocol):
    """The velocities of R pictures, of which each has its prompt."""

    weights: Tensor
    """(R, K), strength of each expression in each picture."""

    def __call__(self, latents: Tensor, sigma: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return velocities, shaped as the latents.

        Args:
            latents: Of the rows, (len(rows), C, h, w).
            sigma: Noise level of all of them, ().
            rows: (n,), which pictures they are of; None stands for all.
        """
        ...


class PromptedField:
    """Ask the denoiser about every picture.

    Args:
        denoiser: The network.
        conditions: Of the source.
        weights: (R, K).
        batch_size: Pictures that go through the network together.
    """

    def __init__(
        self, denoiser: Denoiser, conditions: Conditions, weights: Tensor, batch_size: int
    ) -> None:
        self.denoiser = denoiser
        self.conditions = conditions
        self.weights = weights
        self.batch_size = batch_size

    def __call__(self, latents: Tensor, sigma: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return velocities, float32, see `Field`."""
        if rows is None:
            rows = torch.arange(len(self.weights), device=latents.device)
        latent, neutral, _ = self.conditions
        return self._in_batches(latents, sigma, rows, neutral, latent)

    def own_tokens(self, latents: Tensor, sigma: Tensor, rows: Tensor, shared_text: int) -> Tensor:
        """Return velocities from the tokens that each picture has of its own.

        The source and the first tokens of the prompts are left out: an installed
        `pixelsmile.models.context.Context` stands for them.
        """
        tail = self.conditions.neutral[shared_text:]
        return self._in_batches(latents, sigma, rows, tail, None)

    def _in_batches(
        self, latents: Tensor, sigma: Tensor, rows: Tensor, neutral: Tensor, source: Tensor | None
    ) -> Tensor:
        dtype = self.denoiser.dtype
        parts = []
        for noisy, some in zip(
            latents.split(self.batch_size), rows.split(self.batch_size), strict=True
        ):
            count = len(some)
            text = steer_text(neutral, self.conditions.suffixes, self.weights[some])
            velocity = self.denoiser(
                noisy.to(dtype),
                sigma.expand(count),
                None if source is None else source.to(dtype).expand(count, -1, -1, -1),
                text.to(dtype),
            )
            parts.append(velocity.float())
        return torch.cat(parts)


def sigma_schedule(
    scheduler: FlowMatchEulerDiscreteScheduler, num_steps: int, num_tokens: int
) -> Tensor:
    """Return the noise levels that the stock pipeline visits, (num_steps + 1,), from 1 to 0.

    Args:
        scheduler: Gives the time shift.
        num_steps: Model calls; at least 2, because the stock terminal shift divides by zero at 1.
        num_tokens: Image tokens of the target, on which the shift depends.

    Raises:
        ValueError: If `num_steps` is below 2.
    """
    if num_steps < 2:
        raise ValueError(f"Sampling takes 2 steps or more, got {num_steps}: raise num_steps.")
    config = scheduler.config
    shift = calculate_shift(
        num_tokens,
        config["base_image_seq_len"],
        config["max_image_seq_len"],
        config["base_shift"],
        config["max_shift"],
    )
    levels = np.linspace(1.0, 1 / num_steps, num_steps)
    scheduler.set_timesteps(sigmas=levels.tolist(), mu=shift)
    assert isinstance(scheduler.sigmas, Tensor)
    return scheduler.sigmas.float()


@torch.no_grad()
def sample(
    field: Field,
    noise: Tensor,
    sigmas: Tensor,
    after_step: Callable[[int], None] | None = None,
) -> Tensor:
    """Integrate the flow from one noise to R latents.

    Args:
        field: Knows the pictures.
        noise: (C, h, w), shared by all of them.
        sigmas: (S + 1,), decreasing to 0, see `sigma_schedule`.
        after_step: Is told how many steps are done.

    Returns:
        (R, C, h, w), float32.
    """
    latents = noise.float().expand(len(field.weights), *noise.shape)
    for step, (sigma, following) in enumerate(pairwise(sigmas.to(latents))):
        latents = latents + (following - sigma) * field(latents, sigma)
        if after_step is not None:
            after_step(step + 1)
    return latents
