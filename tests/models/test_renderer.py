"""Every picture is rendered once, from one noise, whatever the batches are."""

import pytest
import torch

from pixelsmile.faces.tiny.architectures import tiny_scheduler
from pixelsmile.models.autoencoder import Autoencoder
from pixelsmile.models.denoiser import Denoiser
from pixelsmile.models.renderer import draw_noise, render
from pixelsmile.models.sampler import Conditions, sigma_schedule
from pixelsmile.models.speed import ReusedContext, Speed

WEIGHTS = torch.tensor([[0.0, 0.0], [0.6, 0.4], [2.0, 0.0], [0.0, -1.0], [0.6, 0.4], [0.0, 0.0]])


@pytest.fixture(scope="module")
def parts(tiny_stack):
    folder = tiny_stack / "pipeline"
    return (
        Denoiser.from_pretrained(folder / "transformer").eval(),
        Autoencoder.from_pretrained(folder / "vae"),
    )


@pytest.fixture(scope="module")
def conditions(parts):
    numbers = torch.Generator().manual_seed(3)
    width = parts[0].transformer.config.joint_attention_dim
    return Conditions(
        torch.randn(16, 4, 6, generator=numbers),
        torch.randn(9, width, generator=numbers),
        torch.randn(2, 3, width, generator=numbers),
    )


def pictures(parts, conditions, weights=WEIGHTS, seed=0, batch_size=2, **kwargs):
    noise, sigmas = draw_noise(16, 4, 6, seed), sigma_schedule(tiny_scheduler(), 3, 6)
    return render(*parts, conditions, weights, noise, sigmas, batch_size=batch_size, **kwargs)


def test_pictures_do_not_depend_on_the_size_of_the_batches(parts, conditions):
    one = pictures(parts, conditions, batch_size=1)
    assert one.shape == (6, 3, 32, 48)
    torch.testing.assert_close(pictures(parts, conditions, batch_size=9), one, atol=1e-5, rtol=0)


def test_equal_rows_are_one_picture_and_others_differ(parts, conditions):
    images = pictures(parts, conditions)
    assert torch.equal(images[1], images[4])
    assert torch.equal(images[0], images[5])
    for row in (1, 2, 3):
        assert (images[row] - images[0]).abs().max() > 1e-3


def test_seeds_give_other_pictures_and_the_same_again(parts, conditions):
    first = pictures(parts, conditions, WEIGHTS[:1], seed=1)
    assert torch.equal(pictures(parts, conditions, WEIGHTS[:1], seed=1), first)
    assert not torch.allclose(pictures(parts, conditions, WEIGHTS[:1], seed=2), first, atol=1e-2)


def test_progress_adds_up_to_all_pictures_and_grows_as_steps_are_done(parts, conditions):
    told = []
    pictures(parts, conditions, progress=told.append)
    assert sum(told) == 6
    assert len(told) == 4  # three steps, and decoding
    assert all(count > 0 for count in told)


def test_groups_that_share_less_memory_give_the_same_exact_rows(parts, conditions):
    speed = Speed((ReusedContext(max_drop=0.0, span=0.0),), at_once=1)
    told = []
    images = pictures(parts, conditions, speed=speed, progress=told.append)
    torch.testing.assert_close(images, pictures(parts, conditions), atol=1e-5, rtol=0)
    assert sum(told) == 6
