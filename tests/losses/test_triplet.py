import math
from functools import partial

import numpy as np
import pytest
import torch

from pixelsmile.losses import SymmetricTripletLoss, hinge, info_nce, log_ratio

TERMS = [hinge, log_ratio, info_nce]


@pytest.fixture
def embeddings():
    """generated_a, generated_b, target_a, target_b: (8, 16) each, of any length."""
    generator = torch.Generator().manual_seed(4)
    return torch.randn(4, 8, 16, generator=generator).mul(3).unbind()


def cosine(first, second):
    first, second = first.double().numpy(), second.double().numpy()
    return float(first @ second / math.sqrt(first @ first) / math.sqrt(second @ second))


def reference(name, generated, positive, negative):
    """Eqs. 10, 11, 12 for one sample, word by word."""
    near, far = cosine(generated, positive), cosine(generated, negative)
    if name == "hinge":
        return max(0.0, (1 - near) - (1 - far) + 0.2)
    if name == "log_ratio":
        return math.log((1 - near + 1e-6) / (1 - far + 1e-6))
    weights = math.exp(near / 0.07), math.exp(far / 0.07)
    return -math.log(weights[0] / sum(weights))


@pytest.mark.parametrize("term", TERMS)
def test_terms_follow_the_appendix_sample_by_sample(term, embeddings):
    generated, _, positive, negative = embeddings
    expected = [
        reference(term.__name__, *row) for row in zip(generated, positive, negative, strict=True)
    ]
    np.testing.assert_allclose(term(generated, positive, negative), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("term", TERMS)
def test_symmetric_loss_is_the_half_sum_of_eq_7_averaged_over_the_batch(term, embeddings):
    total = 0.0
    for generated_a, generated_b, target_a, target_b in zip(*embeddings, strict=True):
        total += reference(term.__name__, generated_a, target_a, target_b) / 2
        total += reference(term.__name__, generated_b, target_b, target_a) / 2
    loss = SymmetricTripletLoss(term)(*embeddings)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(total / 8, rel=1e-5)


@pytest.mark.parametrize("term", TERMS)
def test_symmetric_loss_ignores_which_expression_is_first(term, embeddings):
    generated_a, generated_b, target_a, target_b = embeddings
    loss = SymmetricTripletLoss(term)
    swapped = loss(generated_b, generated_a, target_b, target_a)
    torch.testing.assert_close(loss(generated_a, generated_b, target_a, target_b), swapped)


@pytest.mark.parametrize("term", TERMS)
def test_without_symmetry_only_the_first_direction_counts_in_full(term, embeddings):
    generated_a, generated_b, target_a, target_b = embeddings
    loss = SymmetricTripletLoss(term, symmetric=False)
    value = loss(generated_a, generated_b, target_a, target_b)
    torch.testing.assert_close(value, term(generated_a, target_a, target_b).mean())
    torch.testing.assert_close(value, loss(generated_a, -generated_b, target_a, target_b))


@pytest.mark.parametrize("term", TERMS)
def test_the_length_of_an_embedding_does_not_matter(term, embeddings):
    generated, _, positive, negative = embeddings
    scaled = term(generated * 7, positive * 0.01, negative * 100)
    torch.testing.assert_close(scaled, term(generated, positive, negative), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("term", TERMS)
def test_terms_run_in_float32_on_bf16_embeddings_and_under_autocast(term, embeddings):
    generated, _, positive, negative = (x.bfloat16() for x in embeddings)
    exact = term(generated.double(), positive.double(), negative.double())
    with torch.autocast("cpu", torch.bfloat16):
        value = term(generated, positive, negative)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("term", [partial(hinge, margin=3.0), log_ratio, info_nce])
def test_gradients_agree_with_finite_differences(term, symmetric, embeddings):
    inputs = [x[:2, :5].double().requires_grad_() for x in embeddings]
    if not symmetric:
        inputs[1].requires_grad_(False)
    assert torch.autograd.gradcheck(SymmetricTripletLoss(term, symmetric), inputs)


@pytest.mark.parametrize("term", TERMS)
def test_a_step_along_the_gradient_moves_toward_the_positive(term, embeddings):
    generated, _, positive, negative = embeddings
    # near the negative, where each of the terms, the hinge too, pays
    generated = (negative + 0.3 * positive).requires_grad_()
    term(generated, positive, negative).sum().backward()
    moved = generated.detach() - 0.1 * generated.grad
    gain = torch.cosine_similarity(moved, positive) - torch.cosine_similarity(generated, positive)
    assert (gain > 0).all()


def test_hinge_is_zero_without_gradient_where_the_margin_is_kept():
    generated = torch.tensor([[1.0, 0.1]], requires_grad=True)
    value = hinge(generated, torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    value.sum().backward()
    assert value.item() == 0
    assert not generated.grad.any()


def test_info_nce_is_log_2_where_both_targets_are_equally_near():
    value = info_nce(torch.ones(1, 2), torch.eye(2)[:1], torch.eye(2)[1:])
    assert value.item() == pytest.approx(math.log(2))


def test_log_ratio_stays_finite_with_a_gradient_at_exact_collapse():
    same = torch.randn(4, 512, generator=torch.Generator().manual_seed(5))
    generated = same.clone().requires_grad_()
    value = log_ratio(generated, same, -same)
    value.sum().backward()
    torch.testing.assert_close(value, torch.full((4,), math.log(1e-6 / 2)), rtol=1e-4, atol=0)
    assert generated.grad.isfinite().all()


def test_log_ratio_changes_sign_when_positive_and_negative_swap(embeddings):
    generated, _, positive, negative = embeddings
    swapped = log_ratio(generated, negative, positive)
    torch.testing.assert_close(log_ratio(generated, positive, negative), -swapped)


def test_the_constants_of_the_terms_can_be_fixed_by_partial_application(embeddings):
    loss = SymmetricTripletLoss(partial(info_nce, temperature=1e6))
    assert loss(*embeddings).item() == pytest.approx(math.log(2), abs=1e-4)
    assert SymmetricTripletLoss().term is info_nce


@pytest.mark.parametrize("term", TERMS)
def test_an_empty_batch_costs_nothing_and_still_backpropagates(term):
    empty = torch.empty(0, 4, requires_grad=True)
    loss = SymmetricTripletLoss(term)(empty, empty, empty, empty)
    loss.backward()
    assert loss.item() == 0


def test_shapes_that_would_broadcast_are_refused(embeddings):
    generated, _, positive, negative = embeddings
    with pytest.raises(ValueError, match=r"shapes \(8, 16\), \(1, 16\) and \(8, 16\): give three"):
        info_nce(generated, positive[:1], negative)
    with pytest.raises(ValueError, match=r"of one shape \(B, D\)"):
        hinge(generated[0], positive[0], negative[0])


def test_a_term_by_name_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="term is 'hinge': give a function such as"):
        SymmetricTripletLoss("hinge")
