"""The formulas of FFE-Bench as pure functions; the classes of `pixelsmile.metrics` hold the sums.

`both_strongest`, `harmonic_editing_score`, `control_linearity_score` and `identity_similarity`
return one value per image or curve, because a table of results needs those; the others return a
rate.
"""

from pixelsmile.metrics.functional.accuracy import expression_accuracy
from pixelsmile.metrics.functional.blending import both_strongest
from pixelsmile.metrics.functional.confusion import (
    confusion_table,
    mean_structural_confusion_rate,
)
from pixelsmile.metrics.functional.editing import harmonic_editing_score
from pixelsmile.metrics.functional.identity import identity_similarity, recogniser_similarity
from pixelsmile.metrics.functional.linearity import constant_curves, control_linearity_score

__all__ = [
    "both_strongest",
    "confusion_table",
    "constant_curves",
    "control_linearity_score",
    "expression_accuracy",
    "harmonic_editing_score",
    "identity_similarity",
    "mean_structural_confusion_rate",
    "recogniser_similarity",
]
