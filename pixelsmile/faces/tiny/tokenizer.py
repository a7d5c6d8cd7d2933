"""A byte-level BPE tokenizer of some five hundred entries that splits our prompts as Qwen's does.

Prefix sharing, text interpolation and the pipeline's hard-coded "drop the first 64 tokens" all
depend on how the edit prompts fall into tokens. Training to saturation on exactly those texts makes
every pre-token one entry, which is what the full vocabulary gives for them as well.
"""

import json
import re
from typing import Any, Final

from diffusers import QwenImageEditPlusPipeline
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import Qwen2Tokenizer

from pixelsmile.expressions import DOMAINS, EXPRESSIONS, NEUTRAL, prompt

SPECIAL_TOKENS: Final = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""The special tokens of the real tokenizer that the pipeline or the processor asks for."""

PICTURE: Final = "Picture 1: <|vision_start|><|image_pad|><|vision_end|>"
"""What the pipeline puts before the instruction when there is one image."""


def chat_template() -> str:
    """Return the pipeline's own chat template, with `{}` where picture and instruction go."""
    no_parts: list[Any] = [None] * 6
    return QwenImageEditPlusPipeline(*no_parts).prompt_template_encode


def edit_prompts() -> list[str]:
    """Return the 26 instructions: twelve expressions and neutral in each domain."""
    return [prompt(name, domain) for domain in DOMAINS for name in (*EXPRESSIONS, NEUTRAL)]


def tiny_tokenizer() -> Qwen2Tokenizer:
    """Train the tokenizer; it depends on nothing but the prompts, so there is no seed."""
    plain = re.sub(r"<\|[a-z_]+\|>", "\n", chat_template().format(PICTURE))
    corpus = [*plain.split("\n"), "\n", *edit_prompts()]
    stock = Qwen2Tokenizer()  # for its normaliser and its pre-tokeniser
    trained = Tokenizer(BPE())
    trained.normalizer = stock.backend_tokenizer.normalizer
    trained.pre_tokenizer = stock.backend_tokenizer.pre_tokenizer
    trainer = BpeTrainer(
        vocab_size=10_000,  # never reached: training stops when every pre-token is one entry
        show_progress=False,
        initial_alphabet=sorted(ByteLevel.alphabet()),
    )
    trained.train_from_iterator(corpus, trainer)
    model = json.loads(trained.to_str())["model"]
    return Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(merge) for merge in model["merges"]],  # type: ignore[arg-type]
        extra_special_tokens=list(SPECIAL_TOKENS[1:]),
        model_max_length=1024,
    )
