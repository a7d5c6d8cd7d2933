import numpy as np
import pytest
import torch

from pixelsmile.conditioning import (
    align_suffixes,
    blend_text,
    interpolate_text,
    join_suffix,
    shared_prefix_length,
    split_suffix,
    steer_text,
    to_bool_mask,
)

CPU = torch.device("cpu")


@pytest.fixture
def embeddings():
    """Neutral and target embeddings, (4, 9, 5), that differ in the last three tokens."""
    generator = torch.Generator().manual_seed(1)
    neutral = torch.randn(4, 9, 5, generator=generator)
    target = neutral.clone()
    target[:, -3:] = torch.randn(4, 3, 5, generator=generator)
    return neutral, target


def test_strength_0_is_neutral_and_1_is_the_target_to_the_last_bit(embeddings):
    neutral, target = embeddings
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        start, end = neutral.to(dtype), target.to(dtype)
        assert torch.equal(interpolate_text(start, end, torch.zeros(4)), start)
        assert torch.equal(interpolate_text(start, end, torch.ones(4)), end)


def test_interpolation_follows_eq_5_inside_and_outside_0_to_1(embeddings):
    neutral, target = embeddings
    strength = torch.tensor([-0.5, 0.3, 0.8, 1.5])
    mixed = interpolate_text(neutral, target, strength)
    for row, alpha in enumerate(strength.tolist()):
        start, end = neutral[row].double().numpy(), target[row].double().numpy()
        np.testing.assert_allclose(mixed[row].numpy(), start + alpha * (end - start), atol=1e-5)


def test_tokens_that_agree_do_not_move_with_the_strength(embeddings):
    neutral, target = embeddings
    mixed = interpolate_text(neutral, target, torch.tensor([0.1, 0.49, 0.51, 1.7]))
    assert torch.equal(mixed[:, :-3], neutral[:, :-3])


def test_bf16_embeddings_are_mixed_in_float32_and_come_back_as_bf16(embeddings):
    neutral, target = (x.bfloat16() for x in embeddings)
    strength = torch.tensor([0.301, 0.302, 0.303, 0.304])
    mixed = interpolate_text(neutral, target, strength)
    exact = interpolate_text(neutral.double(), target.double(), strength)
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed, exact.bfloat16(), rtol=1e-2, atol=1e-3)


def test_a_blend_of_one_expression_is_interpolation(embeddings):
    neutral, target = embeddings
    strength = torch.tensor([0.0, 0.5, 1.0, 1.5])
    blended = blend_text(neutral, target.unsqueeze(1), strength.unsqueeze(1))
    torch.testing.assert_close(blended, interpolate_text(neutral, target, strength))


def test_a_blend_is_the_weighted_sum_of_directions(embeddings):
    neutral, _ = embeddings
    targets = torch.randn(4, 3, 9, 5, generator=torch.Generator().manual_seed(2))
    weights = torch.rand(4, 3, generator=torch.Generator().manual_seed(3)) * 2 - 0.5
    expected = neutral.double().numpy().copy()
    for row in range(4):
        for k in range(3):
            delta = targets[row, k].double().numpy() - neutral[row].double().numpy()
            expected[row] += weights[row, k].item() * delta
    np.testing.assert_allclose(blend_text(neutral, targets, weights).numpy(), expected, atol=1e-5)


def test_a_blend_ignores_the_order_of_its_expressions_and_zero_weights(embeddings):
    neutral, target = embeddings
    targets = torch.stack([target, target.flip(-1), target * 2], dim=1)
    weights = torch.tensor([[0.5, 0.25, 0.0]]).expand(4, 3)
    blended = blend_text(neutral, targets, weights)
    torch.testing.assert_close(blend_text(neutral, targets.flip(1), weights.flip(1)), blended)
    torch.testing.assert_close(blend_text(neutral, targets[:, :2], weights[:, :2]), blended)


def test_interpolation_and_blend_pass_gradients_in_float64(embeddings):
    neutral, target = (x[:1, -2:].double().requires_grad_() for x in embeddings)
    strength = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(interpolate_text, (neutral, target, strength))
    weights = strength.detach().view(1, 1).requires_grad_()
    assert torch.autograd.gradcheck(
        blend_text, (neutral, target.detach().unsqueeze(1).requires_grad_(), weights)
    )


@pytest.mark.parametrize(
    ("prompts", "length"),
    [
        ([[1, 2, 3]], 3),
        ([[1, 2, 3], [1, 2, 3]], 3),
        ([[1, 2, 3], [1, 4, 3], [1, 2, 5]], 1),
        ([[1, 2], [1, 2, 3]], 2),
        ([[1], [2]], 0),
        ([[], [1]], 0),
    ],
)
def test_the_shared_prefix_ends_at_the_first_difference(prompts, length):
    assert shared_prefix_length(prompts) == length
    assert shared_prefix_length(prompts[::-1]) == length


def test_joining_what_was_split_restores_the_target_to_the_last_bit(embeddings):
    neutral, target = embeddings
    for length in (3, 4, 9):
        suffix = split_suffix(neutral, target, length)
        assert suffix.shape == (4, length, 5)
        assert torch.equal(join_suffix(neutral, suffix), target)


def test_the_suffixes_of_a_single_image_need_no_batch_dimension(embeddings):
    neutral, target = embeddings[0][0], embeddings[1][0]
    assert torch.equal(join_suffix(neutral, split_suffix(neutral, target, 3)), target)


def test_an_empty_suffix_stands_for_the_neutral_prompt_itself(embeddings):
    neutral, _ = embeddings
    suffix = split_suffix(neutral, neutral, 0)
    assert suffix.shape == (4, 0, 5)
    assert torch.equal(join_suffix(neutral, suffix), neutral)


def test_a_saved_suffix_does_not_drag_the_whole_embedding_along(embeddings):
    suffix = split_suffix(*embeddings, 3)
    assert suffix.untyped_storage().nbytes() == suffix.numel() * suffix.element_size()


def test_joining_does_not_change_the_neutral_embedding(embeddings):
    neutral, target = embeddings
    before = neutral.clone()
    join_suffix(neutral, target[:, -3:]).zero_()
    assert torch.equal(neutral, before)


def test_a_prefix_that_disagrees_is_refused_beyond_the_tolerance(embeddings):
    neutral, target = embeddings
    with pytest.raises(ValueError, match=r"differ by .* raise length \(now 2\) or store"):
        split_suffix(neutral, target, 2)
    noisy = target + 1e-3
    with pytest.raises(ValueError, match=r"differ by 0.001, more than tolerance 0.0001"):
        split_suffix(neutral, noisy, 3)
    assert torch.equal(split_suffix(neutral, noisy, 3, tolerance=2e-3), noisy[:, -3:])
    noisy[0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="differ by nan"):
        split_suffix(neutral, noisy, 3, tolerance=2e-3)


def test_a_mask_of_none_means_that_every_token_is_valid():
    mask = to_bool_mask(None, 2, 3, CPU)
    assert torch.equal(mask, torch.ones(2, 3, dtype=torch.bool))


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_masks_of_any_type_become_bool_with_the_same_tokens(dtype):
    rows = [[True, True, False], [True, False, False]]
    mask = to_bool_mask(torch.tensor(rows).to(dtype), 2, 3, CPU)
    assert mask.dtype == torch.bool
    assert mask.tolist() == rows


def test_additive_and_misshapen_masks_are_refused():
    additive = torch.tensor([[0.0, float("-inf")]])
    with pytest.raises(ValueError, match="values other than 0 and 1"):
        to_bool_mask(additive, 1, 2, CPU)
    with pytest.raises(ValueError, match=r"mask has shape \(1, 2\): .* \(1, 3\)"):
        to_bool_mask(torch.ones(1, 2), 1, 3, CPU)


def test_wrong_shapes_are_refused(embeddings):
    neutral, target = embeddings
    with pytest.raises(ValueError, match=r"target has shape \(4, 8, 5\) and neutral \(4, 9, 5\)"):
        interpolate_text(neutral, target[:, 1:], torch.zeros(4))
    with pytest.raises(ValueError, match=r"strength has shape \(1,\) for a batch of 4"):
        interpolate_text(neutral, target, torch.zeros(1))
    with pytest.raises(ValueError, match=r"stack the targets along a new dimension 1"):
        blend_text(neutral, target, torch.zeros(4, 1))
    with pytest.raises(ValueError, match=r"weights has shape \(4, 2\) .* shape \(4, 1\)"):
        blend_text(neutral, target.unsqueeze(1), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="token_ids is empty"):
        shared_prefix_length([])
    with pytest.raises(ValueError, match="only the number of tokens may differ"):
        join_suffix(neutral, target[:2, -3:])
    with pytest.raises(ValueError, match="the suffix has to be the shorter one"):
        join_suffix(neutral[:, :2], target[:, -3:])
    with pytest.raises(ValueError, match="unequal numbers of tokens, so store this target whole"):
        split_suffix(neutral, target[:, 1:], 3)
    with pytest.raises(ValueError, match="length is 10 for 9 tokens: choose 0 to 9"):
        split_suffix(neutral, target, 10)


def test_aligned_suffixes_of_one_length_are_as_they_were(generator):
    suffixes = torch.randn(3, 4, 2, generator=generator)
    assert torch.equal(align_suffixes(torch.zeros(2), list(suffixes), tail=2), suffixes)


def test_aligned_suffixes_share_their_tail_and_lose_no_token(generator):
    lengths, tail = (3, 5, 2), 2
    suffixes = [torch.randn(length, 2, generator=generator) for length in lengths]
    before = torch.randn(2, generator=generator)
    aligned = align_suffixes(before, suffixes, tail)
    assert aligned.shape == (3, 5, 2)
    for suffix, row in zip(suffixes, aligned, strict=True):
        word = len(suffix) - tail
        assert torch.equal(row[-tail:], suffix[-tail:])
        assert torch.equal(row[:word], suffix[:word])
        held = suffix[word - 1] if word else before
        assert (row[word:-tail] == held).all()


def test_steered_prompts_are_blends_whose_beginning_is_shared(generator):
    neutral = torch.randn(9, 4, generator=generator)
    suffixes = torch.randn(3, 2, 4, generator=generator)
    weights = torch.tensor([[0.0, 0.0, 0.0], [0.6, 0.4, 0.0], [-1.0, 0.0, 2.0], [0.0, 1.0, 0.0]])
    targets = join_suffix(neutral.expand(3, -1, -1), suffixes).expand(4, -1, -1, -1)
    steered = steer_text(neutral, suffixes, weights)
    blended = blend_text(neutral.expand(4, -1, -1), targets, weights)
    torch.testing.assert_close(steered, blended, atol=1e-5, rtol=1e-5)
    assert torch.equal(steered[0], neutral)
    assert torch.equal(steered[3], targets[3, 1])
    assert torch.equal(steered[:, :7], neutral[:7].expand(4, -1, -1))
