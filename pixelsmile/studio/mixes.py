"""Which pictures belong to a strip and to a grid: rows of weights, pure.

Shapes: N pictures, 12 expressions.
"""

import math
from collections.abc import Mapping, Sequence

from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS, index
from pixelsmile.studio.results import Weights

LOWEST, HIGHEST = -1.0, 2.0
"""Strengths that the sliders may reach."""


def weights_of(mix: Mapping[str, float]) -> Weights:
    """Return the weights, (12,), of a mix of names and strengths.

    Raises:
        UserError: If a name is unknown.
    """
    weights = [0.0] * len(EXPRESSIONS)
    for name, strength in mix.items():
        weights[index(name)] = float(strength)
    return tuple(weights)


def check_weights(values: Sequence[float | None]) -> Weights:
    """Return what the sliders send as weights, (12,).

    Raises:
        UserError: If there are not twelve finite numbers in [-1, 2].
    """
    if len(values) != len(EXPRESSIONS):
        raise UserError(f"{len(values)} strengths were sent: send {len(EXPRESSIONS)}.")
    weights = []
    for name, value in zip(EXPRESSIONS, values, strict=True):
        if value is None or not math.isfinite(value) or not LOWEST <= value <= HIGHEST:
            raise UserError(
                f"The strength of {name} is {value}: choose a number between {LOWEST:g} and "
                f"{HIGHEST:g}."
            )
        weights.append(float(value))
    return tuple(weights)


def strip(weights: Weights, count: int) -> tuple[list[float], list[Weights]]:
    """Return shares of a mix from 0 to 1 and the rows of weights that they stand for.

    Example:
        >>> shares, rows = strip(weights_of({"happy": 0.8}), 3)
        >>> shares, [row[index("happy")] for row in rows]
        ([0.0, 0.5, 1.0], [0.0, 0.4, 0.8])
    """
    shares = [step / (count - 1) for step in range(count)]
    return shares, [tuple(share * weight for weight in weights) for share in shares]


def grid(strength: float) -> list[Weights]:
    """Return one row an expression, each at this strength alone.

    Raises:
        UserError: If the strength is no number in [-1, 2].
    """
    check_weights([strength] * len(EXPRESSIONS))
    return [weights_of({name: strength}) for name in EXPRESSIONS]
