"""Expression editing accuracy (paper Sec. 3.2)."""

from collections.abc import Sequence
from numbers import Integral

import torch
from torch import Tensor

from pixelsmile.metrics.functional.checks import check_indices, check_same_shape


def expression_accuracy(
    predicted: Tensor,
    requested: Tensor,
    expressions: Sequence[int] | None = None,
    num_expressions: int = 12,
) -> Tensor:
    """Share of images whose dominant expression is the one asked for, (), float64, in [0, 1].

    The dominant expression is the argmax over all K scores, also for a subset: Acc-6 counts the
    images *requested* to show one of the six, and an image seen as one of the other six is wrong.

    Args:
        predicted: Index of the dominant expression, (B,), integer in [0, K).
        requested: Index of the expression asked for, (B,), integer in [0, K).
        expressions: Indices of the requests that count; None counts all.
        num_expressions: K.

    Returns:
        The accuracy; nan where no row counts.

    Raises:
        ValueError: If the shapes differ or an index is not an integer in range.

    Example:
        >>> predicted, requested = torch.tensor([0, 2, 2]), torch.tensor([0, 1, 2])
        >>> expression_accuracy(predicted, requested, expressions=[0, 1]).item()
        0.5
    """
    correct, counted = accuracy_counts(predicted, requested, expressions, num_expressions)
    return correct.double() / counted


def accuracy_counts(
    predicted: Tensor,
    requested: Tensor,
    expressions: Sequence[int] | None,
    num_expressions: int,
) -> tuple[Tensor, Tensor]:
    """Return how many rows are right and how many count, both (), int64.

    Raises:
        ValueError: As `expression_accuracy`.
    """
    check_same_shape("predicted", predicted, "requested", requested)
    check_indices("predicted", predicted, num_expressions)
    check_indices("requested", requested, num_expressions)
    counts = torch.ones_like(requested, dtype=torch.bool)
    if expressions is not None:
        check_subset(expressions, num_expressions)
        subset = torch.tensor(expressions, dtype=torch.int64, device=requested.device)
        counts = torch.isin(requested, subset)
    return ((predicted == requested) & counts).sum(), counts.sum()


def check_subset(expressions: Sequence[int], num_expressions: int) -> None:
    """Refuse an empty subset and indices out of range.

    Raises:
        ValueError: Naming the offending index.
    """
    if len(expressions) == 0:
        raise ValueError("expressions is empty: give the indices that count, or None for all.")
    for index in expressions:
        if not isinstance(index, Integral):
            raise ValueError(f"expressions holds {index!r}: give indices, see expressions.index.")
        if not 0 <= index < num_expressions:
            raise ValueError(
                f"expressions holds {index}, outside 0 to {num_expressions - 1}: use "
                "expressions.index or raise num_expressions."
            )
