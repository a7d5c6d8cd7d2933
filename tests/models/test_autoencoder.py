"""The collapsed VAE gives the numbers of the stock video VAE on single frames."""

import copy

import pytest
import torch
from torch import nn

from pixelsmile.faces.tiny.architectures import LATENT_CHANNELS, tiny_autoencoder
from pixelsmile.models.autoencoder import Autoencoder, SingleFrameConv, collapse, expand_into


@pytest.fixture(scope="module")
def stock():
    vae = tiny_autoencoder(5)
    numbers = torch.Generator().manual_seed(0)
    mean = torch.randn(16, generator=numbers).tolist()
    std = (torch.rand(16, generator=numbers) + 0.5).tolist()
    vae.register_to_config(latents_mean=mean, latents_std=std)
    return vae.eval()


@pytest.fixture(scope="module")
def autoencoder(stock):
    return Autoencoder(copy.deepcopy(stock))


@pytest.fixture
def images(generator):
    return torch.rand(2, 3, 48, 32, generator=generator) * 2 - 1


def statistics(vae):
    return [
        torch.tensor(values).view(1, -1, 1, 1, 1)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    ]


@torch.no_grad()
def test_encoding_equals_the_normalised_mode_of_the_stock_vae(stock, autoencoder, images):
    mean, std = statistics(stock)
    mode = stock.encode(images.unsqueeze(2)).latent_dist.mode()
    expected = ((mode - mean) / std).squeeze(2)
    assert expected.shape == (2, 16, 6, 4)
    torch.testing.assert_close(autoencoder.encode(images), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_decoding_equals_the_stock_vae(stock, autoencoder, generator):
    latents = torch.randn(2, 16, 6, 4, generator=generator)
    mean, std = statistics(stock)
    expected = stock.decode(latents.unsqueeze(2) * std + mean).sample.squeeze(2)
    torch.testing.assert_close(autoencoder.decode(latents), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_only_the_clamp_tells_the_two_ways_of_decoding_apart(autoencoder, generator):
    bold = copy.deepcopy(autoencoder)
    bold.vae.decoder.conv_out.weight.mul_(10)
    latents = torch.randn(1, 16, 4, 4, generator=generator)
    free = bold.decode(latents, clamp=False)
    assert free.abs().max() > 1
    torch.testing.assert_close(bold.decode(latents), free.clamp(-1, 1))


def test_no_spatial_convolution_is_left_in_three_dimensions(autoencoder):
    left = [n for n, m in autoencoder.vae.named_modules() if isinstance(m, nn.Conv3d)]
    assert all("time_conv" in name for name in left)
    assert any(isinstance(m, SingleFrameConv) for m in autoencoder.vae.modules())


@torch.no_grad()
def test_expanding_restores_a_stock_vae_that_encodes_and_decodes_the_same(stock, images):
    collapsed = copy.deepcopy(stock)
    collapse(collapsed)
    restored = tiny_autoencoder(6).eval()
    expand_into(restored, collapsed)
    expected = stock.encode(images.unsqueeze(2)).latent_dist.mode()
    actual = restored.encode(images.unsqueeze(2)).latent_dist.mode()
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        restored.decode(expected).sample, stock.decode(expected).sample, atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
def test_collapsing_an_expanded_vae_gives_back_every_weight(stock):
    collapsed = copy.deepcopy(stock)
    collapse(collapsed)
    restored = tiny_autoencoder(6)
    expand_into(restored, collapsed)
    collapse(restored)
    before, after = collapsed.state_dict(), restored.state_dict()
    for name, weight in before.items():
        if "time_conv" not in name:
            assert torch.equal(after[name], weight), name


def test_a_video_is_refused():
    convolution = SingleFrameConv(3, 4, 3)
    with pytest.raises(ValueError, match="Expected one frame and no cache, got 2 frames"):
        convolution(torch.zeros(1, 3, 2, 8, 8))
    with pytest.raises(ValueError, match="no cache"):
        convolution(torch.zeros(1, 3, 1, 8, 8), cache_x=torch.zeros(1, 3, 1, 8, 8))


def test_it_stays_frozen_and_in_evaluation_but_passes_gradients_on(autoencoder):
    autoencoder.train()
    assert not any(module.training for module in autoencoder.modules())
    assert not any(parameter.requires_grad for parameter in autoencoder.parameters())
    latents = torch.zeros(1, 16, 2, 2, requires_grad=True)
    autoencoder.decode(latents, clamp=False).sum().backward()
    assert latents.grad.abs().sum() > 0


@pytest.mark.parametrize(("sub_batch", "keep_nothing"), [(1, False), (2, True), (None, True)])
def test_decoding_in_parts_gives_the_same_images_and_gradients(
    autoencoder, generator, sub_batch, keep_nothing
):
    latents = torch.randn(3, LATENT_CHANNELS, 4, 4, generator=generator, requires_grad=True)
    found = []
    for settings in ((None, False), (sub_batch, keep_nothing)):
        autoencoder.in_parts(settings[0], checkpoint=settings[1])
        images = autoencoder.decode(latents, clamp=False)
        found.append((images, *torch.autograd.grad(images.square().mean(), latents)))
    autoencoder.in_parts(None, checkpoint=False)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_checkpointed_decoding_keeps_nothing_for_the_backward_pass(autoencoder, generator):
    latents = torch.randn(2, LATENT_CHANNELS, 4, 4, generator=generator, requires_grad=True)
    kept = {}
    for checkpoint in (False, True):
        sizes = []
        autoencoder.in_parts(1, checkpoint=checkpoint)
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, sizes=sizes: sizes.append(x.nbytes) or x, lambda x: x
        ):
            autoencoder.decode(latents, clamp=False)
        kept[checkpoint] = sum(sizes)
    autoencoder.in_parts(None, checkpoint=False)
    assert kept[True] < kept[False] / 50
