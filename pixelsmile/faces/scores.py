"""Exact expression scores of a rendered mix, with the overlap that real faces have."""

import numpy as np

from pixelsmile.expressions import EXPRESSIONS, index
from pixelsmile.faces.base import Mix

MAX_STRENGTH = 1.5

_OVERLAP = {
    ("fear", "surprised"): 0.50,
    ("angry", "disgust"): 0.45,
    ("sad", "anxious"): 0.40,
    ("happy", "confident"): 0.40,
    ("contempt", "confident"): 0.35,
    ("fear", "anxious"): 0.40,
    ("contempt", "disgust"): 0.25,
    ("happy", "shy"): 0.25,
    ("shy", "anxious"): 0.25,
    ("confused", "anxious"): 0.30,
    ("confused", "contempt"): 0.10,
    ("sad", "sleepy"): 0.20,
    ("angry", "contempt"): 0.15,
    ("happy", "surprised"): 0.10,
}
"""How much of the second reads in a full-strength image of the first, and the other way round."""


def _overlap_matrix() -> np.ndarray:
    matrix = np.eye(len(EXPRESSIONS))
    for (first, second), weight in _OVERLAP.items():
        matrix[index(first), index(second)] = matrix[index(second), index(first)] = weight
    return matrix


OVERLAP = _overlap_matrix()
"""(12, 12), symmetric, unit diagonal: row i holds the scores of expression i at strength 1."""


def check_mix(mix: Mix) -> dict[str, float]:
    """Return the mix with canonical names.

    Raises:
        ValueError: If a name is unknown or a strength lies outside [0, 1.5] or is not finite.
    """
    checked: dict[str, float] = {}
    for name, strength in mix.items():
        if not 0.0 <= strength <= MAX_STRENGTH:
            raise ValueError(
                f"Strength {strength} of {name!r} lies outside 0 to {MAX_STRENGTH}: "
                "give a finite number in that range."
            )
        word = EXPRESSIONS[index(name)]
        checked[word] = checked.get(word, 0.0) + float(strength)
    return checked


def scores(mix: Mix) -> np.ndarray:
    """Return the twelve scores of a mix, (12,), in [0, 1].

    Scores add up over the parts of a mix and saturate at 1, so a single expression at strength s
    up to 1 scores exactly s on itself and `OVERLAP` times s on its neighbours.

    Example:
        >>> row = scores({"fear": 0.8})
        >>> float(row[index("fear")]), float(row[index("surprised")])
        (0.8, 0.4)
    """
    total = np.zeros(len(EXPRESSIONS))
    for name, strength in check_mix(mix).items():
        total += strength * OVERLAP[index(name)]
    return np.clip(total, 0.0, 1.0)
