"""Strengths by name as the numbers that an editor renders."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pixelsmile.expressions import EXPRESSIONS, NEUTRAL, canonical, index


def weights_of(strengths: Mapping[str, float]) -> Tensor:
    """Return strengths by name as a row for `render`, (12,).

    `neutral` is allowed and changes nothing.

    Raises:
        UserError: If a name is unknown.

    Example:
        >>> weights_of({"happy": 0.6, "Surprise": 0.4}).nonzero().flatten()
        tensor([ 6, 10])
    """
    row = torch.zeros(len(EXPRESSIONS))
    for name, strength in strengths.items():
        if canonical(name) != NEUTRAL:
            row[index(name)] += float(strength)
    return row
