"""Every dialect names every module, and every name is understood."""

import pytest
from torch import nn

from pixelsmile.faces.tiny.architectures import tiny_transformer
from pixelsmile.lora.files import FORMATS
from pixelsmile.lora.keys import BLOCK_MODULES, TOP_MODULES, Key, parse_key

QUERY = "transformer_blocks.12.attn.to_q"


@pytest.fixture(scope="module")
def linear():
    """Names of all linear modules of the stock class."""
    model = tiny_transformer(0, layers=2, heads=1)
    return {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def test_the_lists_of_modules_are_those_of_the_stock_class(linear):
    blocks = {f"transformer_blocks.{i}.{name}" for i in range(2) for name in BLOCK_MODULES}
    assert blocks | set(TOP_MODULES) == linear


@pytest.mark.parametrize("dialect", FORMATS)
def test_every_name_that_a_dialect_writes_is_read_back(dialect, linear):
    for module in linear:
        for part in ("down", "up", "alpha")[: 2 if dialect == "diffusers" else 3]:
            assert parse_key(FORMATS[dialect](module, part)) == Key(module, part)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("transformer.transformer_blocks.12.attn.to_q.lora_A.weight", "down"),
        ("transformer.transformer_blocks.12.attn.to_q.lora.up.weight", "up"),
        ("transformer_blocks.12.attn.to_q.lora_B.default.weight", "up"),
        ("transformer_blocks.12.attn.to_q.lora_A.default_0.weight", "down"),
        ("base_model.model.transformer_blocks.12.attn.to_q.lora_B.weight", "up"),
        ("diffusion_model.transformer_blocks.12.attn.to_q.lora_down.weight", "down"),
        ("diffusion_model.transformer_blocks.12.attn.to_q.lora_A.weight", "down"),
        ("diffusion_model.transformer_blocks.12.attn.to_q.alpha", "alpha"),
        ("lora_unet_transformer_blocks_12_attn_to_q.alpha", "alpha"),
        ("lora_transformer_transformer_blocks_12_attn_to_q.lora_up.weight", "up"),
        ("lycoris_transformer_blocks_12_attn_to_q.lora_down.weight", "down"),
    ],
)
def test_names_of_other_trainers_are_understood(name, part):
    assert parse_key(name) == Key(QUERY, part)


@pytest.mark.parametrize(
    "name",
    [
        "transformer.transformer_blocks.12.attn.to_q.weight",
        "transformer.transformer_blocks.12.attn.to_x.lora_A.weight",
        "lora_unet_transformer_blocks_12_attn_to_x.lora_down.weight",
        "lora_unet_double_blocks_0_img_attn_proj.lora_down.weight",
        "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight",
        "text_encoder.model.layers.0.self_attn.q_proj.lora_A.weight",
        "transformer.transformer_blocks.12.attn.to_q.dora_scale",
        "transformer.transformer_blocks.12.attn.to_q.lora_magnitude_vector",
        "",
    ],
)
def test_names_of_other_things_are_not_taken_for_ours(name):
    assert parse_key(name) is None
