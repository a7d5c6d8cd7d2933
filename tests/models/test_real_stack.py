"""`model=qwen_image_edit_2511` loads from a folder; here of small random models in its layout."""

import pytest
import torch
from hydra.utils import instantiate

from pixelsmile.models.autoencoder import Autoencoder
from tests.tiny_random import compose


@pytest.fixture(scope="module")
def real(tiny_stack, tmp_path_factory):
    root = tmp_path_factory.mktemp("my weights")
    (root / "Qwen-Image-Edit-2511").symlink_to(tiny_stack / "pipeline")
    return compose("name=x", "model=qwen_image_edit_2511", f"paths.weights='{root}'").model


def dtypes(module, trainable=False):
    return {p.dtype for p in module.parameters() if p.requires_grad == trainable and p.dim() > 1}


def test_frozen_parts_are_bfloat16_and_adapters_float32(real):
    backbone = instantiate(real.backbone, rank=2, alpha=4)
    frozen = {n: p for n, p in backbone.named_parameters() if "lora" not in n and p.dim() > 1}
    assert {parameter.dtype for parameter in frozen.values()} == {torch.bfloat16}
    assert {p.dtype for p in backbone.adapter_parameters()} == {torch.float32}
    assert dtypes(instantiate(real.autoencoder)) == {torch.bfloat16}
    assert dtypes(instantiate(real.text_encoder).text_encoder) == {torch.bfloat16}


@torch.no_grad()
def test_bfloat16_autoencoder_takes_and_gives_float32_and_stays_near(tiny_stack, generator):
    folder = tiny_stack / "pipeline" / "vae"
    exact, low = (Autoencoder.from_pretrained(folder, dtype=t) for t in ("float32", "bfloat16"))
    images = torch.rand(1, 3, 32, 32, generator=generator) * 2 - 1
    latents = exact.encode(images)
    for whole, half in (
        (latents, low.encode(images)),
        (exact.decode(latents), low.decode(latents)),
    ):
        assert whole.dtype == half.dtype == torch.float32
        assert 0 < (whole - half).norm() / whole.norm() < 0.05
