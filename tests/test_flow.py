import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from pixelsmile.flow import add_noise, denoise, sample_sigma, velocity


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(params=[(3,), (7, 5), (4, 8, 8), (2, 3, 4, 5)], ids=str)
def pair(request, generator):
    shape = (6, *request.param)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)]


def test_denoise_with_the_true_velocity_inverts_add_noise(pair, generator):
    clean, noise = pair
    sigma = torch.rand(6, generator=generator, dtype=torch.float64)
    noisy = add_noise(clean, noise, sigma)
    torch.testing.assert_close(denoise(noisy, velocity(clean, noise), sigma), clean)


def test_add_noise_follows_the_formula_sample_by_sample(pair, generator):
    clean, noise = pair
    sigma = torch.rand(6, generator=generator, dtype=torch.float64)
    noisy = add_noise(clean, noise, sigma)
    for row in range(6):
        s = sigma[row].item()
        expected = (1 - s) * clean[row].numpy() + s * noise[row].numpy()
        np.testing.assert_allclose(noisy[row].numpy(), expected, rtol=1e-12, atol=1e-12)


def test_the_ends_of_the_path_are_the_clean_latent_and_the_noise(pair):
    clean, noise = pair
    assert torch.equal(add_noise(clean, noise, torch.zeros(6)), clean)
    assert torch.equal(add_noise(clean, noise, torch.ones(6)), noise)


def test_velocity_is_the_derivative_of_the_path(pair):
    clean, noise = pair
    here, there = (add_noise(clean, noise, torch.full((6,), s).to(clean)) for s in (0.25, 0.75))
    torch.testing.assert_close((there - here) / 0.5, velocity(clean, noise))


def test_one_euler_step_of_the_stock_scheduler_to_zero_agrees_with_denoise(pair):
    clean, noise = pair
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=[0.8])
    noisy = add_noise(clean, noise, torch.full((6,), 0.8, dtype=torch.float64))
    stepped = scheduler.step(velocity(clean, noise), scheduler.timesteps[0], noisy).prev_sample
    torch.testing.assert_close(stepped, clean, rtol=1e-5, atol=1e-5)


def test_noise_and_sigma_shared_by_a_pair_give_the_noisy_difference_of_the_clean_ones(pair):
    clean_a, clean_b = pair
    noise, sigma = torch.ones_like(clean_a), torch.full((6,), 0.25, dtype=torch.float64)
    difference = add_noise(clean_a, noise, sigma) - add_noise(clean_b, noise, sigma)
    torch.testing.assert_close(difference, 0.75 * (clean_a - clean_b))


def test_the_gradient_of_the_estimate_by_the_velocity_is_minus_sigma():
    predicted = torch.zeros(2, 3, requires_grad=True)
    denoise(torch.ones(2, 3), predicted, torch.tensor([0.1, 0.9])).sum().backward()
    torch.testing.assert_close(predicted.grad, -torch.tensor([[0.1] * 3, [0.9] * 3]))


def test_float32_sigma_keeps_neighbouring_levels_apart_in_bf16_latents():
    clean, noise = torch.zeros(2, 1, dtype=torch.bfloat16), torch.ones(2, 1, dtype=torch.bfloat16)
    noisy = add_noise(clean, noise, torch.tensor([0.900, 0.901]))
    assert noisy.dtype == torch.float32
    torch.testing.assert_close(noisy.flatten(), torch.tensor([0.900, 0.901]))


def test_sample_sigma_gives_each_training_level_of_the_scheduler_alike_often():
    uniform = (torch.arange(5000) + 0.5) / 5000
    values, counts = sample_sigma(uniform).unique(return_counts=True)
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000)
    torch.testing.assert_close(values, scheduler.sigmas.flip(0), rtol=0, atol=1e-6)
    assert counts.tolist() == [5] * 1000


@pytest.mark.parametrize("levels", [1, 3, 1000])
def test_sample_sigma_stays_in_range_at_the_ends_of_the_uniforms(levels):
    last = torch.nextafter(torch.tensor(1.0), torch.tensor(0.0))
    sigma = sample_sigma(torch.stack([torch.tensor(0.0), last]), levels)
    torch.testing.assert_close(sigma, torch.tensor([1 / levels, 1.0]))


def test_an_empty_batch_passes_through():
    empty = torch.empty(0, 4)
    sigma = sample_sigma(torch.empty(0))
    assert denoise(add_noise(empty, empty, sigma), empty, sigma).shape == (0, 4)


def test_wrong_shapes_and_levels_are_refused():
    latents = torch.zeros(2, 4)
    with pytest.raises(
        ValueError, match=r"sigma has shape \(1,\) .* one value per sample, shape \(2,\)"
    ):
        add_noise(latents, latents, torch.zeros(1))
    with pytest.raises(ValueError, match=r"sigma has shape \(\)"):
        denoise(latents, latents, torch.tensor(0.5))
    with pytest.raises(ValueError, match=r"noise has shape \(1, 4\) and clean \(2, 4\)"):
        velocity(latents, latents[:1])
    with pytest.raises(ValueError, match=r"velocity has shape \(2, 1\) and noisy \(2, 4\)"):
        denoise(latents, latents[:, :1], torch.zeros(2))
    with pytest.raises(ValueError, match="levels is 0: give at least 1"):
        sample_sigma(torch.zeros(2), levels=0)
    with pytest.raises(ValueError, match=r"uniform is torch.int64: draw floats in \[0, 1\)"):
        sample_sigma(torch.zeros(2, dtype=torch.int64))
