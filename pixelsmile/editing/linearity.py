"""Does the judge follow the slider: CLS of every expression, before and after calibration.

Shapes: N people, K expressions, S levels.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.table import Table

from pixelsmile.editing.calibration import Calibration
from pixelsmile.expressions import BASIC, EXPRESSIONS
from pixelsmile.metrics import ControlLinearityScore
from pixelsmile.metrics.functional import control_linearity_score


class Linearity(NamedTuple):
    """CLS of N people's curves."""

    expressions: tuple[float, ...]  # (12,), mean over people
    groups: dict[str, dict[str, float]]  # cls_6 and cls_12: value, low, high, n
    constant: int  # curves that never move and count 0


def linearity(levels: Sequence[float], scores: np.ndarray) -> Linearity:
    """Return the correlation of what was asked for and what the judge reads (paper Sec. 3.2).

    Args:
        levels: (S,), what was asked for.
        scores: (N, 12, S), what the judge reads of the expression asked for.
    """
    read = torch.from_numpy(scores).double()
    asked = torch.tensor(levels, dtype=torch.float64).expand_as(read)
    curves = control_linearity_score(asked.flatten(0, 1), read.flatten(0, 1))
    groups: dict[str, dict[str, float]] = {}
    constant = 0
    for name, members in (("cls_6", BASIC), ("cls_12", EXPRESSIONS)):
        rows = [EXPRESSIONS.index(member) for member in members]
        metric = ControlLinearityScore()
        metric.update(asked[:, rows].flatten(0, 1), read[:, rows].flatten(0, 1))
        low, high = metric.interval()
        groups[name] = {
            "value": float(metric.compute()),
            "low": low,
            "high": high,
            "n": int(metric.num_samples),
        }
        constant = metric.constant
    means = curves.view(len(scores), -1).mean(0)
    return Linearity(tuple(means.tolist()), groups, constant)


def measured_facts(before: Linearity, after: Linearity) -> dict[str, Any]:
    """Return the numbers of both for the file."""
    return {
        name: {"before": before.groups[name], "after": after.groups[name]} for name in before.groups
    }


def linearity_table(calibration: Calibration, before: Linearity, after: Linearity) -> Table:
    """Set CLS with the bare strength beside CLS with perceived intensity."""
    people = int(after.groups["cls_12"]["n"]) // len(EXPRESSIONS)
    table = Table(title=f"CLS before and after, of {people} people it was not calibrated on")
    table.add_column("expression", no_wrap=True)
    for title in ("before", "after", "judge reads", "50 % at", "100 % at", "n"):
        table.add_column(title, justify="right", no_wrap=True)
    for row, name in enumerate(EXPRESSIONS):
        curve = calibration.curves[name]
        half = f"{curve.strength(0.5):.2f}" if curve.rises else "no rise"
        table.add_row(
            name,
            f"{before.expressions[row]:.3f}",
            f"{after.expressions[row]:.3f}",
            f"{curve.reach[0]:.2f} to {curve.reach[1]:.2f}",
            half,
            f"{curve.top:.2f}",
            str(people),
        )
    table.add_section()
    lines = []
    for key, title in (("cls_6", "CLS-6, basic"), ("cls_12", "CLS-12, all")):
        first, second = before.groups[key], after.groups[key]
        values = [f"{one['value']:.3f}" for one in (first, second)]
        table.add_row(title, *values, "", "", "", f"{second['n']:.0f}")
        lines.append(f"{title}: {_interval(first)} before, {_interval(second)} after (95 %).")
    if after.constant:
        lines.append(f"{after.constant} curves never move and count 0.")
    table.caption = "\n".join(lines)
    return table


def _interval(measured: dict[str, float]) -> str:
    return f"{measured['low']:.3f} to {measured['high']:.3f}"
