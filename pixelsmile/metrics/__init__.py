"""The metrics of FFE-Bench; tensors in, tensors out, exact over batches and devices.

Every metric has `num_samples` and `interval(confidence)`: no number is shown without them.
"""

from pixelsmile.metrics.accuracy import ExpressionAccuracy
from pixelsmile.metrics.confusion import MeanStructuralConfusionRate
from pixelsmile.metrics.editing import HarmonicEditingScore
from pixelsmile.metrics.identity import IdentitySimilarity
from pixelsmile.metrics.linearity import ControlLinearityScore

__all__ = [
    "ControlLinearityScore",
    "ExpressionAccuracy",
    "HarmonicEditingScore",
    "IdentitySimilarity",
    "MeanStructuralConfusionRate",
]
