"""Flow matching as the base model does it: noising, velocity and the one-step estimate (Eq. 6).

The path is a straight line from the clean latent (sigma 0) to pure noise (sigma 1). The paper
writes Eq. 6 with x_0 as the "source image latent"; that is a slip: as in every flow-matching
editor, and in the authors' code, the *target* latent is noised and the source enters the backbone
as extra clean tokens. Only tensors come in and go out here.

Shapes: B batch, ``...`` any further dimensions (C H W latents or packed L D tokens). sigma is
(B,), in [0, 1]. Results have the promoted dtype: bf16 latents with a float32 sigma give float32,
because bf16 cannot tell neighbouring noise levels apart.
"""

from torch import Tensor


def add_noise(clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Noise a clean latent: (1 - sigma) * clean + sigma * noise, (B, ...).

    Args:
        clean: Target latent, (B, ...).
        noise: Standard normal, (B, ...). Both branches of a triplet share one draw, which lowers
            the variance of their difference.
        sigma: (B,), in [0, 1]; shared by the two branches as well.

    Raises:
        ValueError: If sigma is not (B,), or clean and noise differ in shape.

    Example:
        >>> import torch
        >>> add_noise(torch.zeros(1, 3), torch.ones(1, 3), torch.tensor([0.25]))
        tensor([[0.2500, 0.2500, 0.2500]])
    """
    _check_same_shape("noise", noise, "clean", clean)
    sigma = _per_sample(sigma, clean)
    return (1 - sigma) * clean + sigma * noise


def velocity(clean: Tensor, noise: Tensor) -> Tensor:
    """Return what the backbone learns to predict (Eq. 6): noise - clean, (B, ...).

    Raises:
        ValueError: If clean and noise differ in shape.
    """
    _check_same_shape("noise", noise, "clean", clean)
    return noise - clean


def denoise(noisy: Tensor, velocity: Tensor, sigma: Tensor) -> Tensor:
    """Estimate the clean latent in one step: noisy - sigma * velocity, (B, ...).

    With the true velocity this inverts `add_noise` exactly; with a predicted one it is the
    G_a, G_b of the losses (Eqs. 7 and 8). Gradients flow to the velocity, scaled by sigma.

    Args:
        noisy: (B, ...).
        velocity: True or predicted velocity, (B, ...).
        sigma: (B,), in [0, 1].

    Raises:
        ValueError: If sigma is not (B,), or noisy and velocity differ in shape.
    """
    _check_same_shape("velocity", velocity, "noisy", noisy)
    return noisy - _per_sample(sigma, noisy) * velocity


def sample_sigma(uniform: Tensor, levels: int = 1000) -> Tensor:
    """Map uniform numbers to the training levels of the scheduler: k -> (k + 1) / levels, (B,).

    Every level is equally likely, without weighting and without shift, as in the authors' code.
    Sigma is never 0, where there would be nothing to learn. The caller draws the numbers, so that
    it decides on what they depend (seed, epoch, sample).

    Args:
        uniform: (B,), float, in [0, 1).
        levels: Number of training levels, `num_train_timesteps` of the scheduler.

    Raises:
        ValueError: If levels is below 1 or uniform is not floating point.

    Example:
        >>> import torch
        >>> sample_sigma(torch.tensor([0.0, 0.5, 0.9999]))
        tensor([0.0010, 0.5010, 1.0000])
    """
    if levels < 1:
        raise ValueError(f"levels is {levels}: give at least 1, the scheduler has 1000.")
    if not uniform.is_floating_point():
        raise ValueError(f"uniform is {uniform.dtype}: draw floats in [0, 1) with torch.rand.")
    # float32 just below 1 times 1000 rounds up to 1000; the clamp keeps it on the last level
    level = (uniform.double() * levels).floor().clamp(0, levels - 1)
    return ((level + 1) / levels).to(uniform.dtype)


def _per_sample(sigma: Tensor, like: Tensor) -> Tensor:
    """Reshape sigma, (B,), so that it broadcasts over the trailing dimensions of `like`."""
    if sigma.shape != like.shape[:1]:
        raise ValueError(
            f"sigma has shape {tuple(sigma.shape)} for latents of shape {tuple(like.shape)}: "
            f"give one value per sample, shape {tuple(like.shape[:1])}."
        )
    return sigma.view(-1, *[1] * (like.dim() - 1))


def _check_same_shape(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    if tensor.shape != other.shape:
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)} and {other_name} {tuple(other.shape)}: "
            "give both the same shape."
        )
