"""Tricks are exact where they say so, cheaper, and go together."""

import pytest
import torch

from pixelsmile.editing.engine import load_speed
from pixelsmile.faces.tiny.architectures import tiny_transformer
from pixelsmile.models.denoiser import Denoiser
from pixelsmile.models.renderer import distinct_rows
from pixelsmile.models.sampler import Conditions, PromptedField, sample
from pixelsmile.models.speed import (
    HeldDirections,
    InterpolatedStrengths,
    ReusedContext,
    Speed,
)

SIGMAS = torch.tensor([1.0, 0.75, 0.4, 0.04, 0.0])
EDGE, LENGTH, TAIL = 4, 9, 3


@pytest.fixture(scope="module")
def denoiser():
    return Denoiser(tiny_transformer(0, layers=2, heads=2)).eval()


@pytest.fixture(scope="module")
def conditions(denoiser):
    numbers = torch.Generator().manual_seed(1)
    width = denoiser.transformer.config.joint_attention_dim
    return Conditions(
        torch.randn(16, EDGE, EDGE, generator=numbers),
        torch.randn(LENGTH, width, generator=numbers),
        torch.randn(2, TAIL, width, generator=numbers),
    )


@pytest.fixture
def noise(generator):
    return torch.randn(16, EDGE, EDGE, generator=generator)


def grid(*strengths):
    """Neutral and both expressions at each strength."""
    rows = [[s, 0.0] for s in strengths] + [[0.0, s] for s in strengths]
    return torch.tensor([[0.0, 0.0], *rows])


def counting(field):
    """Let a field note how many pictures it was asked about."""
    asked = []

    class Counting:
        weights = field.weights

        def __call__(self, latents, sigma, rows=None):
            asked.append(len(latents))
            return field(latents, sigma, rows)

    return Counting(), asked


def run(field, noise):
    return sample(field, noise, SIGMAS)


# ---- the exact field ------------------------------------------------------------------------


def test_batched_pictures_equal_single_ones(denoiser, conditions, noise):
    weights = grid(0.5, 1.0, -0.7)
    together = run(PromptedField(denoiser, conditions, weights, 4), noise)
    for row, weight in enumerate(weights):
        alone = run(PromptedField(denoiser, conditions, weight[None], 1), noise)
        torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=1e-5)
    assert (together[1] - together[0]).abs().max() > 1e-3


def test_distinct_rows_come_back_in_their_places():
    weights = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [-0.0, 0.0], [0.0, 2.0]])
    rows, places, asked = distinct_rows(weights, with_neutral=False)
    assert len(rows) == 3
    assert asked.all()
    assert torch.equal(rows[asked][places], weights)


@pytest.mark.parametrize("weights", [[[1.0], [0.0], [-2.0]], [[1.0], [-2.0]], [[3.0]], [[0.0]]])
def test_the_neutral_row_leads_and_is_returned_only_to_who_asked(weights):
    weights = torch.tensor(weights)
    rows, places, asked = distinct_rows(weights, with_neutral=True)
    assert torch.equal(rows[asked][places], weights)
    assert len(rows) == 1 or not rows[0].any()


# ---- reused context -------------------------------------------------------------------------


@pytest.mark.parametrize("words", [False, True])
def test_kept_keys_and_values_change_nothing_at_the_same_noise_level(
    denoiser, conditions, noise, words
):
    whole = PromptedField(denoiser, conditions, grid(0.5, 1.0), 2)
    cheap = ReusedContext(max_drop=1.0, span=0.0, words=words)(whole)
    latents, sigma = noise.expand(5, -1, -1, -1), torch.tensor(0.7)
    expected = whole(latents, sigma)
    torch.testing.assert_close(cheap(latents, sigma), expected)  # makes them
    order = torch.tensor([3, 1, 4])
    used = cheap(latents[order], sigma, order)
    torch.testing.assert_close(used, expected[order], atol=1e-5, rtol=1e-5)


def test_kept_keys_and_values_are_made_anew_after_a_drop(denoiser, conditions, noise):
    whole = PromptedField(denoiser, conditions, grid(1.0), 4)
    latents, low = noise.expand(3, -1, -1, -1), torch.tensor(0.2)
    expected = whole(latents, low)
    for max_drop, exact in ((0.5, True), (1.0, False)):
        cheap = ReusedContext(max_drop=max_drop, span=0.0)(whole)
        cheap(latents, torch.tensor(0.9))
        assert torch.allclose(cheap(latents, low), expected, atol=1e-5) is exact


def test_in_the_first_block_the_source_follows_neither_noise_nor_prompt(conditions, noise):
    """So with a single block its keys and values may be reused for ever, and by everyone."""
    single = Denoiser(tiny_transformer(0, layers=1, heads=2)).eval()
    whole = PromptedField(single, conditions, grid(0.5, 1.0), 4)
    cheap = ReusedContext(max_drop=1.0, span=1.0)(whole)
    torch.testing.assert_close(run(cheap, noise), run(whole, noise), atol=1e-5, rtol=1e-5)


def test_a_picture_between_two_nodes_attends_to_the_mean_of_theirs(denoiser, conditions, noise):
    whole = PromptedField(denoiser, conditions, grid(0.5, 1.0), 4)
    cheap = ReusedContext(span=1.0)(whole)
    latents, sigma = noise.expand(5, -1, -1, -1), torch.tensor(0.7)
    cheap(latents, sigma)
    context = cheap.context
    context.rows = torch.arange(5)
    for block in context.kept:
        for kept in context.recall(block):
            torch.testing.assert_close(kept[1], (kept[0] + kept[2]) / 2)
            assert block == 0 or not torch.equal(kept[0], kept[2])


def test_the_stock_processors_are_back_afterwards(denoiser, conditions, noise):
    before = dict(denoiser.transformer.attn_processors)
    whole = PromptedField(denoiser, conditions, grid(1.0), 4)
    run(ReusedContext()(whole), noise)
    assert dict(denoiser.transformer.attn_processors) == before
    cheap = ReusedContext()(whole)
    with pytest.raises(RuntimeError):
        cheap(noise[None, :8].expand(3, -1, -1, -1), torch.tensor(0.5))
    assert dict(denoiser.transformer.attn_processors) == before


def test_padded_prompts_are_refused(denoiser, conditions):
    field = ReusedContext()(PromptedField(denoiser, conditions, grid(1.0), 4))
    mask = torch.ones(1, LENGTH, dtype=torch.bool)
    args = (conditions.latent[None], torch.ones(1), conditions.latent[None])
    rows = torch.tensor([0])
    with (
        field.context.installed(denoiser.transformer, rows, 4, making=True),
        pytest.raises(ValueError, match="do not go with padded prompts"),
    ):
        denoiser(*args, conditions.neutral[None], mask)


def test_reused_context_has_to_be_the_first_trick(denoiser, conditions):
    whole = PromptedField(denoiser, conditions, grid(1.0), 4)
    with pytest.raises(TypeError, match="has to be the first trick"):
        Speed((HeldDirections(), ReusedContext())).wrap(whole)


# ---- held directions and interpolated strengths ---------------------------------------------


class Linear:
    """Velocities that are linear in the weights and constant apart from the leader's."""

    def __init__(self, weights):
        self.weights = weights
        numbers = torch.Generator().manual_seed(2)
        self.pull = torch.randn(weights.shape[1], 16, EDGE, EDGE, generator=numbers)

    def __call__(self, latents, sigma, rows=None):
        weights = self.weights if rows is None else self.weights[rows]
        return torch.einsum("rk,kchw->rchw", weights, self.pull) + sigma**2


@pytest.mark.parametrize(
    "trick",
    [
        HeldDirections(max_drop=0.5),
        HeldDirections(below=0.5),
        InterpolatedStrengths(until=0.1),
        InterpolatedStrengths(until=0.1, span=0.5),
    ],
)
def test_tricks_are_exact_where_their_assumption_holds_and_ask_less(trick, noise):
    field = Linear(grid(0.25, 0.5, 0.75, 1.0))
    counted, asked = counting(field)
    cheap = run(trick(counted), noise)
    torch.testing.assert_close(cheap, run(field, noise), atol=1e-5, rtol=1e-5)
    assert sum(asked) < 9 * 4


@pytest.mark.parametrize("trick", [HeldDirections(0.5, 0.5), InterpolatedStrengths(0.1)])
def test_a_single_picture_is_left_alone(trick, denoiser, conditions, noise):
    whole = PromptedField(denoiser, conditions, torch.tensor([[0.3, 0.2]]), 4)
    assert torch.equal(run(trick(whole), noise), run(whole, noise))


def test_the_strongest_pictures_are_exact_under_interpolation(denoiser, conditions, noise):
    whole = PromptedField(denoiser, conditions, grid(0.5, 1.0), 8)
    cheap, exact = (run(field, noise) for field in (InterpolatedStrengths(0.1)(whole), whole))
    for row in (0, 2, 4):
        torch.testing.assert_close(cheap[row], exact[row], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(cheap[1], exact[1], atol=1e-5)


def test_the_leader_is_exact_under_held_directions(denoiser, conditions, noise):
    whole = PromptedField(denoiser, conditions, grid(1.0), 8)
    cheap, exact = (run(field, noise) for field in (HeldDirections(0.5)(whole), whole))
    torch.testing.assert_close(cheap[0], exact[0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(cheap[1], exact[1], atol=1e-5)


@pytest.mark.parametrize("name", ["fast", "draft"])
def test_all_tricks_go_together(denoiser, conditions, noise, name):
    speed = load_speed(name)
    assert not speed.exact
    assert load_speed("exact").exact
    whole = PromptedField(denoiser, conditions, grid(0.25, 0.5, 0.75, 1.0), 4)
    exact, cheap = run(whole, noise), run(speed.wrap(whole), noise)
    assert cheap.isfinite().all()
    assert (cheap - exact).abs().mean() < 0.5 * (exact - exact[:1]).abs().mean()
