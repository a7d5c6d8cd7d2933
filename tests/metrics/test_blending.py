import pytest
import torch

from pixelsmile.expressions import BASIC, BASIC_PAIRS, EXPRESSIONS
from pixelsmile.metrics.functional import both_strongest


def reference(score, requested):
    """Sort the names of one image by score and compare the two first with those asked for."""
    order = sorted(range(len(score)), key=lambda k: -score[k])
    return set(order[:2]) == set(requested)


def test_verdict_is_that_of_sorting_each_image_by_itself(generator):
    score = torch.rand(300, 12, generator=generator)
    best = score.topk(2).indices.flip(1)
    other = torch.stack([torch.randperm(12, generator=generator)[:2] for _ in range(300)])
    requested = torch.where(torch.arange(300)[:, None] % 2 == 0, best, other)
    expected = [reference(*row) for row in zip(score.tolist(), requested.tolist(), strict=True)]
    assert both_strongest(score, requested).tolist() == expected
    assert 140 < sum(expected) < 170  # both verdicts are there


def test_order_of_the_two_does_not_matter(generator):
    score = torch.rand(50, 5, generator=generator)
    requested = torch.stack([torch.randperm(5, generator=generator)[:2] for _ in range(50)])
    first, second = both_strongest(score, requested), both_strongest(score, requested.flip(1))
    assert first.tolist() == second.tolist()


def test_tie_with_a_third_expression_is_a_failure():
    score = torch.tensor([[0.5, 0.9, 0.5]])
    assert both_strongest(score, torch.tensor([[0, 1]])).tolist() == [False]


def test_one_dominant_expression_is_a_blend_if_the_other_is_second():
    score = torch.tensor([[0.02, 0.99, 0.01]])
    assert both_strongest(score, torch.tensor([[0, 1]])).tolist() == [True]


def test_scores_are_left_as_they_were(generator):
    score = torch.rand(4, 5, generator=generator)
    before = score.clone()
    both_strongest(score, torch.tensor([[0, 1]] * 4))
    assert torch.equal(score, before)


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        ([[0, 0]], r"\[0, 0\]: a blend has two different"),
        ([[0, 3]], "holds 3, outside 0 to 2"),
        ([[0, 1, 2]], r"\(1, 3\) for 1 images"),
        ([[0, 1], [1, 2]], r"\(2, 2\) for 1 images"),
        ([0, 1], r"give \(B, 2\)"),
    ],
)
def test_impossible_requests_are_refused(requested, message):
    with pytest.raises(ValueError, match=message):
        both_strongest(torch.rand(1, 3), torch.tensor(requested))


def test_nan_is_refused():
    with pytest.raises(ValueError, match="1 values that are not finite"):
        both_strongest(torch.tensor([[0.1, float("nan"), 0.2]]), torch.tensor([[0, 1]]))


def test_the_fifteen_pairs_are_all_pairs_of_the_basic_six():
    assert len(BASIC_PAIRS) == 15
    assert len({frozenset(pair) for pair in BASIC_PAIRS}) == 15
    assert {name for pair in BASIC_PAIRS for name in pair} == set(BASIC) < set(EXPRESSIONS)
