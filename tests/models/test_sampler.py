"""Sampling agrees with the stock scheduler and with the stock pipeline."""

import numpy as np
import pytest
import torch
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as stock
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from pixelsmile.faces.tiny.architectures import TEXT_WIDTH, tiny_scheduler
from pixelsmile.models.autoencoder import Autoencoder
from pixelsmile.models.backbone import Backbone
from pixelsmile.models.denoiser import pack_latents, unpack_latents
from pixelsmile.models.sampler import Conditions, PromptedField, sample, sigma_schedule


class Bend:
    """Velocities of two pictures that depend on everything."""

    weights = torch.tensor([[1.0], [2.0]])

    def __call__(self, latents, sigma, rows=None):
        return torch.sin(latents) * (1 + sigma) + self.weights.view(-1, 1, 1, 1)


@pytest.mark.parametrize("steps", [2, 4, 50])
@pytest.mark.parametrize("tokens", [64, 4096])
def test_levels_fall_from_one_to_zero_and_follow_the_scheduler(steps, tokens):
    scheduler = tiny_scheduler()
    config = scheduler.config
    slope = (config.max_shift - config.base_shift) / (
        config.max_image_seq_len - config.base_image_seq_len
    )
    shift = config.base_shift + slope * (tokens - config.base_image_seq_len)
    levels = np.linspace(1, 1 / steps, steps)
    shifted = np.exp(shift) / (np.exp(shift) + (1 / levels - 1))
    stretched = 1 - (1 - shifted) * (1 - config.shift_terminal) / (1 - shifted[-1])
    sigmas = sigma_schedule(scheduler, steps, tokens)
    np.testing.assert_allclose(sigmas.numpy(), [*stretched, 0.0], atol=1e-6)
    assert (sigmas.diff() < 0).all()


def test_a_single_step_is_refused():
    with pytest.raises(ValueError, match="2 steps or more, got 1: raise num_steps"):
        sigma_schedule(tiny_scheduler(), 1, 64)


def test_sampling_equals_the_loop_of_the_stock_scheduler(generator):
    scheduler = tiny_scheduler()
    sigmas = sigma_schedule(scheduler, 5, 64)
    noise, field = torch.randn(4, 4, 4, generator=generator), Bend()
    latents = noise.expand(2, -1, -1, -1)
    scheduler.set_begin_index(0)
    for t in scheduler.timesteps:
        latents = scheduler.step(field(latents, t / 1000), t, latents, return_dict=False)[0]
    torch.testing.assert_close(sample(field, noise, sigmas), latents, atol=1e-5, rtol=1e-5)


def test_the_true_velocity_leads_to_the_clean_latent(generator):
    noise, clean = (torch.randn(4, 4, 4, generator=generator) for _ in range(2))

    class Straight(Bend):
        def __call__(self, latents, sigma, rows=None):
            return (noise - clean).expand(2, -1, -1, -1)

    reached = sample(Straight(), noise, sigma_schedule(tiny_scheduler(), 3, 64))
    torch.testing.assert_close(reached, clean.expand(2, -1, -1, -1), atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def parts(tiny_stack):
    """Backbone and autoencoder of their own: `pipeline` is shared and has to stay stock."""
    folder = tiny_stack / "pipeline"
    return (
        Backbone.from_pretrained(folder / "transformer", rank=2),
        Autoencoder.from_pretrained(folder / "vae"),
    )


def test_sampling_equals_the_stock_pipeline_on_the_same_embeddings(
    pipeline, parts, generator, monkeypatch
):
    monkeypatch.setattr(stock, "VAE_IMAGE_SIZE", 64 * 64)
    monkeypatch.setattr(stock, "CONDITION_IMAGE_SIZE", 64 * 64)
    backbone, autoencoder = parts
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    noise = torch.randn(1, 16, 8, 8, generator=generator)
    text = torch.randn(1, 12, TEXT_WIDTH, generator=generator)
    packed = pipeline(
        image=image,
        prompt_embeds=text,
        latents=pack_latents(noise),
        height=64,
        width=64,
        num_inference_steps=4,
        true_cfg_scale=1.0,
        output_type="latent",
    ).images
    expected = unpack_latents(packed, 8, 8)
    with torch.no_grad():
        source = autoencoder.encode((pil_to_tensor(image).float() / 127.5 - 1)[None])
    sigmas = sigma_schedule(tiny_scheduler(), 4, 16)
    conditions = Conditions(source[0], text[0], text[:, -2:])
    field = PromptedField(backbone, conditions, torch.ones(1, 1), batch_size=1)
    actual = sample(field, noise[0], sigmas)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(expected, noise, atol=0.1)
