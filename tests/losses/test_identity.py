import math

import pytest
import torch

from pixelsmile.errors import UserError
from pixelsmile.losses import IdentityLoss


@pytest.fixture
def embeddings():
    """generated_a, generated_b, target_a, target_b: (6, 16) each, of any length."""
    generator = torch.Generator().manual_seed(6)
    return torch.randn(4, 6, 16, generator=generator).mul(3).unbind()


SIGMA = torch.tensor([0.001, 0.3, 0.6, 0.6001, 0.8, 1.0])


def reference(embeddings, sigma, max_sigma):
    """Eq. 8 for each sample in turn, in plain numbers."""
    total = 0.0
    for row, level in enumerate(sigma.tolist()):
        if level > max_sigma:
            continue
        for generated, target in ((0, 2), (1, 3)):
            g, p = (embeddings[i][row].double().tolist() for i in (generated, target))
            dot = sum(x * y for x, y in zip(g, p, strict=True))
            total += (1 - dot / math.hypot(*g) / math.hypot(*p)) / 2
    return total / len(sigma)


@pytest.mark.parametrize("max_sigma", [0.1, 0.65, 1.0, None])
def test_loss_is_eq_8_over_the_samples_below_the_gate(max_sigma, embeddings):
    loss = IdentityLoss(max_sigma)(*embeddings, SIGMA)
    assert loss.shape == ()
    expected = reference(embeddings, SIGMA, 2.0 if max_sigma is None else max_sigma)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_without_a_gate_the_loss_is_the_paper_formula_at_every_sigma(embeddings):
    generated_a, generated_b, target_a, target_b = embeddings
    similarity = torch.cosine_similarity(generated_a, target_a)
    similarity = similarity + torch.cosine_similarity(generated_b, target_b)
    expected = (1 - similarity / 2).mean()
    torch.testing.assert_close(IdentityLoss(None)(*embeddings, torch.ones(6)), expected)


def test_the_gate_is_per_sample_and_includes_its_limit():
    sigma = torch.tensor([0.59, 0.6, 0.61, 0.0, 1.0])
    assert IdentityLoss(0.6).active(sigma).tolist() == [True, True, False, True, False]
    assert IdentityLoss(None).active(sigma).tolist() == [True] * 5


def test_every_training_level_up_to_600_of_1000_is_active_by_default():
    levels = (torch.arange(1000).double() + 1) / 1000
    assert IdentityLoss().active(levels.float()).sum() == 600


def test_a_gated_sample_gets_no_gradient_and_does_not_raise_that_of_the_others(embeddings):
    generated_a, *others = embeddings
    gradients = []
    for sigma in (torch.full((6,), 0.1), SIGMA):
        leaf = generated_a.clone().requires_grad_()
        IdentityLoss()(leaf, *others, sigma).backward()
        gradients.append(leaf.grad)
    assert not gradients[1][3:].any()
    torch.testing.assert_close(gradients[1][:3], gradients[0][:3])


def test_loss_ignores_which_expression_is_first(embeddings):
    generated_a, generated_b, target_a, target_b = embeddings
    loss = IdentityLoss()
    swapped = loss(generated_b, generated_a, target_b, target_a, SIGMA)
    torch.testing.assert_close(loss(*embeddings, SIGMA), swapped)


def test_loss_is_exactly_0_for_the_same_face_and_2_for_the_opposite(embeddings):
    face = embeddings[0]
    sigma = torch.zeros(6)
    assert IdentityLoss()(face, face, face, face, sigma).item() == 0
    opposite = IdentityLoss()(face, face, -face, -face, sigma).item()
    assert opposite == pytest.approx(2)


def test_gradients_agree_with_finite_differences(embeddings):
    inputs = [x[:3, :4].double().requires_grad_() for x in embeddings]
    sigma = torch.tensor([0.2, 0.9, 0.5])
    assert torch.autograd.gradcheck(lambda *x: IdentityLoss()(*x, sigma), inputs)


def test_loss_runs_in_float32_on_bf16_embeddings(embeddings):
    rounded = [x.bfloat16() for x in embeddings]
    loss = IdentityLoss()(*rounded, SIGMA)
    exact = IdentityLoss()(*[x.double() for x in rounded], SIGMA)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)


def test_an_empty_batch_and_a_fully_gated_one_cost_nothing(embeddings):
    empty = torch.empty(0, 4)
    assert IdentityLoss()(empty, empty, empty, empty, torch.empty(0)).item() == 0
    assert IdentityLoss()(*embeddings, torch.ones(6)).item() == 0


@pytest.mark.parametrize("max_sigma", [0, -0.1, 1.5, 600])
def test_a_gate_outside_0_to_1_is_refused(max_sigma):
    with pytest.raises(UserError, match=rf"max_sigma is {max_sigma}: .* or null to count all"):
        IdentityLoss(max_sigma)


def test_wrong_shapes_are_refused(embeddings):
    generated_a, generated_b, target_a, target_b = embeddings
    with pytest.raises(ValueError, match=r"sigma has shape \(1,\) for a batch of 6"):
        IdentityLoss()(*embeddings, torch.zeros(1))
    with pytest.raises(ValueError, match=r"shapes \(6, 16\) and \(1, 16\)"):
        IdentityLoss()(generated_a, generated_b, target_a[:1], target_b, SIGMA)
