"""Train the tiny VAE on rendered faces of both domains."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLQwenImage
from torch import Tensor, nn

from pixelsmile.faces.tiny.architectures import tiny_autoencoder
from pixelsmile.faces.tiny.training import Budget, apply_step, one_cycle, to_images
from pixelsmile.models.autoencoder import Autoencoder, collapse, expand_into

_EDGE_WEIGHT = 0.5
_COLOUR_WEIGHT = 1.0
_SPREAD_WEIGHT = 1e-4
_LATENT_NOISE = 0.05

_CROP = 64
_CROPPED_SHARE = 0.8  # of the time on crops: steps count for more than pixels a step


def train_autoencoder(
    images: np.ndarray,
    *,
    minutes: float,
    seed: int = 0,
    learning_rate: float = 1e-3,
    fast: bool = True,
    start: AutoencoderKLQwenImage | None = None,
) -> AutoencoderKLQwenImage:
    """Return a trained stock VAE with measured latent statistics.

    The loss is L1 on pixels, on their differences, which keeps outlines sharp, and on averages of
    8 x 8 pixels, which keeps colours. The posterior is not learned: its deviation is fixed at 0.05.
    A learned one starts at 1 and drowns the code for longer than the whole budget (measured:
    20.8 dB on anime after 2,300 steps). Only the temporal slice that single frames meet is trained;
    the others are zero.

    Args:
        images: (N, 128, 128, 3), uint8.
        minutes: Time budget.
        seed: Of weights and order.
        learning_rate: Peak of the schedule.
        fast: Compile, and compute in bf16.
        start: Weights to begin with instead of random ones.
    """
    generator = torch.Generator().manual_seed(seed)
    stock = tiny_autoencoder(seed)
    vae = tiny_autoencoder(seed)
    vae.load_state_dict((start or stock).state_dict())
    collapse(vae)
    _fix_posterior(vae)
    vae.train()
    # One compilation per crop size: with symbolic sizes the compiler fails on this model.
    loss_of = torch.compile(_Loss(vae), dynamic=False) if fast else _Loss(vae)
    parameters = [p for name, p in vae.named_parameters() if "time_conv" not in name]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=1e-3)
    budget = Budget(minutes, name="autoencoder")
    for fraction in budget:
        crop, count = (images.shape[1], 2) if fraction > _CROPPED_SHARE else (_CROP, 8)
        batch = _draw(images, count, crop, generator)
        noise = torch.randn(
            count, vae.config["z_dim"], 1, crop // 8, crop // 8, generator=generator
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            loss = loss_of(batch.unsqueeze(2), noise)
        apply_step(loss, optimizer, learning_rate * one_cycle(fraction, warm_up=0.05), clip=1.0)
        budget.loss = loss.item()
    expand_into(stock, vae)
    _measure_latents(stock, images, generator)
    return stock.eval()


@torch.no_grad()
def _fix_posterior(vae: AutoencoderKLQwenImage) -> None:
    """Make the encoder predict the same small deviation everywhere."""
    channels = vae.config["z_dim"]
    vae.quant_conv.weight[channels:] = 0
    assert vae.quant_conv.bias is not None
    vae.quant_conv.bias[channels:] = 2 * math.log(_LATENT_NOISE)


def _draw(images: np.ndarray, count: int, crop: int, generator: torch.Generator) -> Tensor:
    """Return random crops of random images, half of them mirrored, (count, 3, crop, crop)."""

    def below(limit: int) -> int:
        return int(torch.randint(limit, (), generator=generator))

    parts = []
    for _ in range(count):
        image = images[below(len(images))]
        top, left = below(image.shape[0] - crop + 1), below(image.shape[1] - crop + 1)
        part = image[top : top + crop, left : left + crop]
        parts.append(part[:, ::-1] if below(2) else part)
    return to_images(np.stack(parts))


class _Loss(nn.Module):
    def __init__(self, vae: AutoencoderKLQwenImage) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        mean = self.vae.quant_conv(self.vae.encoder(images)).chunk(2, dim=1)[0].float()
        latents = mean + _LATENT_NOISE * noise
        decoded = self.vae.decoder(self.vae.post_quant_conv(latents)).float()
        error = (decoded - images).squeeze(2)
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        colour = F.avg_pool2d(error, 8).abs().mean()
        pixels = error.abs().mean() + _EDGE_WEIGHT * edges + _COLOUR_WEIGHT * colour
        return pixels + _SPREAD_WEIGHT * mean.square().mean()


@torch.no_grad()
def _measure_latents(
    vae: AutoencoderKLQwenImage, images: np.ndarray, generator: torch.Generator
) -> None:
    """Write the latents' mean and deviation per channel into the config."""
    model = tiny_autoencoder(0)
    model.load_state_dict(vae.state_dict())
    autoencoder = Autoencoder(model)
    rows = torch.randint(len(images), (512,), generator=generator).sort().values
    latents = torch.cat(
        [autoencoder.encode(to_images(images[part.numpy()])) for part in rows.split(32)]
    )
    vae.register_to_config(
        latents_mean=latents.mean((0, 2, 3)).tolist(), latents_std=latents.std((0, 2, 3)).tolist()
    )


@torch.no_grad()
def measure_autoencoder(vae: AutoencoderKLQwenImage, images: np.ndarray) -> float:
    """Return the mean PSNR in dB of reconstructions, per image over pixels in [0, 1]."""
    model = tiny_autoencoder(0)
    model.load_state_dict(vae.state_dict())
    autoencoder = Autoencoder(model)
    values = []
    for start in range(0, len(images), 32):
        batch = to_images(images[start : start + 32])
        decoded = autoencoder.decode(autoencoder.encode(batch))
        error = F.mse_loss(decoded, batch, reduction="none").mean((1, 2, 3)) / 4
        values.append(-10 * error.clamp_min(1e-10).log10())
    return float(torch.cat(values).mean())
