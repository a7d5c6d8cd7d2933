"""Structural confusion between expression pairs (paper Sec. 3.2, Eqs. 1 and 2)."""

from collections.abc import Sequence
from numbers import Integral

import torch
from torch import Tensor

from pixelsmile.metrics.functional.checks import check_indices, check_same_shape

Pairs = Sequence[tuple[int, int]]


def confusion_table(requested: Tensor, predicted: Tensor, num_expressions: int) -> Tensor:
    """Count requests against predictions, (K, K), int64: row requested, column predicted.

    Args:
        requested: Index of the expression asked for, (B,), integer in [0, K).
        predicted: Index of the dominant expression seen, (B,), integer in [0, K).
        num_expressions: K.

    Raises:
        ValueError: If the shapes differ or an index is not an integer in range.

    Example:
        >>> confusion_table(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), num_expressions=2)
        tensor([[1, 1],
                [0, 1]])
    """
    check_same_shape("predicted", predicted, "requested", requested)
    check_indices("requested", requested, num_expressions)
    check_indices("predicted", predicted, num_expressions)
    cell = requested.long() * num_expressions + predicted.long()
    counts = torch.zeros(num_expressions**2, dtype=torch.int64, device=cell.device)
    # not bincount, which has no deterministic form on CUDA
    counts.scatter_add_(0, cell, torch.ones_like(cell))
    return counts.view(num_expressions, num_expressions)


def mean_structural_confusion_rate(counts: Tensor, pairs: Pairs) -> Tensor:
    """Average the bidirectional confusion rates of the pairs, (), float64, in [0, 1].

    Eq. 1: C_ij is the share of the images edited toward i whose dominant expression is j.
    Eq. 2: BCR(i, j) = (C_ij + C_ji) / 2. Lower is better; near 0.5 a model collapses the pair onto
    one of the two. An expression that was never requested makes the result nan, not 0, because 0
    is the perfect score.

    Args:
        counts: Table of `confusion_table`, (K, K), summed over everything that counts.
        pairs: Index pairs; each averages with the same weight, however many images it has.

    Raises:
        ValueError: If counts is not square, or a pair is out of range, a repetition or an
            expression with itself.

    Example:
        >>> counts = torch.tensor([[3, 1], [2, 2]])
        >>> mean_structural_confusion_rate(counts, [(0, 1)]).item()
        0.375
    """
    if counts.dim() != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(
            f"counts has shape {tuple(counts.shape)}: give the square table of confusion_table."
        )
    check_pairs(pairs, counts.shape[0])
    first, second = torch.tensor(pairs, device=counts.device).unbind(-1)
    table = counts.double()
    requests = table.sum(dim=1)
    forth = table[first, second] / requests[first]  # 0 / 0 is nan, as it should be
    back = table[second, first] / requests[second]
    return ((forth + back) / 2).mean()


def check_pairs(pairs: Pairs, num_expressions: int) -> None:
    """Refuse pairs over which no mean exists or that would count twice.

    Raises:
        ValueError: Naming the offending pair.
    """
    if not pairs:
        raise ValueError("pairs is empty: give one index pair or more, such as [(5, 10)].")
    seen = set()
    for first, second in pairs:
        if not (isinstance(first, Integral) and isinstance(second, Integral)):
            raise ValueError(
                f"pairs holds ({first!r}, {second!r}): give indices, see expressions.pair_indices."
            )
        if not (0 <= first < num_expressions and 0 <= second < num_expressions):
            raise ValueError(
                f"pairs holds ({first}, {second}), outside 0 to {num_expressions - 1}: use "
                "expressions.pair_indices or raise num_expressions."
            )
        if first == second:
            raise ValueError(f"pairs holds ({first}, {second}): name two different expressions.")
        if frozenset((first, second)) in seen:
            raise ValueError(f"pairs holds ({first}, {second}) twice: give each pair once.")
        seen.add(frozenset((first, second)))
