"""Search the strength at which a judge reads a wanted score in one image.

First an even grid over the slider goes to the model as one batch. Wherever the judge's score
crosses the wanted one between two neighbours, the gap is divided again, all gaps in one batch,
until an edit reads right and still shows the same person. Nothing is assumed to be monotone.

Shapes: N pictures, H W image, M recognisers, D embedding.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS, index

TOLERANCE = 0.02
"""How far the judge's score may lie from the wanted one."""

GRID = 9
"""Strengths of the first batch."""

INSIDE = 4
"""Strengths that divide a gap."""

ROUNDS = 3
"""Batches after the first."""

LEAST_GAP = 0.005
"""Strengths nearer to each other make the same picture."""


class Reading(NamedTuple):
    """What was seen in the edit at one strength."""

    strength: float
    score: float  # of the expression, by the judge, in [0, 1]
    identity: float  # mean cosine of the recognisers to the source, in [-1, 1]


class Found(NamedTuple):
    """The edit that was searched for."""

    strength: float
    score: float
    identity: float
    pixels: Tensor  # (3, H, W), in [-1, 1]
    num_renders: int  # pictures that were made on the way
    num_batches: int  # calls of the model


class UnreachableError(UserError):
    """No strength gives what was asked for.

    Args:
        message: Says so, and what can be reached.
        closest: The nearest reading that keeps the identity; None if none does.
    """

    def __init__(self, message: str, closest: Reading | None = None) -> None:
        super().__init__(message)
        self.closest = closest


class _Editor(Protocol):
    def render(self, source: Any, weights: Tensor, *, seed: int, speed: str) -> Tensor: ...


class _Scorer(Protocol):
    def expressions(self, images: Tensor) -> Tensor: ...
    def identities(self, images: Tensor, landmarks: Tensor) -> Tensor: ...


def find_strength(
    editor: _Editor,
    scorer: _Scorer,
    source: object,
    landmarks: Tensor,
    expression: str,
    score: float,
    *,
    min_identity: float = -1.0,
    strength_max: float = 1.5,
    tolerance: float = TOLERANCE,
    seed: int = 0,
    speed: str = "exact",
) -> Found:
    """Return the edit in which the judge reads the wanted score, and which keeps the identity.

    The same arguments give the same result. Of several edits that qualify the one nearest to the
    score wins, of equally near ones the weakest.

    Args:
        editor: An `ExpressionEditor`.
        scorer: A `FaceScorer`: judge and recognisers.
        source: What `editor.encode` returned.
        landmarks: (5, 2), of the source in pixels at the size of the edits.
        expression: Any of its names.
        score: What the judge shall read, in [0, 1].
        min_identity: Least mean cosine of the recognisers between source and edit.
        strength_max: Top of the strengths that are tried, from 0 on.
        tolerance: How far the score may be off.
        seed: Of the noise.
        speed: As in `editor.render`.

    Raises:
        UnreachableError: If no strength does; the sentence says what can be reached.
        UserError: If an argument is out of range or the expression unknown.
    """
    _check(score, min_identity, strength_max, tolerance)
    column = index(expression)
    points = landmarks[None].float()
    reference = scorer.identities(source.image[None], points)  # pyright: ignore
    pictures: dict[float, Tensor] = {}
    batches = 0

    def measure(strengths: Sequence[float]) -> list[Reading]:
        nonlocal batches
        batches += 1
        weights = torch.zeros(len(strengths), len(EXPRESSIONS))
        weights[:, column] = torch.tensor(strengths)
        images = editor.render(source, weights, seed=seed, speed=speed)
        scores = scorer.expressions(images)[:, column]
        embedded = scorer.identities(images, points.expand(len(images), -1, -1))
        cosines = torch.cosine_similarity(reference.expand_as(embedded), embedded, dim=-1).mean(0)
        pictures.update(zip(strengths, images, strict=True))
        return list(map(Reading, strengths, scores.tolist(), cosines.tolist()))

    try:
        best = search(measure, score, min_identity, strength_max, tolerance)
    except UnreachableError as error:
        text = f"{expression} at a judged {score:g} cannot be had in this image: {error}"
        raise UnreachableError(text, error.closest) from None
    return Found(*best, pictures[best.strength], len(pictures), batches)


def search(
    measure: Callable[[Sequence[float]], list[Reading]],
    score: float,
    min_identity: float,
    strength_max: float,
    tolerance: float = TOLERANCE,
) -> Reading:
    """Return the reading nearest to a score among those that keep the identity.

    Args:
        measure: Reads the edits at some strengths, as one batch.
        score: Wanted, in [0, 1].
        min_identity: Least identity.
        strength_max: Strengths go from 0 to this.
        tolerance: Largest distance to `score`.

    Raises:
        UnreachableError: If there is none.
    """
    readings = sorted(measure([strength_max * i / (GRID - 1) for i in range(GRID)]))
    for _ in range(ROUNDS):
        if best := _best(readings, score, min_identity, tolerance):
            return best
        gaps = _gaps(readings, score, min_identity, tolerance)
        inner = [
            left.strength + (right.strength - left.strength) * (i + 1) / (INSIDE + 1)
            for left, right in gaps
            for i in range(INSIDE)
        ]
        if not inner:
            break
        readings = sorted(readings + measure(inner))
    if best := _best(readings, score, min_identity, tolerance):
        return best
    raise _unreachable(readings, score, min_identity, strength_max)


def _best(
    readings: Sequence[Reading], score: float, min_identity: float, tolerance: float
) -> Reading | None:
    """Return the closest reading if it lies within the tolerance."""
    closest = _closest(readings, score, min_identity)
    return closest if closest and abs(closest.score - score) <= tolerance else None


def _gaps(
    readings: Sequence[Reading], score: float, min_identity: float, tolerance: float
) -> list[tuple[Reading, Reading]]:
    """Return the neighbours that may have what is wanted between them.

    These are the ones whose scores span it, as long as one side keeps the identity. Without any,
    they are those around the closest reading that does, for a peak or the bar may lie there.
    """
    pairs = [
        (left, right)
        for left, right in pairwise(readings)
        if max(left.identity, right.identity) >= min_identity
        and right.strength - left.strength > LEAST_GAP
    ]
    spanning = [
        (left, right)
        for left, right in pairs
        if min(left.score, right.score) <= score + tolerance
        and max(left.score, right.score) >= score - tolerance
    ]
    if spanning:
        return spanning
    closest = _closest(readings, score, min_identity)
    return [pair for pair in pairs if closest in pair]


def _closest(readings: Sequence[Reading], score: float, min_identity: float) -> Reading | None:
    """Return the nearest that keeps the identity, the weakest of equally near ones."""
    kept = [reading for reading in readings if reading.identity >= min_identity]
    return min(kept, key=lambda x: (abs(x.score - score), x.strength), default=None)


def _unreachable(
    readings: Sequence[Reading], score: float, min_identity: float, strength_max: float
) -> UnreachableError:
    """Say what can be had instead."""
    low, high = min(x.score for x in readings), max(x.score for x in readings)
    span = f"between strength 0 and {strength_max:g} the judge reads {low:.2f} to {high:.2f}"
    closest = _closest(readings, score, min_identity)
    if closest is None:
        most = max(readings, key=lambda x: x.identity)
        return UnreachableError(
            f"{span}, but no edit keeps an identity of {min_identity:g}; the highest is "
            f"{most.identity:.2f}, at strength {most.strength:.2f}. Lower min_identity."
        )
    kept = all(reading.identity >= min_identity for reading in readings)
    bar = "" if kept else f" with an identity of at least {min_identity:g}"
    way = "Ask for another score" if not bar else "Ask for another score, or lower min_identity"
    return UnreachableError(
        f"{span}; the closest{bar} is {closest.score:.2f}, at strength {closest.strength:.2f} "
        f"(identity {closest.identity:.2f}). {way}.",
        closest,
    )


def _check(score: float, min_identity: float, strength_max: float, tolerance: float) -> None:
    """Refuse what no edit could meet.

    Raises:
        UserError: If a number is out of range.
    """
    if not 0 <= score <= 1:
        raise UserError(f"target.score={score}: the judge's scores lie in 0 to 1.")
    if not -1 <= min_identity <= 1:
        raise UserError(f"target.min_identity={min_identity}: cosines lie in -1 to 1.")
    if not (math.isfinite(strength_max) and strength_max > 0):
        raise UserError(f"strength_max={strength_max}: give a positive number, such as 1.5.")
    if not 0 < tolerance < 1:
        raise UserError(f"tolerance={tolerance}: give a number between 0 and 1, such as 0.02.")
