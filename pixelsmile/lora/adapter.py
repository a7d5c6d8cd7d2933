"""A LoRA in memory, whatever file it came from.

A layer adds `alpha / rank * up @ down` to the weight of one module. Shapes: down (r, in),
up (out, r).
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pixelsmile.lora.keys import block_number, module_type


@dataclass(frozen=True)
class Layer:
    """The adapter of one module.

    Args:
        down: (r, in), peft's `lora_A`.
        up: (out, r), peft's `lora_B`.
        alpha: None where a file does not say; every loader then applies a scale of 1.
    """

    down: Tensor
    up: Tensor
    alpha: float | None = None

    @property
    def rank(self) -> int:
        """The r of down and up."""
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        """Alpha / rank, the factor on `up @ down`."""
        return 1.0 if self.alpha is None else self.alpha / self.rank

    def at_scale(self, scale: float) -> "Layer":
        """Return the same matrices, applied at another scale."""
        return dataclasses.replace(self, alpha=scale * self.rank)

    def folded(self, scale: float = 1.0) -> "Layer":
        """Return the same change of the weight, with `up` such that it is applied at `scale`."""
        if self.scale == scale:
            return self.at_scale(scale)
        up = (self.up.float() * (self.scale / scale)).to(self.up.dtype)
        return Layer(self.down, up).at_scale(scale)


@dataclass(frozen=True)
class Adapter:
    """All layers of a LoRA, and what is known about it.

    Args:
        layers: By the dotted name of the module, such as `transformer_blocks.0.attn.to_q`.
        facts: How it was trained, see `pixelsmile.lora.facts`; text, for the file's metadata.
    """

    layers: Mapping[str, Layer]
    facts: Mapping[str, str] = field(default_factory=dict)

    def map(self, change: Callable[[Layer], Layer]) -> "Adapter":
        """Return the adapter with every layer changed."""
        layers = {module: change(layer) for module, layer in self.layers.items()}
        return dataclasses.replace(self, layers=layers)

    def baked(self) -> "Adapter":
        """Return the same adapter for loaders that ignore alpha: `up` carries alpha / rank."""
        facts = dict(self.facts)
        if any(layer.scale != 1 for layer in self.layers.values()):
            scales = sorted({layer.scale for layer in self.layers.values()})
            facts["pixelsmile.baked_scale"] = ", ".join(f"{scale:g}" for scale in scales)
        return dataclasses.replace(self.map(Layer.folded), facts=facts)

    def to(self, dtype: torch.dtype) -> "Adapter":
        """Return the adapter in another precision."""
        return self.map(lambda x: Layer(x.down.to(dtype), x.up.to(dtype), x.alpha))

    def lora_config(self) -> dict[str, Any] | None:
        """Return the least that peft needs to apply it at the right scale.

        Returns:
            `r`, `lora_alpha`, `target_modules`, and patterns where layers differ; None when no
            layer knows its alpha, because the metadata would claim one.
        """
        if not self.layers or all(layer.alpha is None for layer in self.layers.values()):
            return None
        ranks = {module: layer.rank for module, layer in self.layers.items()}
        alphas = {module: _plain(x.scale * x.rank) for module, x in self.layers.items()}
        rank, alpha = _commonest(ranks), _commonest(alphas)
        config: dict[str, Any] = {
            "r": rank,
            "lora_alpha": alpha,
            "target_modules": target_modules(list(self.layers)),
        }
        if rank_pattern := {m: value for m, value in ranks.items() if value != rank}:
            config["rank_pattern"] = rank_pattern
        if alpha_pattern := {m: value for m, value in alphas.items() if value != alpha}:
            config["alpha_pattern"] = alpha_pattern
        return config


def target_modules(modules: list[str]) -> list[str]:
    """Return names that peft matches by their ends: types of modules if all blocks are alike.

    Example:
        >>> target_modules(["transformer_blocks.0.attn.to_q", "transformer_blocks.1.attn.to_q"])
        ['to_q']
    """
    types = {module_type(module) for module in modules}
    blocks = {block_number(module) for module in modules} - {None}
    alike = len(modules) == len(types) * len(blocks) and blocks == set(range(len(blocks)))
    return sorted(types) if alike else sorted(modules)


def _commonest(values: Mapping[str, Any]) -> Any:
    return Counter(values.values()).most_common(1)[0][0]


def _plain(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value
