"""The parts of the tiny pipeline: the real classes of the real model, at sizes for a laptop CPU.

Every function returns a fresh part whose weights depend on its seed alone. `build_pipeline` saves
them in the stock folder layout; trained parts are saved over the fresh ones with `save_part`.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    ModelMixin,
    QwenImageEditPlusPipeline,
    QwenImageTransformer2DModel,
)
from torch import nn
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

from pixelsmile.expressions import EXPRESSIONS, NEUTRAL
from pixelsmile.faces.tiny.tokenizer import tiny_tokenizer

TEXT_WIDTH = 128
"""Width of the text encoder, which is the transformer's `joint_attention_dim`."""

LATENT_CHANNELS = 16

_HEAD_DIM = 32
_SALIENCE = 6.0  # length of the direction that meaningful words share, against 11 for the rest
_ATTENTION_GAIN = 2.0  # how much of a state comes from the tokens before


def tiny_transformer(seed: int, *, layers: int = 6, heads: int = 5) -> QwenImageTransformer2DModel:
    """Return an untrained MMDiT, `heads` x 32 wide.

    Condition tokens are modulated at t = 0 (`zero_cond_t`), as Edit-2511 does.
    """
    with _seeded(seed):
        return QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=4 * LATENT_CHANNELS,
            out_channels=LATENT_CHANNELS,
            num_layers=layers,
            attention_head_dim=_HEAD_DIM,
            num_attention_heads=heads,
            joint_attention_dim=TEXT_WIDTH,
            axes_dims_rope=(8, 12, 12),
            zero_cond_t=True,
        )


def tiny_autoencoder(seed: int, *, base_dim: int = 16) -> AutoencoderKLQwenImage:
    """Return an untrained VAE, eight pixels a latent, with latent mean 0 and deviation 1.

    Whoever trains it writes the measured statistics with `register_to_config(latents_mean=...,
    latents_std=...)` before saving.
    """
    with _seeded(seed):
        return AutoencoderKLQwenImage(
            base_dim=base_dim,
            z_dim=LATENT_CHANNELS,
            dim_mult=[1, 2, 4, 4],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
            latents_mean=[0.0] * LATENT_CHANNELS,
            latents_std=[1.0] * LATENT_CHANNELS,
        )


def tiny_text_encoder(tokenizer: Qwen2Tokenizer, seed: int) -> Qwen2_5_VLForConditionalGeneration:
    """Return a random Qwen2.5-VL, two layers of `TEXT_WIDTH`, that tells the expressions apart.

    Nothing here is trained: the transformer learns to read whatever states it gets. They only have
    to differ from word to word, see `_spread` and `_attend_to`.
    """
    token = tokenizer.get_vocab().__getitem__
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": TEXT_WIDTH,
            "intermediate_size": 2 * TEXT_WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": TEXT_WIDTH // _HEAD_DIM,
            "num_key_value_heads": TEXT_WIDTH // _HEAD_DIM,
            "max_position_embeddings": 2048,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [4, 6, 6],
            },
            "bos_token_id": None,
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "out_hidden_size": TEXT_WIDTH,
            "fullatt_block_indexes": [1],
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    with _seeded(seed):
        model = Qwen2_5_VLForConditionalGeneration(config)
        _spread(model)
        _attend_to(model, [token(f"\u0120{word}") for word in (*EXPRESSIONS, NEUTRAL)])
    return model.eval()


def tiny_processor(tokenizer: Qwen2Tokenizer) -> Qwen2VLProcessor:
    """Return the processor with Qwen's own patches of 14 pixels, merged two by two."""
    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(),
    )


def tiny_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Return the scheduler with the settings of Qwen-Image."""
    return FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000,
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=0.9,
        base_image_seq_len=256,
        max_image_seq_len=8192,
        shift_terminal=0.02,
        time_shift_type="exponential",
    )


def build_pipeline(folder: Path | str, *, seed: int = 0, layers: int = 6, heads: int = 5) -> None:
    """Write a whole untrained pipeline in the layout of `QwenImageEditPlusPipeline`.

    Args:
        folder: Receives `model_index.json` and one folder per part; stock diffusers loads it.
        seed: Of every random weight; each part derives its own.
        layers: Of the transformer.
        heads: Of the transformer, 32 wide each.
    """
    tokenizer = tiny_tokenizer()
    pipeline = QwenImageEditPlusPipeline(
        scheduler=tiny_scheduler(),
        vae=tiny_autoencoder(seed + 1),
        text_encoder=tiny_text_encoder(tokenizer, seed + 2),
        tokenizer=tokenizer,
        processor=tiny_processor(tokenizer),
        transformer=tiny_transformer(seed, layers=layers, heads=heads),
    )
    pipeline.vae.half()
    pipeline.transformer.half()
    pipeline.save_pretrained(folder)


def save_part(part: ModelMixin, folder: Path | str) -> None:
    """Save a trained VAE or transformer over its folder in the pipeline, in half precision.

    The part itself keeps its precision. diffusers loads such files as float32 unless told
    otherwise; transformers would keep them half, so the text encoder is stored in float32.
    """
    copy.deepcopy(part).half().save_pretrained(folder)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from a seed without touching the caller's random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@torch.no_grad()
def _spread(model: Qwen2_5_VLForConditionalGeneration) -> None:
    """Draw the weights large enough that different words end in clearly different states.

    The usual deviation of 0.02 leaves a random decoder with nearly the same state everywhere.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.normal_(model.model.language_model.embed_tokens.weight)


@torch.no_grad()
def _attend_to(model: Qwen2_5_VLForConditionalGeneration, words: Sequence[int]) -> None:
    """Make every later token look at the words that carry meaning, as a trained decoder does.

    A random one averages over a hundred tokens, and one changed word is lost in the mean. Here the
    words share one direction of embedding space; keys copy it into the slowest rotary channels,
    where distance hardly counts, and a constant query asks for it.
    """
    direction = nn.functional.normalize(torch.randn(TEXT_WIDTH), dim=0)
    slowest = slice(_HEAD_DIM // 2 - 4, _HEAD_DIM // 2)
    for name, weight in model.model.language_model.named_parameters():
        if name == "embed_tokens.weight":
            weight[list(words)] += _SALIENCE * direction
        elif name.endswith("q_proj.bias"):
            weight.view(-1, _HEAD_DIM)[:, slowest] = 2.0
        elif name.endswith("k_proj.weight"):
            weight.view(-1, _HEAD_DIM, TEXT_WIDTH)[:, slowest] = direction
        elif name.endswith("v_proj.weight"):  # what all words share tells nothing
            weight -= weight @ direction[:, None] * direction
        elif name.endswith("o_proj.weight"):
            weight *= _ATTENTION_GAIN
