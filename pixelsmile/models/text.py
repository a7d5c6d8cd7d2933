"""Prompt embeddings of one image, for several edit instructions at once.

Shapes: K prompts, L text tokens after the template's prefix, D text width.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from diffusers import QwenImageEditPlusPipeline
from PIL import Image
from torch import Tensor, nn
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from pixelsmile.weights import need_weights, reading


class PromptEncoder(nn.Module):
    """Encode edit instructions together with the image they are about.

    Uses the chat template of `QwenImageEditPlusPipeline` and drops its first 64 tokens, as that
    pipeline does. All prompts must split into the same number of tokens, which makes padding and
    masks unnecessary.

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
        processor: object,
        *,
        size: int = 384,
        stock_positions: bool = True,
    ) -> None:
        super().__init__()
        self.text_encoder = text_encoder.eval().requires_grad_(False)
        self.processor = processor
        self.size = size
        self.stock_positions = stock_positions
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
        """Return the embeddings of all prompts for one image, (K, L, D).

        Raises:
            ValueError: If the tokenizer splits the prompts into different numbers of tokens.
        """
        image = image.convert("RGB").resize((self.size, self.size), Image.Resampling.LANCZOS)
        texts = [self.template.format(f"Picture 1: {_IMAGE_SLOT}{prompt}") for prompt in prompts]
        inputs = self.processor(  # pyright: ignore[reportCallIssue]
            text=texts, images=[image] * len(texts), padding=True, return_tensors="pt"
        ).to(self.text_encoder.device)
        if not bool(inputs["attention_mask"].all()):
            raise ValueError(
                "The tokenizer splits these prompts into different numbers of tokens: "
                f"{list(prompts)}. Use expression words of equal token length."
            )
        if self.stock_positions:
            inputs.pop("mm_token_type_ids", None)
        hidden = self.text_encoder.model(**inputs).last_hidden_state
        return hidden[:, self.prefix_length :].float()


_IMAGE_SLOT = "<|vision_start|><|image_pad|><|vision_end|>"
