"""Monotone curves: what a judge reads at each strength, and the strength for what it should read.

docs/calibration.md has what was tried instead, and what it measured.

Shapes: N people, S strengths. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from pixelsmile.errors import UserError

LEAST_RISE = 0.02
"""A judged rise below this, over the whole slider, is nothing to share out."""

SATURATION = 0.95
"""Share of the whole rise at which the slider ends: the rest takes much strength for little."""


@dataclass(frozen=True)
class Curve:
    """One expression: the share of the rise that is read at each strength, lines between knots.

    Attributes:
        strengths: Of the knots, increasing; the first is 0, the last the top of the slider.
        shares: Perceived intensity at each, never falling, from 0 to 1.
        reach: What the judge reads at strength 0 and at the top, means over people, in [0, 1].

    Raises:
        ValueError: If the knots are no such curve.
    """

    strengths: tuple[float, ...]
    shares: tuple[float, ...]
    reach: tuple[float, float]

    def __post_init__(self) -> None:
        """Check the knots, which come from a file."""
        if len(self.strengths) != len(self.shares) or len(self.strengths) < 2:
            raise ValueError("a curve needs two knots or more, each with strength and share")
        if (
            len(self.reach) != 2
            or not np.isfinite([*self.strengths, *self.shares, *self.reach]).all()
        ):
            raise ValueError("knots and reach of a curve must be finite numbers")
        if self.strengths[0] != 0 or (np.diff(self.strengths) <= 0).any():
            raise ValueError("the strengths of a curve must increase from 0")
        if (self.shares[0], self.shares[-1]) != (0, 1) or (np.diff(self.shares) < 0).any():
            raise ValueError("the shares of a curve must rise from 0 to 1")

    @property
    def rises(self) -> bool:
        """Whether the judge reads more at the top than at 0."""
        return self.reach[1] - self.reach[0] >= LEAST_RISE

    @property
    def top(self) -> float:
        """The strength at the top of the slider."""
        return self.strengths[-1]

    def perceived(self, strength: float) -> float:
        """Return the perceived intensity at a strength; beyond the slider that of its end.

        Example:
            >>> Curve((0.0, 0.5, 1.0), (0.0, 0.2, 1.0), (0.1, 0.9)).perceived(0.5)
            0.2
        """
        return float(np.interp(strength, self.strengths, self.shares))

    def strength(self, perceived: float) -> float:
        """Return the least strength with a perceived intensity.

        Args:
            perceived: In [0, 1]: 0 is the face at strength 0, 1 the top of the slider.

        Raises:
            UserError: If it lies outside, or the judge reads no rise.

        Example:
            >>> Curve((0.0, 0.5, 1.0), (0.0, 0.2, 1.0), (0.1, 0.9)).strength(0.6)
            0.75
        """
        if not 0 <= perceived <= 1:  # also refuses nan
            raise UserError(
                f"perceived={perceived:g}: give 0 (nothing) to 1 (what the judge was seen to "
                f"read at strength {self.top:.2f}); for more, say strength= instead."
            )
        if not self.rises:
            raise UserError(
                f"The judge reads {self.reach[0]:.3f} at strength 0 and {self.reach[1]:.3f} at "
                f"{self.top:.2f}, which is no rise to share out: say strength= instead."
            )
        right = int(np.searchsorted(self.shares, perceived))
        if self.shares[right] == perceived:
            return self.strengths[right]
        (x0, x1), (y0, y1) = (row[right - 1 : right + 1] for row in (self.strengths, self.shares))
        return x0 + (x1 - x0) * (perceived - y0) / (y1 - y0)


def fit_curve(
    strengths: Sequence[float], scores: np.ndarray, *, saturation: float = SATURATION
) -> Curve:
    """Return the monotone curve nearest, in least squares, to what several people's edits show.

    Everybody counts alike: a curve of theirs is taken as shares of its own rise before the mean,
    so that faces in which an expression reads strongly do not decide for the others.

    Args:
        strengths: (S,), increasing from 0.
        scores: (N, S), what the judge reads.
        saturation: Share of the whole rise at which the slider ends, in (0, 1].

    Raises:
        ValueError: If the shapes do not fit.
    """
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 2 or scores.shape[1] != len(strengths) or not len(scores):
        raise ValueError(
            f"scores has shape {scores.shape}: give (people, {len(strengths)}), one row or more."
        )
    start = scores[:, :1]
    rise = np.maximum(scores.max(axis=1, keepdims=True) - start, LEAST_RISE)
    shares = isotonic_regression(((scores - start) / rise).clip(0, 1).mean(axis=0)).x
    knots, shares = _cut(np.asarray(strengths, dtype=float), shares - shares[0], saturation)
    high = np.mean([np.interp(knots[-1], strengths, row) for row in scores])
    reach = (float(start.mean()), float(high))
    return Curve(tuple(map(float, knots)), tuple(map(float, shares)), reach)


def _cut(
    strengths: np.ndarray, shares: np.ndarray, saturation: float
) -> tuple[np.ndarray, np.ndarray]:
    """End a curve where a share of its rise is reached, and call that 1.

    One that does not rise stays a straight line, for `Curve.rises` to refuse.
    """
    if shares[-1] <= 0:
        return strengths[[0, -1]], np.array([0.0, 1.0])
    shares = shares / (shares[-1] * saturation)
    end = int(np.searchsorted(shares, 1.0))  # rounding must not push the last one below 1
    end = min(end, len(shares) - 1)
    below, above = shares[end - 1], shares[end]
    part = min((1.0 - below) / (above - below), 1.0)
    top = strengths[end - 1] + part * (strengths[end] - strengths[end - 1])
    return np.append(strengths[:end], top), np.append(shares[:end], 1.0)
