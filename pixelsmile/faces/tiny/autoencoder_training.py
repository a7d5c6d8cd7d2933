"""Train the tiny VAE on rendered faces of both domains."""

import logging

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLQwenImage
from torch import Tensor, nn

from pixelsmile.faces.tiny.architectures import tiny_autoencoder
from pixelsmile.faces.tiny.schedule import TimedSchedule
from pixelsmile.models.autoencoder import Autoencoder, collapse, expand_into

_log = logging.getLogger(__name__)

_KL_WEIGHT = 2e-4
_EDGE_WEIGHT = 0.5


def to_tensor(images: np.ndarray) -> Tensor:
    """Turn uint8 images, (B, H, W, 3), into (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_autoencoder(
    images: np.ndarray, *, minutes: float, seed: int = 0, batch_size: int = 8, fast: bool = True
) -> AutoencoderKLQwenImage:
    """Return a trained stock VAE with measured latent statistics.

    The loss is L1 on pixels and on their differences, which keeps outlines sharp, and a little KL
    divergence, which keeps latents smooth. Only the temporal slice that single frames meet is
    trained; the others are zero.

    Args:
        images: (N, 128, 128, 3), uint8.
        minutes: Time budget.
        seed: Of weights and order.
        batch_size: Images a step.
        fast: Compile, and compute in bf16.
    """
    generator = torch.Generator().manual_seed(seed)
    stock = tiny_autoencoder(seed)
    vae = tiny_autoencoder(seed)
    collapse(vae)
    vae.train()
    loss_of = torch.compile(_Loss(vae)) if fast else _Loss(vae)
    parameters = [p for name, p in vae.named_parameters() if "time_conv" not in name]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, betas=(0.9, 0.98), weight_decay=1e-3)
    schedule: TimedSchedule | None = None
    while schedule is None or schedule.running:
        rows = torch.randint(len(images), (batch_size,), generator=generator).sort().values
        batch = to_tensor(images[rows.numpy()])
        if torch.rand((), generator=generator) < 0.5:
            batch = batch.flip(-1)
        noise = torch.randn(batch_size, vae.config.z_dim, 1, 16, 16, generator=generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            loss = loss_of(batch.unsqueeze(2), noise)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        # The clock starts after the first step, which compiles.
        schedule = schedule or TimedSchedule(optimizer, minutes)
        schedule.step(loss=loss.item())
    expand_into(stock, vae)
    _measure_latents(stock, images, generator)
    return stock.eval()


class _Loss(nn.Module):
    def __init__(self, vae: AutoencoderKLQwenImage) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        mean, log_variance = self.vae.quant_conv(self.vae.encoder(images)).float().chunk(2, 1)
        log_variance = log_variance.clamp(-12, 4)
        latents = mean + noise * (0.5 * log_variance).exp()
        decoded = self.vae.decoder(self.vae.post_quant_conv(latents)).float()
        error = decoded - images
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        return error.abs().mean() + _EDGE_WEIGHT * edges + _KL_WEIGHT * divergence


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
        [autoencoder.encode(to_tensor(images[part.numpy()])) for part in rows.split(32)]
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
        batch = to_tensor(images[start : start + 32])
        decoded = autoencoder.decode(autoencoder.encode(batch))
        error = F.mse_loss(decoded, batch, reduction="none").mean((1, 2, 3)) / 4
        values.append(-10 * error.clamp_min(1e-10).log10())
    return float(torch.cat(values).mean())
