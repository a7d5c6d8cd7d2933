"""Prompt embeddings of one image, for several edit instructions at once.

The text encoder is a causal decoder and the image comes before the words. What all prompts begin
with (template, image, the words up to the first difference) is therefore encoded once, and each
prompt adds only its own last tokens to that cache of keys and values.

Shapes: K prompts, P tokens that all prompts share, T tokens after them, L = P + T, all counted
after the template's own prefix; D text width.
"""

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from diffusers import QwenImageEditPlusPipeline
from PIL import Image
from torch import Tensor, nn
from transformers import AutoProcessor, DynamicCache, Qwen2_5_VLForConditionalGeneration

from pixelsmile.conditioning import align_suffixes, shared_prefix_length
from pixelsmile.weights import need_weights, reading

_IMAGE_TOKEN = "<|image_pad|>"
_IMAGE_SLOT = f"<|vision_start|>{_IMAGE_TOKEN}<|vision_end|>"


class PromptStates(NamedTuple):
    """Embeddings of K prompts about one image, in the dtype of the encoder."""

    shared: Tensor  # (P, D), the tokens that all prompts begin with
    suffixes: Tensor  # (K, T, D), what follows them


class PromptEncoder(nn.Module):
    """Encode edit instructions together with the image they are about.

    Uses the chat template of `QwenImageEditPlusPipeline` and drops its first 64 tokens, as that
    pipeline does. There is never any padding, so no masks are needed.

    Args:
        text_encoder: A Qwen2.5-VL; frozen in place.
        processor: Its processor.
        size: Edge of the square image that the encoder sees.
        stock_positions: Give image tokens the 1-D positions that the stock pipeline gives them
            by leaving out `mm_token_type_ids`. True makes embeddings equal to stock diffusers;
            False uses the positions that the model was designed for.
    """

    def __init__(
        self,
        text_encoder: Qwen2_5_VLForConditionalGeneration,
        processor: Any,
        *,
        size: int = 384,
        stock_positions: bool = True,
    ) -> None:
        super().__init__()
        self.text_encoder = text_encoder.eval().requires_grad_(False)
        self.processor = processor
        self.size = size
        self.stock_positions = stock_positions
        self._warned = False
        # The template lives in the pipeline's constructor: ask a pipeline without models for it.
        stock = QwenImageEditPlusPipeline(
            scheduler=None,  # pyright: ignore[reportArgumentType]
            vae=None,  # pyright: ignore[reportArgumentType]
            text_encoder=None,  # pyright: ignore[reportArgumentType]
            tokenizer=None,  # pyright: ignore[reportArgumentType]
            processor=None,  # pyright: ignore[reportArgumentType]
            transformer=None,  # pyright: ignore[reportArgumentType]
        )
        self.template = stock.prompt_template_encode
        self.prefix_length = stock.prompt_template_encode_start_idx

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        size: int = 384,
        stock_positions: bool = True,
        dtype: torch.dtype | str = torch.float32,
    ) -> Self:
        """Load `text_encoder` and `processor` from a pipeline folder.

        Raises:
            UserError: If one of them is missing or damaged; it says how to get it.
        """
        if isinstance(dtype, str):
            dtype = getattr(torch, dtype)
        folder = Path(folder)
        with reading(need_weights(folder / "text_encoder"), "text encoder"):
            encoder = Qwen2_5_VLForConditionalGeneration.from_pretrained(
                folder / "text_encoder", dtype=dtype
            )
        with reading(need_weights(folder / "processor"), "processor of the text encoder"):
            processor = AutoProcessor.from_pretrained(folder / "processor")
        return cls(encoder, processor, size=size, stock_positions=stock_positions)

    @torch.no_grad()
    def forward(self, image: Image.Image, prompts: Sequence[str]) -> Tensor:
        """Return the embeddings of all prompts for one image, (K, L, D), float32.

        Prompts of unequal length are brought to one, see `share`.
        """
        shared, suffixes = self.share(image, prompts)
        return torch.cat([shared.expand(len(prompts), -1, -1), suffixes], dim=1).float()

    @torch.no_grad()
    def share(self, image: Image.Image, prompts: Sequence[str]) -> PromptStates:
        """Encode the image and the common beginning of all prompts once, then K short endings.

        Each embedding equals that of its prompt alone. Where the tokenizer splits the prompts into
        unequal numbers of tokens, one warning says so and `align_suffixes` makes them equal: what
        comes before and after the word stays aligned, and a shorter word is held longer.
        """
        pixels = self._pixels(image)
        ids = self._token_ids(prompts, pixels["image_grid_thw"])
        # One token at least is left for the endings, also where all prompts are the same.
        length = min(shared_prefix_length(ids), min(map(len, ids)) - 1)
        endings = [row[length:] for row in ids]
        positions = self._positions(max(ids, key=len), pixels["image_grid_thw"])

        beginning = self.text_encoder.model(
            input_ids=self._tensor(ids[:1])[:, :length],
            position_ids=positions[..., :length],
            use_cache=True,
            **pixels,
        )
        states = self._endings(endings, positions[..., length:], beginning.past_key_values)
        shared = beginning.last_hidden_state[0, self.prefix_length :]
        tail = shared_prefix_length([row[::-1] for row in endings])
        self._warn_if_uneven(prompts, endings)
        return PromptStates(shared, align_suffixes(shared[-1], states, tail))

    def _endings(
        self, endings: Sequence[Sequence[int]], positions: Tensor, cache: DynamicCache
    ) -> list[Tensor]:
        """Return the states of each ending, (its length, D); equal lengths run as one batch."""
        states: list[Tensor] = [positions.new_empty(0)] * len(endings)
        for length in sorted({len(ending) for ending in endings}):
            rows = [row for row, ending in enumerate(endings) if len(ending) == length]
            past = copy.deepcopy(cache)
            past.batch_repeat_interleave(len(rows))
            hidden = self.text_encoder.model(
                input_ids=self._tensor([endings[row] for row in rows]),
                position_ids=positions[..., :length].expand(-1, len(rows), -1),
                past_key_values=past,
                use_cache=True,
            ).last_hidden_state
            for row, state in zip(rows, hidden, strict=True):
                states[row] = state
        return states

    def _pixels(self, image: Image.Image) -> dict[str, Tensor]:
        image = image.convert("RGB").resize((self.size, self.size), Image.Resampling.LANCZOS)
        inputs = self.processor.image_processor(images=[image], return_tensors="pt")
        device = self.text_encoder.device
        return {name: inputs[name].to(device) for name in ("pixel_values", "image_grid_thw")}

    def _token_ids(self, prompts: Sequence[str], grid: Tensor) -> list[list[int]]:
        """Return the tokens of each prompt, the image's placeholder repeated as the processor does.

        The placeholder is a special token, which no word can merge with.
        """
        tokenizer = self.processor.tokenizer
        texts = [self.template.format(f"Picture 1: {_IMAGE_SLOT}{prompt}") for prompt in prompts]
        slot = tokenizer.convert_tokens_to_ids(_IMAGE_TOKEN)
        count = int(grid.prod()) // self.processor.image_processor.merge_size**2
        rows = []
        for row in tokenizer(texts)["input_ids"]:
            place = row.index(slot)
            rows.append([*row[:place], *[slot] * count, *row[place + 1 :]])
        return rows

    def _positions(self, ids: Sequence[int], grid: Tensor) -> Tensor:
        """Return the positions of all tokens of a prompt, template included, (3, 1, tokens).

        Words follow the image, so the positions of a longer prompt begin with those of a shorter.
        """
        tokens = self._tensor([ids])
        if self.stock_positions:
            return torch.arange(len(ids), device=tokens.device).expand(3, 1, -1)
        model = self.text_encoder.model
        kinds = (tokens == self.text_encoder.config.image_token_id).int()
        index: Any = model.get_rope_index  # its annotations ask for legacy tensor classes
        positions, _ = index(tokens, mm_token_type_ids=kinds, image_grid_thw=grid)
        return positions

    def _tensor(self, rows: Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor(rows, device=self.text_encoder.device)

    def _warn_if_uneven(self, prompts: Sequence[str], endings: Sequence[Sequence[int]]) -> None:
        lengths = [len(ending) for ending in endings]
        if len(set(lengths)) == 1 or self._warned:
            return
        self._warned = True
        longest, shortest = (prompts[lengths.index(n)] for n in (max(lengths), min(lengths)))
        warnings.warn(
            f"The tokenizer splits {longest!r} into {max(lengths) - min(lengths)} tokens more than "
            f"{shortest!r}: the last token of each shorter word is repeated, so that what comes "
            "before and after the word stays aligned. Strengths between 0 and 1 are less exact "
            "than with expression words of equal token length.",
            stacklevel=2,
        )
