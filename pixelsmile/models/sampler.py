"""Euler sampling of the flow, in batches.

Shapes: B batch, C H W latent, L tokens, D text width.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import calculate_shift
from torch import Tensor

Velocity = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(noisy, sigma, source, text) to velocity, the call of `Backbone`."""


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
    velocity: Velocity, noise: Tensor, source: Tensor, text: Tensor, sigmas: Tensor
) -> Tensor:
    """Integrate the flow from noise to an edited latent.

    Args:
        velocity: The backbone.
        noise: (B, C, H, W).
        source: Clean latents of the source, (B, C, H', W').
        text: (B, L, D).
        sigmas: (S + 1,), decreasing to 0, see `sigma_schedule`.

    Returns:
        (B, C, H, W).
    """
    latents = noise
    for sigma, following in pairwise(sigmas):
        level = sigma.to(latents).expand(len(latents))
        predicted = velocity(latents, level, source, text)
        latents = latents + (following - sigma).to(latents) * predicted
    return latents
