"""The MMDiT, called on latents.

Shapes: B batch, C latent channels, H W latent, L text tokens, D text width.
"""

from pathlib import Path
from typing import Any, Self

import torch
from diffusers import QwenImageTransformer2DModel
from peft import LoraConfig, set_peft_model_state_dict
from torch import Tensor, nn

from pixelsmile.errors import UserError
from pixelsmile.lora import Adapter
from pixelsmile.weights import need_weights, reading


def pack_latents(latents: Tensor) -> Tensor:
    """Cut latents into 2 x 2 patches: (B, C, H, W) to (B, H/2 * W/2, 4C), as the stock pipeline."""
    batch, channels, height, width = latents.shape
    patches = latents.view(batch, channels, height // 2, 2, width // 2, 2)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * 4)


def unpack_latents(tokens: Tensor, height: int, width: int) -> Tensor:
    """Invert `pack_latents`, for latents of the given height and width."""
    batch, _, channels = tokens.shape
    patches = tokens.view(batch, height // 2, width // 2, channels // 4, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels // 4, height, width)


class Denoiser(nn.Module):
    """Predict the flow's velocity from noisy latents, the clean source and the text.

    Args:
        transformer: A stock transformer; it is frozen in place.
    """

    def __init__(self, transformer: QwenImageTransformer2DModel) -> None:
        super().__init__()
        self.transformer = transformer.requires_grad_(False)

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, dtype: torch.dtype | str = torch.float32, **kwargs: Any
    ) -> Self:
        """Load from the `transformer` folder of a diffusers pipeline.

        Args:
            folder: The folder.
            dtype: Of the frozen base, a torch dtype or its name.
            kwargs: Passed on to the class.

        Raises:
            UserError: If the folder is missing or damaged; it says how to get it.
        """
        if isinstance(dtype, str):
            dtype = getattr(torch, dtype)
        with reading(need_weights(folder), "transformer"):
            base = QwenImageTransformer2DModel.from_pretrained(Path(folder), torch_dtype=dtype)
        return cls(base, **kwargs)

    @property
    def dtype(self) -> torch.dtype:
        """Of the frozen weights."""
        return self.transformer.dtype

    def forward(
        self,
        noisy: Tensor,
        sigma: Tensor,
        source: Tensor | None,
        text: Tensor,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Return the velocity.

        Args:
            noisy: Noisy target latents, (B, C, H, W).
            sigma: Noise level, (B,), in [0, 1].
            source: Clean latents of the source image, (B, C, H', W'); None where an installed
                `pixelsmile.models.context.Context` stands for it.
            text: Prompt embeddings, (B, L, D).
            mask: (B, L), bool, True where a token is real; None when all are.

        Returns:
            (B, C, H, W).
        """
        height, width = noisy.shape[-2:]
        images = [noisy] if source is None else [noisy, source]
        shapes = [(1, image.shape[-2] // 2, image.shape[-1] // 2) for image in images]
        (velocity,) = self.transformer(
            hidden_states=torch.cat([pack_latents(image) for image in images], dim=1),
            timestep=sigma,
            encoder_hidden_states=text,
            encoder_hidden_states_mask=mask,
            img_shapes=[shapes] * len(noisy),
            return_dict=False,
        )
        return unpack_latents(velocity[:, : height * width // 4], height, width)

    @torch.no_grad()
    def add_lora(self, adapter: Adapter, *, fuse: bool) -> None:
        """Apply a LoRA of any rank at the scale that stock diffusers would.

        Args:
            adapter: From `pixelsmile.lora.read_adapter`.
            fuse: Add it to the weights, which makes every later call cheaper; in less than float32
                the sum is rounded. False keeps it beside them, as a stock loader does.

        Raises:
            UserError: If it was made for another transformer.
        """
        modules = dict(self.transformer.named_modules())
        for name, layer in adapter.layers.items():
            weight = getattr(modules.get(name), "weight", None)
            if weight is None or weight.shape != (layer.up.shape[0], layer.down.shape[1]):
                raise UserError(
                    f"The LoRA does not fit this transformer at {name!r}: use the base that it "
                    "was trained on (`python -m pixelsmile.lora verify` names it)."
                )
        if fuse:
            for name, layer in adapter.layers.items():
                weight = modules[name].weight
                change = layer.scale * (layer.up.float() @ layer.down.float())
                weight.copy_(weight.float() + change.to(weight.device))
            return
        known = adapter.map(lambda layer: layer.at_scale(layer.scale))
        self.transformer.add_adapter(LoraConfig(**(known.lora_config() or {})))
        state = {}
        for name, layer in adapter.layers.items():
            state[f"{name}.lora_A.weight"] = layer.down
            state[f"{name}.lora_B.weight"] = layer.up
        set_peft_model_state_dict(self.transformer, state)
