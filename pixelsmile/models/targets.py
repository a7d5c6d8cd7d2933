"""Which layers of the transformer get an adapter, and which adapters can learn."""

from collections.abc import Sequence
from typing import Any

from torch import nn

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


def check_targets(transformer: nn.Module, targets: Sequence[str]) -> None:
    """See that every target was found, which otherwise stays silent.

    Raises:
        ValueError: If one was not.
    """
    adapted = [name for name, _ in transformer.named_modules() if name.endswith("lora_A")]
    for target in targets:
        if not any(name.endswith(f"{target}.lora_A") for name in adapted):
            raise ValueError(
                f"No module of the transformer is called {target!r}: check model.backbone.targets."
            )


def freeze_unreached(transformer: Any) -> None:
    """Freeze the adapters that no gradient reaches, in place.

    Optimizers would decay them, DDP would wait for them, and their state cannot be resumed.
    """
    last = f"transformer_blocks.{len(transformer.transformer_blocks) - 1}."
    for name, parameter in transformer.named_parameters():
        if last in name and any(f".{unused}." in name for unused in _UNUSED_IN_LAST_BLOCK):
            parameter.requires_grad_(False)
