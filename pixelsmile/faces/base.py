"""What a face generator is: identity by seed, expression by weights, exact labels.

Seeds from `RESERVED_SEED` up are kept for evaluation: no training set and no tiny weight has seen
them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

RESERVED_SEED = 9000
"""First seed that is reserved for evaluation."""

CALIBRATION_SEED = 9100
"""First of the reserved seeds that sliders are calibrated on, not evaluated."""

Mix = Mapping[str, float]
"""Expression name to strength, 0 to 1.5; the empty mix is the neutral face."""


@dataclass(frozen=True)
class Face:
    """One rendered face with its exact labels.

    Attributes:
        image: (size, size, 3), uint8, RGB.
        box: Face box x0, y0, x1, y1 in pixels.
        landmarks: (5, 2) in pixels, in ArcFace order: eye, eye, nose tip, mouth corner, mouth
            corner; of each pair the one on the left of the image first.
        scores: (12,), in [0, 1], in the order of `EXPRESSIONS`.
        actions: Weight of every facial action that was applied.
    """

    image: np.ndarray
    box: tuple[float, float, float, float]
    landmarks: np.ndarray
    scores: np.ndarray
    actions: dict[str, float]


class FaceGenerator(Protocol):
    """Draws the faces of one domain; the same arguments always give the same bytes."""

    domain: str

    def render(self, seed: int, mix: Mix, *, size: int = 128) -> Face:
        """Draw one identity with a weighted mix of expressions."""
        ...

    def render_actions(self, seed: int, actions: Mapping[str, float], *, size: int = 128) -> Face:
        """Draw one identity with facial actions set by hand; all scores are 0."""
        ...
