"""The Qwen-Image VAE for single images.

Shapes: B batch, C latent channels, H W image, h w latent (1/8). Images lie in [-1, 1].

The stock VAE is a video model that is causal in time: a single frame meets only the last temporal
slice of each 3-D kernel, the rest multiplies padding. `collapse` therefore swaps every causal 3-D
convolution for the 2-D convolution that is left, which gives the same numbers at half the time.
Files on disk stay stock.
"""

from functools import partial
from pathlib import Path
from typing import Self

import torch
from diffusers import AutoencoderKLQwenImage
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import QwenImageCausalConv3d
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pixelsmile.weights import need_weights, reading


class SingleFrameConv(nn.Conv2d):
    """What a causal 3-D convolution does to one frame, (B, C, 1, H, W) to (B, C', 1, H', W')."""

    def forward(self, input: Tensor, cache_x: Tensor | None = None) -> Tensor:
        """Convolve the only frame; `cache_x`, the previous frames of a video, must be absent."""
        if cache_x is not None or input.shape[2] != 1:
            raise ValueError(f"Expected one frame and no cache, got {input.shape[2]} frames.")
        return super().forward(input[:, :, 0]).unsqueeze(2)


def _single_frame(conv: QwenImageCausalConv3d) -> SingleFrameConv:
    horizontal, vertical = int(conv._padding[0]), int(conv._padding[2])
    flat = SingleFrameConv(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size[1:],  # pyright: ignore[reportArgumentType]
        conv.stride[1:],  # pyright: ignore[reportArgumentType]
        padding=(vertical, horizontal),
    )
    flat.weight = nn.Parameter(conv.weight.data[:, :, -1].clone())
    assert conv.bias is not None
    flat.bias = nn.Parameter(conv.bias.data.clone())
    return flat


def collapse(vae: nn.Module) -> None:
    """Replace, in place, each causal 3-D convolution by its single-frame 2-D equivalent.

    The strided temporal ones never run on a first frame and stay as they are.
    """
    for module in vae.modules():
        for name, child in module.named_children():
            if isinstance(child, QwenImageCausalConv3d) and name != "time_conv":
                setattr(module, name, _single_frame(child))


def expand_into(stock: nn.Module, collapsed: nn.Module) -> None:
    """Write the weights of a collapsed VAE back into a stock one.

    Temporal slices that a single frame never meets are set to zero.
    """
    source = collapsed.state_dict()
    with torch.no_grad():
        for name, parameter in stock.state_dict().items():
            value = source[name]
            if value.shape != parameter.shape:
                parameter.zero_()
                parameter[:, :, -1] = value
            elif "time_conv" in name:
                parameter.zero_()
            else:
                parameter.copy_(value)


class Autoencoder(nn.Module):
    """Frozen image autoencoder with normalised latents.

    Args:
        vae: A stock VAE; it is collapsed to single frames and frozen in place.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, vae: AutoencoderKLQwenImage) -> None:
        super().__init__()
        self.sub_batch: int | None = None
        self.checkpoint = False
        collapse(vae)
        self.vae = vae.eval().requires_grad_(False)
        shape = (1, -1, 1, 1)
        self.register_buffer(
            "mean", torch.tensor(vae.config["latents_mean"]).view(shape), persistent=False
        )
        self.register_buffer(
            "std", torch.tensor(vae.config["latents_std"]).view(shape), persistent=False
        )

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, dtype: str = "float32") -> Self:
        """Load from the `vae` folder of a diffusers pipeline.

        Args:
            folder: The folder.
            dtype: Of the weights, by name; latents and images are float32 at any.

        Raises:
            UserError: If the folder is missing or damaged; it says how to get it.
        """
        path = need_weights(folder)
        with reading(path, "VAE"):
            vae = AutoencoderKLQwenImage.from_pretrained(path, torch_dtype=getattr(torch, dtype))
        return cls(vae)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.vae.parameters()).dtype

    def without_encoder(self) -> Self:
        """Let go of the half that only `encode` needs, and return what is left."""
        del self.vae.encoder, self.vae.quant_conv
        return self

    def in_parts(self, sub_batch: int | None, *, checkpoint: bool) -> Self:
        """Save memory in `decode`, which gives the same numbers, and return self.

        Args:
            sub_batch: Images that are decoded at a time; None takes all at once.
            checkpoint: Keep nothing for the backward pass, and decode again there.
        """
        self.sub_batch = sub_batch
        self.checkpoint = checkpoint
        return self

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever the trainer asks for."""
        return super().train(False)

    def encode(self, images: Tensor) -> Tensor:
        """Return the mode of the posterior, normalised: (B, 3, H, W) to (B, C, h, w)."""
        moments = self.vae.quant_conv(self.vae.encoder(images.unsqueeze(2).to(self.dtype)))
        mode = moments.chunk(2, dim=1)[0].squeeze(2).float()
        return (mode - self.mean) / self.std

    def decode(self, latents: Tensor, *, clamp: bool = True) -> Tensor:
        """Return images, (B, C, h, w) to (B, 3, H, W).

        Args:
            latents: Normalised latents.
            clamp: Cut to [-1, 1] as the stock VAE does. A loss wants False, because a cut pixel
                has no gradient.
        """
        latents = (latents.float() * self.std + self.mean).to(self.dtype).unsqueeze(2)
        parts = latents.split(self.sub_batch or max(len(latents), 1))
        decode = self._decode
        if self.checkpoint and latents.requires_grad:
            decode = partial(checkpoint, self._decode, use_reentrant=False)
        images = torch.cat([decode(part) for part in parts]).squeeze(2).float()
        return images.clamp(-1, 1) if clamp else images

    def _decode(self, latents: Tensor) -> Tensor:
        return self.vae.decoder(self.vae.post_quant_conv(latents))
