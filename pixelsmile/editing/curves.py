"""Monotone curves: what a judge reads at each strength, and the strength for what it should read.

Shapes: N people, S strengths. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import isotonic_regression

from pixelsmile.errors import UserError

LEAST_RISE = 0.02
"""A judged rise below this, over the whole slider, is no curve to invert."""

_HALVINGS = 50  # of the strengths, until the last bit


@dataclass(frozen=True)
class Curve:
    """Judged score against strength, never falling: PCHIP through isotonic knots.

    Attributes:
        strengths: Of the knots, increasing, the first is 0.
        scores: The judge's score at each, in [0, 1], never falling.
    """

    strengths: tuple[float, ...]
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the knots, which come from a file.

        Raises:
            ValueError: If they are no monotone curve from 0 on.
        """
        steps, rises = np.diff(self.strengths), np.diff(self.scores)
        if len(self.strengths) != len(self.scores) or len(self.strengths) < 2:
            raise ValueError("a curve needs two knots or more, each with strength and score")
        if not np.isfinite([*self.strengths, *self.scores]).all():
            raise ValueError("the knots of a curve must be finite")
        if self.strengths[0] != 0 or (steps <= 0).any() or (rises < 0).any():
            raise ValueError("strengths must increase from 0, and scores must not fall")

    @property
    def reach(self) -> tuple[float, float]:
        """What the judge reads at strength 0 and at the top of the slider."""
        return self.scores[0], self.scores[-1]

    @property
    def rise(self) -> float:
        """How much more the judge reads at the top than at 0."""
        return self.scores[-1] - self.scores[0]

    def score(self, strength: float) -> float:
        """Return what the judge reads at a strength within the slider."""
        return float(self._interpolator(strength))

    def strength(self, perceived: float) -> float:
        """Return the least strength at which the judge reads that share of the rise.

        Args:
            perceived: In [0, 1]: 0 is what the judge reads at strength 0, 1 the top.

        Raises:
            UserError: If it lies outside, or the curve does not rise.

        Example:
            >>> Curve((0.0, 0.5, 1.0), (0.0, 0.4, 0.4)).strength(1.0)
            0.5
        """
        if not 0 <= perceived <= 1:  # also refuses nan
            raise UserError(
                f"perceived={perceived:g}: give 0 (nothing) to 1 (as much as the judge was seen to "
                f"read, at strength {self.strengths[-1]:g}); for more, say strength= instead."
            )
        if self.rise < LEAST_RISE:
            raise UserError(
                f"The judge reads {self.scores[0]:.3f} at strength 0 and {self.scores[-1]:.3f} at "
                f"{self.strengths[-1]:g}, which is no rise to share out: say strength= instead."
            )
        wanted = self.scores[0] + perceived * self.rise
        low, high = 0.0, self.strengths[self.scores.index(self.scores[-1])]
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            if self.score(middle) < wanted:
                low = middle
            else:
                high = middle
        return high if perceived > 0 else 0.0

    @cached_property
    def _interpolator(self) -> PchipInterpolator:
        return PchipInterpolator(self.strengths, self.scores)


def fit_curve(strengths: Sequence[float], scores: np.ndarray) -> Curve:
    """Return the monotone curve nearest to the mean of several people's, in least squares.

    Args:
        strengths: (S,), increasing from 0.
        scores: (N, S), what the judge reads.

    Raises:
        ValueError: If the shapes do not fit.
    """
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 2 or scores.shape[1] != len(strengths) or not len(scores):
        raise ValueError(
            f"scores has shape {scores.shape}: give (people, {len(strengths)}), one row or more."
        )
    fitted = isotonic_regression(scores.mean(axis=0)).x
    return Curve(tuple(map(float, strengths)), tuple(map(float, fitted)))
