"""The saved adapter edits an image in a stock pipeline as it does here."""

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, QwenImageEditPlusPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as stock_module
from PIL import Image

from pixelsmile.expressions import prompt
from pixelsmile.lora import read_adapter, write_adapter
from pixelsmile.models.autoencoder import Autoencoder
from pixelsmile.models.backbone import Backbone
from pixelsmile.models.renderer import render
from pixelsmile.models.sampler import Conditions, sigma_schedule
from pixelsmile.models.text import PromptEncoder
from tests.tiny_random import IMAGE

TEXT, STEPS, RANK, ALPHA = 64, 2, 2, 8  # stock rounds the text encoder's image to 32 pixels
WORDS = prompt("happy", "human")


@pytest.fixture(scope="module")
def source():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((IMAGE, IMAGE), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def backbone(tiny_stack):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = Backbone.from_pretrained(
            tiny_stack / "pipeline" / "transformer", rank=RANK, alpha=ALPHA
        )
        for name, parameter in backbone.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.3)
    return backbone.eval()


@pytest.fixture(scope="module")
def noise():
    return torch.randn(1, 16, IMAGE // 8, IMAGE // 8, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def our_edit(folder, backbone, source, noise):
    """Edit as validation does: own sampler, single-frame VAE, shared prefix."""
    words = [prompt("neutral", "human"), WORDS]
    states = PromptEncoder.from_pretrained(folder, size=TEXT).share(source, words)
    autoencoder = Autoencoder.from_pretrained(folder / "vae")
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler")
    pixels = torch.from_numpy(np.array(source)).permute(2, 0, 1)[None].float() / 127.5 - 1
    sigmas = sigma_schedule(scheduler, STEPS, (IMAGE // 16) ** 2)
    neutral = torch.cat([states.shared, states.suffixes[0]])
    conditions = Conditions(autoencoder.encode(pixels)[0], neutral, states.suffixes[1:])
    weights = torch.ones(1, 1)
    return render(backbone, autoencoder, conditions, weights, noise[0], sigmas, batch_size=1)


def stock_edit(folder, lora, source, noise, monkeypatch):
    """Edit in a fresh stock pipeline; return image, and what its transformer saw and said."""
    monkeypatch.setattr(stock_module, "VAE_IMAGE_SIZE", IMAGE * IMAGE)
    monkeypatch.setattr(stock_module, "CONDITION_IMAGE_SIZE", TEXT * TEXT)
    pipeline = QwenImageEditPlusPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    if lora is not None:
        pipeline.load_lora_weights(lora.parent, weight_name=lora.name)
    calls = []
    pipeline.transformer.register_forward_hook(
        lambda module, args, kwargs, output: calls.append((kwargs, output[0])), with_kwargs=True
    )
    image = pipeline(
        image=source,
        prompt=WORDS,
        height=IMAGE,
        width=IMAGE,
        num_inference_steps=STEPS,
        true_cfg_scale=1.0,
        latents=pipeline._pack_latents(noise[:, :, None], 1, 16, IMAGE // 8, IMAGE // 8),
        output_type="pt",
    ).images
    return image * 2 - 1, calls


@pytest.mark.slow
def test_stock_pipeline_with_the_saved_adapter_gives_our_image(
    tiny_stack, backbone, source, noise, tmp_path, monkeypatch
):
    folder = tiny_stack / "pipeline"
    ours = our_edit(folder, backbone, source, noise)
    file = backbone.save_adapter(tmp_path)
    stock, calls = stock_edit(folder, file, source, noise, monkeypatch)
    without, _ = stock_edit(folder, None, source, noise, monkeypatch)
    difference, effect = (ours - stock).abs().max(), (stock - without).abs().max()
    assert effect > 0.1  # seen: effect 0.43, difference 9.4e-7
    assert difference < 2e-5  # of 2, the range of a pixel; 8 bits resolve 8e-3
    # The transformers themselves agree to the last bit on the same inputs.
    for kwargs, output in calls:
        with torch.no_grad():
            (again,) = backbone.transformer(**{**kwargs, "return_dict": False})
        assert torch.equal(again, output)


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["diffusers", "comfyui", "kohya"])
def test_exports_and_their_baked_forms_give_that_image_too(
    tiny_stack, backbone, source, noise, tmp_path, monkeypatch, dialect
):
    folder = tiny_stack / "pipeline"
    ours = our_edit(folder, backbone, source, noise)
    adapter = read_adapter(backbone.save_adapter(tmp_path))
    for number, form in enumerate((adapter, adapter.baked())):
        file = write_adapter(form, tmp_path / f"{number}.safetensors", dialect)
        stock, _ = stock_edit(folder, file, source, noise, monkeypatch)
        torch.testing.assert_close(stock, ours, atol=2e-5, rtol=0)
