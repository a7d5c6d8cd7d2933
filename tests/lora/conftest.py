"""Adapters of a transformer of two blocks."""

import pytest

LAYERS, RANK, ALPHA = 2, 2, 6


@pytest.fixture(scope="session")
def transformer(tmp_path_factory):
    """Folder of the config that the adapters fit."""
    from pixelsmile.faces.tiny.architectures import tiny_transformer

    folder = tmp_path_factory.mktemp("transformer")
    tiny_transformer(0, layers=LAYERS, heads=2).save_config(folder)
    return folder


@pytest.fixture(scope="session")
def adapter(transformer):
    """A random adapter of all twelve kinds of modules, scale 3."""
    import torch

    from pixelsmile.lora import Adapter, Layer
    from pixelsmile.lora.keys import module_type
    from pixelsmile.lora.stock import empty_transformer, linear_shapes
    from pixelsmile.models.backbone import LORA_TARGETS

    draw = torch.Generator().manual_seed(0)
    layers = {
        module: Layer(
            torch.randn(RANK, inputs, generator=draw),
            torch.randn(outputs, RANK, generator=draw),
            ALPHA,
        )
        for module, (outputs, inputs) in sorted(
            linear_shapes(empty_transformer(transformer)).items()
        )
        if module_type(module) in LORA_TARGETS
    }
    return Adapter(layers, {"pixelsmile.base": "tiny", "pixelsmile.steps": "800"})


@pytest.fixture
def release_file(adapter, tmp_path):
    """What the release writes: diffusers' conversion renames four of twelve kinds, no alpha."""
    from diffusers import QwenImageEditPlusPipeline
    from diffusers.utils import convert_state_dict_to_diffusers

    state = {}
    for module, layer in adapter.layers.items():
        state[f"{module}.lora_A.weight"], state[f"{module}.lora_B.weight"] = layer.down, layer.up
    folder = tmp_path / "release"
    QwenImageEditPlusPipeline.save_lora_weights(folder, convert_state_dict_to_diffusers(state))
    return folder / "pytorch_lora_weights.safetensors"
