"""The MMDiT with the LoRA adapter that is trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import QwenImageTransformer2DModel
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn

from pixelsmile.errors import UserError
from pixelsmile.lora import Adapter, Layer, read_adapter, write_adapter
from pixelsmile.models.denoiser import Denoiser

LORA_TARGETS = (
    "to_q",
    "to_k",
    "to_v",
    "add_q_proj",
    "add_k_proj",
    "add_v_proj",
    "to_out.0",
    "to_add_out",
    "img_mlp.net.0.proj",
    "img_mlp.net.2",
    "txt_mlp.net.0.proj",
    "txt_mlp.net.2",
)
"""The twelve module types of the paper's adapter (DESIGN: attention and MLP of both streams)."""

_UNUSED_IN_LAST_BLOCK = ("add_q_proj", "to_add_out", "txt_mlp.net.0.proj", "txt_mlp.net.2")
"""The last block's text output is dropped, so adapters on its way get no gradient."""


class Backbone(Denoiser):
    """A frozen denoiser and the adapter that learns.

    Args:
        transformer: A stock transformer; it is frozen in place.
        rank: LoRA rank.
        alpha: LoRA alpha; the adapter's output is scaled by alpha / rank.
        dropout: Dropout on the adapter's input.
        targets: Names of the modules that get an adapter.
        gradient_checkpointing: Trade time for activation memory.
    """

    def __init__(
        self,
        transformer: QwenImageTransformer2DModel,
        *,
        rank: int = 64,
        alpha: int = 128,
        dropout: float = 0.0,
        targets: Sequence[str] = LORA_TARGETS,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__(transformer)
        self.lora_config = LoraConfig(
            r=rank,
            lora_alpha=alpha,
            lora_dropout=dropout,
            target_modules=list(targets),
            init_lora_weights="gaussian",
        )
        transformer.add_adapter(self.lora_config)
        _check_targets(transformer, targets)
        last = f"transformer_blocks.{len(transformer.transformer_blocks) - 1}."
        for name, parameter in transformer.named_parameters():
            if last in name and any(f".{unused}." in name for unused in _UNUSED_IN_LAST_BLOCK):
                parameter.requires_grad_(False)
        if gradient_checkpointing:
            transformer.enable_gradient_checkpointing()

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, dtype: torch.dtype | str = torch.float32, **kwargs: Any
    ) -> Self:
        """Load a base, see `Denoiser.from_pretrained`; the adapter stays float32 at any `dtype`."""
        backbone = super().from_pretrained(folder, dtype=dtype, **kwargs)
        for parameter in backbone.adapter_parameters():
            parameter.data = parameter.data.float()
        return backbone

    def adapter_parameters(self) -> list[nn.Parameter]:
        """Return the adapter's parameters that a loss can reach."""
        return [parameter for parameter in self.transformer.parameters() if parameter.requires_grad]

    def adapter_state(self) -> dict[str, Tensor]:
        """Return the adapter's weights under peft's names, without the base."""
        return get_peft_model_state_dict(self.transformer)

    def load_adapter_state(self, state: dict[str, Tensor]) -> None:
        """Load what `adapter_state` returned.

        Raises:
            ValueError: If a key is missing or unknown.
        """
        expected = set(self.adapter_state())
        if expected != set(state):
            different = sorted(expected ^ set(state))
            raise ValueError(
                f"The adapter differs from this model in {len(different)} keys, e.g. "
                f"{different[0]!r}: use the model and LoRA targets it was trained with."
            )
        set_peft_model_state_dict(self.transformer, state)

    def adapter(self, facts: Mapping[str, str] | None = None) -> Adapter:
        """Return the adapter as a LoRA file holds it.

        Args:
            facts: What the file says about the training, see `pixelsmile.lora.facts`.
        """
        state = {name: value.detach().cpu() for name, value in self.adapter_state().items()}
        modules = sorted(
            name.removesuffix(".lora_A.weight") for name in state if name.endswith("lora_A.weight")
        )
        layers = {
            module: Layer(
                state[f"{module}.lora_A.weight"],
                state[f"{module}.lora_B.weight"],
                self.lora_config.lora_alpha,
            )
            for module in modules
        }
        return Adapter(layers, facts or {})

    def save_adapter(self, folder: str | Path, facts: Mapping[str, str] | None = None) -> Path:
        """Write `pytorch_lora_weights.safetensors` as diffusers loads it: with rank and alpha.

        Args:
            folder: Is made if missing; the file is there whole or not at all.
            facts: Go into the file's metadata.
        """
        return write_adapter(self.adapter(facts), Path(folder))

    def load_adapter(self, file: str | Path, *, scale: float | None = None) -> None:
        """Load a LoRA file of any dialect; the result is what the file means at its scale.

        Args:
            file: Of the same rank and modules as this adapter; its alpha may differ.
            scale: Alpha / rank to apply; None takes what the file says, and 1 if it says nothing.

        Raises:
            UserError: If the file is damaged or made for other modules or another rank.
        """
        adapter = read_adapter(file, scale=scale)
        own = self.lora_config.lora_alpha / self.lora_config.r
        state: dict[str, Tensor] = {}
        for module, layer in adapter.map(lambda x: x.folded(own)).layers.items():
            state[f"{module}.lora_A.weight"] = layer.down
            state[f"{module}.lora_B.weight"] = layer.up
        expected = self.adapter_state()
        wrong = sorted(
            name
            for name in expected.keys() | state.keys()
            if name not in expected
            or name not in state
            or expected[name].shape != state[name].shape
        )
        if wrong:
            raise UserError(
                f"{file} does not fit this model in {len(wrong)} tensors, e.g. {wrong[0]!r}: use "
                f"the base, rank and targets it was trained with (here rank {self.lora_config.r})."
            )
        set_peft_model_state_dict(self.transformer, state)


def _check_targets(transformer: nn.Module, targets: Sequence[str]) -> None:
    adapted = [name for name, _ in transformer.named_modules() if name.endswith("lora_A")]
    for target in targets:
        if not any(name.endswith(f"{target}.lora_A") for name in adapted):
            raise ValueError(
                f"No module of the transformer is called {target!r}: check model.backbone.targets."
            )
