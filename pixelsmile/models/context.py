"""Keys and values that many pictures of one source have in common.

The clean source, and the prompt up to its expression word, are the same tokens for every picture of
a sweep. Joint attention still makes their states follow the noisy picture, from the second block
on; by little, because the source is modulated at noise level 0. So one picture, the leader, runs
whole and its keys and values of these tokens are kept, and the others run their own tokens only
and attend to what was kept. The leader's result is that of the stock network.

The stock blocks stay as they are: this is an attention processor, the place that diffusers has for
it, so that hooks of sharding, offloading and compilation keep working.

Shapes: B batch, N noisy tokens, S source tokens, P shared text tokens, T own text tokens, D width
of a head.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from diffusers import QwenImageTransformer2DModel
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.transformer_qwenimage import apply_rotary_emb_qwen
from torch import Tensor

from pixelsmile.models.nodes import Nodes

Rotary = tuple[Tensor, Tensor]
"""Rotation of image tokens, (N + S, D / 2), and of text tokens, (P + T, D / 2), complex."""


class Projected(NamedTuple):
    """Queries, keys and values of a stream, (B, tokens, heads, D) each."""

    query: Tensor
    key: Tensor
    value: Tensor


class Context:
    """What one transformer keeps between calls.

    Args:
        nodes: The pictures whose own keys and values are kept, and who attends to which.
        shared_text: P, leading text tokens that all pictures share.
    """

    def __init__(self, nodes: Nodes, shared_text: int) -> None:
        self.nodes = nodes
        self.shared_text = shared_text
        self.noisy = 0
        self.making = False
        self.rows = nodes.rows[:0]
        self.rotary: Rotary | None = None
        self.forget()

    def forget(self) -> None:
        """Let go of everything."""
        self.slots = torch.full_like(self.nodes.rows, -1)  # of each node in what is kept
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}

    def makes(self, rows: Tensor) -> Tensor:
        """Tell which rows are nodes that have nothing kept yet, (len(rows),), bool."""
        lower, upper, _ = (x[rows] for x in self.nodes[1:])
        return (lower == upper) & (self.slots[lower] < 0)

    def serves(self, rows: Tensor) -> Tensor:
        """Tell which rows have everything kept that they attend to, (len(rows),), bool."""
        lower, upper, _ = (x[rows] for x in self.nodes[1:])
        return (self.slots[lower] >= 0) & (self.slots[upper] >= 0)

    def remember(self, rows: Tensor) -> None:
        """Register the rows of a call that has kept keys and values."""
        first = int(self.slots.max()) + 1
        count = torch.arange(first, first + len(rows), device=self.slots.device)
        self.slots[self.nodes.lower[rows]] = count

    def keep(self, block: int, text: Projected, image: Projected) -> None:
        """Set the shared keys and values of a block aside."""
        pairs = zip(text[1:], image[1:], strict=True)
        new = [
            torch.cat([words[:, : self.shared_text], pixels[:, self.noisy :]], dim=1)
            for words, pixels in pairs
        ]
        if block in self.kept:
            new = [torch.cat(pair) for pair in zip(self.kept[block], new, strict=True)]
        self.kept[block] = new[0], new[1]

    def recall(self, block: int) -> tuple[Tensor, Tensor]:
        """Return what the current rows attend to in a block, (B, P + S, heads, D) each."""
        slots = self.nodes._replace(
            lower=self.slots[self.nodes.lower], upper=self.slots[self.nodes.upper]
        )
        key, value = (slots.interpolate(x, self.rows) for x in self.kept[block])
        return key, value

    def own_rotary(self, text_tokens: int) -> Rotary:
        """Return the rotations of the tokens that a picture has of its own."""
        assert self.rotary is not None
        image, text = self.rotary
        return image[: self.noisy], text[self.shared_text :][:text_tokens]

    @contextmanager
    def installed(
        self, transformer: QwenImageTransformer2DModel, rows: Tensor, noisy: int, *, making: bool
    ) -> Iterator[None]:
        """Let the transformer keep (`making`) or use keys and values while the block runs.

        Args:
            transformer: The network.
            rows: The pictures of its batch.
            noisy: N.
            making: Its input is whole, and what is shared is kept.
        """
        blocks: Any = transformer.transformer_blocks
        stock = [block.attn.processor for block in blocks]
        self.rows, self.noisy, self.making = rows, noisy, making
        try:
            for number, block in enumerate(blocks):
                block.attn.processor = ContextAttention(self, number, stock[number])
            yield
        finally:
            for block, processor in zip(blocks, stock, strict=True):
                block.attn.processor = processor


class ContextAttention:
    """The stock joint attention, with keys and values kept or added.

    Args:
        context: Where they are.
        block: Number of the block.
        stock: The processor that this one stands in for; it knows the attention backend.
    """

    def __init__(self, context: Context, block: int, stock: Any) -> None:
        self.context = context
        self.block = block
        self.stock = stock

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        encoder_hidden_states_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Rotary | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the attention of image and text tokens, as the stock processor does.

        Args:
            attn: The attention module.
            hidden_states: Image tokens, (B, N + S, width) while making, else (B, N, width).
            encoder_hidden_states: Text tokens, (B, P + T, width) or (B, T, width).
            encoder_hidden_states_mask: Must be None; prompts are never padded here.
            attention_mask: Must be None, as in the stock processor.
            image_rotary_emb: Rotations for whole prompts and both images.
        """
        if encoder_hidden_states_mask is not None or attention_mask is not None:
            raise ValueError("Kept keys and values do not go with padded prompts.")
        context, words = self.context, encoder_hidden_states.shape[1]
        if context.making:
            context.rotary = rotary = image_rotary_emb
        else:
            rotary = context.own_rotary(words)
        assert rotary is not None
        text = _project(
            encoder_hidden_states,
            attn,
            (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj),
            (attn.norm_added_q, attn.norm_added_k),
            rotary[1],
        )
        image = _project(
            hidden_states,
            attn,
            (attn.to_q, attn.to_k, attn.to_v),
            (attn.norm_q, attn.norm_k),
            rotary[0],
        )
        query, key, value = (torch.cat(pair, dim=1) for pair in zip(text, image, strict=True))
        if context.making:
            context.keep(self.block, text, image)
        else:
            kept = context.recall(self.block)
            key, value = (torch.cat(x, dim=1) for x in zip((key, value), kept, strict=True))
        mixed = dispatch_attention_fn(
            query,
            key,
            value,
            backend=self.stock._attention_backend,
            parallel_config=self.stock._parallel_config,
        )
        mixed = mixed.flatten(2, 3).to(query.dtype)
        pixels = mixed[:, words:].contiguous()
        for layer in attn.to_out:
            pixels = layer(pixels)
        return pixels, attn.to_add_out(mixed[:, :words].contiguous())


def _project(
    states: Tensor,
    attn: Any,
    projections: tuple[Any, Any, Any],
    norms: tuple[Any, Any],
    rotation: Tensor,
) -> Projected:
    """Return rotated queries, rotated keys, and values of a stream."""
    width = attn.inner_dim // attn.heads
    query, key, value = (layer(states).unflatten(-1, (-1, width)) for layer in projections)
    query, key = (
        apply_rotary_emb_qwen(x if norm is None else norm(x), rotation, use_real=False)
        for x, norm in zip((query, key), norms, strict=True)
    )
    assert isinstance(query, Tensor)
    assert isinstance(key, Tensor)
    return Projected(query, key, value)
