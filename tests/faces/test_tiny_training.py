"""Budget, learning rate, batches and augmentation of the small trainings."""

import time

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torch import nn

from pixelsmile.faces.tiny import augment as changes
from pixelsmile.faces.tiny.training import (
    Budget,
    adamw,
    apply_step,
    one_cycle,
    refresh_statistics,
    shuffled,
    to_images,
)


@pytest.fixture
def images(generator):
    return 2 * torch.rand(6, 3, 32, 32, generator=generator) - 1


def test_a_number_of_steps_overrides_the_minutes():
    budget = Budget(minutes=0.0, steps=40)
    assert list(budget) == [step / 40 for step in range(40)]
    assert budget.report["steps"] == 40


def test_a_budget_of_minutes_ends_with_them_and_does_not_count_the_first_step(monkeypatch):
    clock = iter([0.0, 100.0, 115.0, 130.0, 145.0, 160.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    budget = Budget(minutes=1.0)
    assert list(budget) == [0.0, 0.0, 0.25, 0.5, 0.75]
    assert budget.report == {"steps": 5, "seconds": 60.0}


def test_learning_rate_rises_to_its_peak_once_and_ends_low():
    factors = [one_cycle(step / 1000) for step in range(1001)]
    peak = int(np.argmax(factors))
    assert peak == 100
    assert factors[peak] == 1
    assert (np.diff(factors[:peak]) >= 0).all()
    assert (np.diff(factors[peak:]) < 0).all()
    assert factors[-1] == pytest.approx(0.01)


def test_every_row_comes_once_before_any_comes_again():
    batches = shuffled(np.arange(10, 17), 3, seed=0)
    drawn = np.concatenate([next(batches) for _ in range(7)])
    for epoch in drawn.reshape(3, 7):
        assert sorted(epoch) == list(range(10, 17))


def test_step_uses_the_learning_rate_it_is_given_and_clips():
    network = nn.Linear(2, 1, bias=False)
    before = network.weight.detach().clone()
    optimizer = torch.optim.SGD(network.parameters(), lr=99.0)
    loss = 1000 * network(torch.tensor([[0.6, 0.8]])).sum()
    apply_step(loss, optimizer, lr=0.1, clip=1.0)
    torch.testing.assert_close(network.weight, before - 0.1 * torch.tensor([[0.6, 0.8]]))


def test_only_matrices_decay():
    network = nn.Linear(2, 2)
    decayed, free = adamw(network, lr=1e-3, weight_decay=0.5).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.5, 0.0)
    assert decayed["params"][0] is network.weight
    assert free["params"][0] is network.bias


def test_refreshed_statistics_are_the_plain_average_over_batches(generator):
    network = nn.Sequential(nn.BatchNorm2d(3))
    network(torch.full((2, 3, 4, 4), 50.0))  # an old running average
    batches = [torch.randn(8, 3, 4, 4, generator=generator) for _ in range(3)]
    refresh_statistics(network, batches)
    expected = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    torch.testing.assert_close(network[0].running_mean, expected)
    assert not network.training


def test_pixels_become_images_between_minus_one_and_one():
    pixels = np.zeros((1, 2, 2, 3), dtype=np.uint8)
    pixels[0, 0, 1] = (255, 0, 51)
    images = to_images(pixels)
    assert images.shape == (1, 3, 2, 2)
    assert images[0, :, 0, 1].tolist() == pytest.approx([1.0, -1.0, -0.6])


def test_augmentation_repeats_with_its_generator_and_stays_in_range(images):
    first = changes.augment(images, torch.Generator().manual_seed(1))
    again = changes.augment(images, torch.Generator().manual_seed(1))
    other = changes.augment(images, torch.Generator().manual_seed(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.abs().max() <= 1


@pytest.mark.parametrize("change", [changes.blur, changes.resample])
def test_soft_changes_keep_flat_images_and_remove_detail(change, images, generator):
    flat = torch.full((2, 3, 32, 32), 0.0)
    torch.testing.assert_close(change(flat, generator), flat, atol=1e-5, rtol=0)
    softer = change(images, generator)
    assert softer.diff(dim=-1).abs().mean() < images.diff(dim=-1).abs().mean()


def test_compression_works_on_the_cosine_transform_of_eight_by_eight_blocks(images):
    compressed = changes.compress(images, torch.Generator().manual_seed(0))
    strength = 0.02 + 0.10 * float(torch.rand((), generator=torch.Generator().manual_seed(0)))
    ramp = np.arange(8)
    steps = strength * (1 + ramp[:, None] + ramp[None, :])
    multiples = dctn(compressed[0, 0, 8:16, 16:24].numpy(), norm="ortho") / steps
    np.testing.assert_allclose(multiples, np.round(multiples), atol=1e-3)


def test_framing_of_size_zero_changes_nothing(images, generator):
    same = changes.frame(images, generator, shift=0.0, scale=0.0)
    torch.testing.assert_close(same, images, atol=1e-5, rtol=0)
