import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import cosine

from pixelsmile.metrics import IdentitySimilarity
from pixelsmile.metrics.functional import identity_similarity, recogniser_similarity


def draw(recognisers, rows, seed=14):
    generator = torch.Generator().manual_seed(seed)
    source = torch.randn(recognisers, rows, 16, generator=generator) * 5
    return source, source + 4 * torch.randn(source.shape, generator=generator)


def reference(source, edited):
    """Cosines, (M, B), by scipy."""
    return np.array(
        [
            [1 - cosine(s.double(), e.double()) for s, e in zip(*rows, strict=True)]
            for rows in zip(source, edited, strict=True)
        ]
    )


@pytest.mark.parametrize("recognisers", [1, 3, 8])
def test_similarity_is_the_mean_cosine_over_recognisers_and_images(recognisers):
    source, edited = draw(recognisers, 40)
    expected = reference(source, edited)
    value = recogniser_similarity(source, edited)
    np.testing.assert_allclose(value.numpy(), expected, atol=1e-6)
    value = identity_similarity(source, edited)
    np.testing.assert_allclose(value.numpy(), expected.mean(axis=0), atol=1e-6)
    metric = IdentitySimilarity()
    metric.update(source, edited)
    assert metric.compute().item() == pytest.approx(expected.mean(), rel=1e-6)
    np.testing.assert_allclose(metric.per_recogniser().numpy(), expected.mean(axis=1), atol=1e-6)
    assert metric.num_samples == 40


def test_similarity_is_1_for_the_same_face_and_minus_1_for_the_opposite():
    source, _ = draw(3, 5)
    torch.testing.assert_close(identity_similarity(source, source), torch.ones(5))
    torch.testing.assert_close(identity_similarity(source, -3 * source), -torch.ones(5))


def test_padding_shorter_embeddings_with_zeros_changes_nothing():
    source, edited = draw(3, 10)
    padded = [torch.nn.functional.pad(x, (0, 9)) for x in (source, edited)]
    torch.testing.assert_close(identity_similarity(*padded), identity_similarity(source, edited))


def test_bf16_embeddings_are_compared_in_full_precision():
    source, edited = (x.bfloat16() for x in draw(3, 10))
    value = identity_similarity(source, edited)
    assert value.dtype == torch.float32
    np.testing.assert_allclose(value, reference(source, edited).mean(axis=0), atol=1e-6)


def test_a_face_without_any_activation_has_similarity_0():
    source, edited = draw(2, 3)
    edited[:, 1] = 0
    assert identity_similarity(source, edited)[1] == 0


def test_the_interval_is_that_of_a_mean_over_images():
    source, edited = draw(3, 50)
    metric = IdentitySimilarity()
    metric.update(source, edited)
    values = reference(source, edited).mean(axis=0)
    expected = stats.norm.interval(0.95, loc=values.mean(), scale=stats.sem(values))
    assert metric.interval() == pytest.approx(expected, rel=1e-6)


def test_the_result_does_not_depend_on_the_batches_or_on_merging():
    source, edited = draw(3, 101)
    whole, left, right = (IdentitySimilarity() for _ in range(3))
    whole.update(source, edited)
    for part in torch.arange(101).split([50, 0, 1, 50]):
        (left if len(part) == 50 else right).update(source[:, part], edited[:, part])
    left.compute()
    left.merge_state(right)
    torch.testing.assert_close(left.compute(), whole.compute(), rtol=1e-7, atol=0)
    torch.testing.assert_close(left.per_recogniser(), whole.per_recogniser(), rtol=1e-6, atol=0)
    assert left.interval() == pytest.approx(whole.interval(), rel=1e-12)


def test_without_rows_the_result_is_nan_and_there_is_no_recogniser():
    metric = IdentitySimilarity()
    metric.update(torch.empty(3, 0, 4), torch.empty(3, 0, 4))
    assert math.isnan(metric.compute())
    assert metric.per_recogniser().shape == (0,)


def test_impossible_embeddings_are_refused():
    source, edited = draw(3, 4)
    metric = IdentitySimilarity()
    metric.update(source, edited)
    with pytest.raises(
        ValueError, match="source holds 2 recognisers after 3 before: give the same"
    ):
        metric.update(source[:2], edited[:2])
    with pytest.raises(ValueError, match=r"source holds 9 recognisers .* at most 8"):
        IdentitySimilarity().update(*draw(9, 2))
    with pytest.raises(ValueError, match=r"edited has shape \(3, 1, 16\) and source \(3, 4, 16\)"):
        metric.update(source, edited[:, :1])
    with pytest.raises(ValueError, match=r"source has shape \(4, 16\): give \(M, B, D\)"):
        metric.update(source[0], edited[0])
    with pytest.raises(ValueError, match="source holds no recogniser"):
        metric.update(source[:0], edited[:0])
    edited[0, 0, 0] = torch.inf
    with pytest.raises(ValueError, match="edited holds 1 values that are not finite, of 192"):
        metric.update(source, edited)
