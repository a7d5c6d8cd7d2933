"""What the app shows: a picture with its reading, and the results that a session collects."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor

from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.models.detectors import Points

Weights = tuple[float, ...]
"""One strength per expression, (12,), any sign, in the order of `EXPRESSIONS`."""

NEUTRAL_WEIGHTS: Weights = (0.0,) * len(EXPRESSIONS)


@dataclass(frozen=True)
class Reading:
    """What judge and recognisers say about one picture.

    Attributes:
        scores: (12,), in [0, 1], in the order of `EXPRESSIONS`.
        identity: Mean cosine with the source over the recognisers, in [-1, 1]; None where the
            source shows no face that they could compare.
    """

    scores: tuple[float, ...]
    identity: float | None


@dataclass(frozen=True)
class Face:
    """A source that was opened: everything that is computed once per image.

    Attributes:
        name: For people: the file's name or that of the example.
        domain: `human` or `anime`.
        original: The picture as it came, RGB.
        image: What the editor sees of it, at the size of the edits.
        source: The editor's encoding of that.
        landmarks: (5, 2) in pixels of `image`, or None.
        given: Points in pixels of `original` that came with it; otherwise a detector of the domain
            looks for them.
        embeddings: (M, 1, D) of the recognisers, or None.
        note: A sentence about what could not be done, or empty.
        reading: Of the source itself, or None without a scorer.
    """

    name: str
    domain: str
    original: Image.Image
    image: Image.Image
    source: Any
    landmarks: Tensor | None = None
    given: Points | None = None
    embeddings: Tensor | None = None
    note: str = ""
    reading: Reading | None = None


@dataclass(frozen=True)
class Settings:
    """All that a render depends on beside the face.

    Attributes:
        weights: (12,), the mix that the sliders show.
        seed: Of the noise.
        speed: `exact` or `fast`.
        perceived: Whether the weights are intensities that a judge would read, and not strengths.
    """

    weights: Weights = NEUTRAL_WEIGHTS
    seed: int = 0
    speed: str = "exact"
    perceived: bool = False


@dataclass(frozen=True)
class Picture:
    """One edited image.

    Attributes:
        image: RGB.
        weights: (12,), the mix that was asked for.
        label: A word or number for below the picture.
        strengths: (12,), what the editor was given; others than `weights` where those are
            perceived intensities.
        reading: None without a scorer.
    """

    image: Image.Image
    weights: Weights
    label: str
    strengths: Weights
    reading: Reading | None = None


@dataclass(frozen=True)
class Result:
    """One render: a blend is one picture, a strip some strengths, a grid all twelve.

    Attributes:
        number: Of the result in its session, from 1.
        kind: `blend`, `strip` or `grid`.
        model: What rendered it, see `pixelsmile.studio.engine.Engine.model`.
    """

    number: int
    kind: str
    face: Face
    settings: Settings
    pictures: tuple[Picture, ...]
    model: dict[str, Any]


def describe(weights: Sequence[float]) -> str:
    """Name a mix, the strongest part first.

    Example:
        >>> from pixelsmile.studio.mixes import weights_of
        >>> describe(weights_of({"surprised": 0.4, "happy": 0.6}))
        'happy 0.60 + surprised 0.40'
        >>> describe(weights_of({"sad": -0.5}))
        'sad -0.50'
        >>> describe(weights_of({}))
        'neutral'
    """
    parts = sorted(zip(EXPRESSIONS, weights, strict=True), key=lambda part: -abs(part[1]))
    named = [f"{name} {weight:.2f}" for name, weight in parts if weight]
    return " + ".join(named) or "neutral"
