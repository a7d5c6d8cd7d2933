"""Sums of fractions that come out the same in any order, to the last bit.

A sum of floats depends on the order of its terms, so on batches and processes. Whole numbers do
not: each value is written as two of them, which are summed apart.
"""

import torch
from torch import Tensor

_BITS = 26  # in each part; together the 52 of a float64's fraction
_UNIT = float(2**_BITS)


def to_parts(values: Tensor) -> Tensor:
    """Write values in [-1, 1] as whole numbers: (...) to (..., 2), int64, with steps of 2^-52.

    Sums of up to 2^37 of them do not overflow.

    Example:
        >>> parts = to_parts(torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64))
        >>> f"{from_parts(parts.sum(dim=0)):.15f}"
        '0.600000000000000'
    """
    coarse = (values.double() * _UNIT).round()
    fine = ((values.double() * _UNIT - coarse) * _UNIT).round()
    return torch.stack([coarse, fine], dim=-1).long()


def from_parts(parts: Tensor) -> Tensor:
    """Return the value of (sums of) `to_parts`: (..., 2) to (...), float64."""
    coarse, fine = parts.double().unbind(dim=-1)
    return (coarse + fine / _UNIT) / _UNIT
