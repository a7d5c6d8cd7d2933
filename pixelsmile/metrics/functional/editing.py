"""Harmonic editing score: expression and identity at once (paper Sec. 3.2, Eq. 3)."""

import torch
from torch import Tensor

from pixelsmile.metrics.functional.checks import check_dims, check_range, check_same_shape, wide


def harmonic_editing_score(expression_score: Tensor, identity_similarity: Tensor) -> Tensor:
    """Harmonic mean of expression score and identity similarity of each image, (B,), in [0, 1].

    Eq. 3 holds per edited image, and the mean comes after; the harmonic mean of two averages would
    let images that fail one way make up for images that fail the other. A negative cosine counts
    as 0, since a harmonic mean of mixed signs means nothing. Both 0 gives 0.

    Args:
        expression_score: S_E, score of the expression asked for, (B,), in [0, 1].
        identity_similarity: S_ID, cosine of source and edited face averaged over the recognisers,
            see `identity_similarity`, (B,), in [-1, 1].

    Returns:
        One score per image, (B,), float32, or float64 where both inputs are.

    Raises:
        ValueError: If the shapes differ, or a value is nan or out of range.

    Example:
        >>> harmonic_editing_score(torch.tensor([0.5, 0.9]), torch.tensor([0.5, -0.2]))
        tensor([0.5000, 0.0000])
    """
    check_dims("expression_score", expression_score, "(B,)")
    check_same_shape(
        "identity_similarity", identity_similarity, "expression_score", expression_score
    )
    check_range("expression_score", expression_score, 0, 1)
    check_range("identity_similarity", identity_similarity, -1, 1)
    expression = wide(expression_score).clamp(0, 1)
    identity = wide(identity_similarity).clamp(0, 1)
    both = expression + identity
    return torch.where(both > 0, 2 * expression * identity / both.where(both > 0, 1.0), 0.0)
