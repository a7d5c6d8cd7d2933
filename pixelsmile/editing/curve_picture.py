"""Draw the twelve curves of a calibration."""

import io
from collections.abc import Sequence

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot

from pixelsmile.editing.calibration import Calibration
from pixelsmile.expressions import EXPRESSIONS

_FITTED, _PERSON = "#c2410c", "#94a3b8"


def curves_png(calibration: Calibration, strengths: Sequence[float], scores: np.ndarray) -> bytes:
    """Return a PNG: every person's readings in grey, the fitted curve above them.

    Args:
        calibration: With the fitted curves.
        strengths: (S,), that were measured.
        scores: (N, 12, S), what the judge reads of each person.
    """
    figure, axes = pyplot.subplots(3, 4, figsize=(11, 7.5), sharex=True, sharey=True)
    for row, (name, axis) in enumerate(zip(EXPRESSIONS, axes.flat, strict=True)):
        axis.plot(strengths, scores[:, row].T, color=_PERSON, linewidth=0.7, alpha=0.6)
        curve = calibration.curves[name]
        low, high = curve.reach
        fitted = low + (high - low) * np.array(curve.shares)
        axis.plot(curve.strengths, fitted, color=_FITTED, linewidth=2.2)
        axis.set_title(name, fontsize=11)
        axis.grid(alpha=0.25)
        axis.set_ylim(-0.02, 1.02)
        axis.set_xlim(0, strengths[-1])
    for axis in axes[-1]:
        axis.set_xlabel("strength")
    for axis in axes[:, 0]:
        axis.set_ylabel("judge reads")
    figure.suptitle(f"{len(scores)} people in grey, the calibration in red", fontsize=12)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110)
    pyplot.close(figure)
    return buffer.getvalue()
