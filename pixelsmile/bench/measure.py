"""The numbers of FFE-Bench from a table of edits, each with interval, n and the n that was asked.

Values come from the metrics of `pixelsmile.metrics`. Rates keep their Wilson intervals; means get
a bootstrap over faces, since the edits of one face are not independent draws.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import torch

from pixelsmile.bench import bootstrap
from pixelsmile.bench.parts import (
    PAIRS,
    Parts,
    both,
    by_face,
    curves_of,
    general_edits,
    harmonic_parts,
    identity_parts,
    is_whole,
    linearity_parts,
    scores_of,
)
from pixelsmile.bench.table import Edit
from pixelsmile.expressions import BASIC, EXPRESSIONS, index
from pixelsmile.metrics import (
    ControlLinearityScore,
    ExpressionAccuracy,
    HarmonicEditingScore,
    IdentitySimilarity,
    MeanStructuralConfusionRate,
)
from pixelsmile.metrics.functional import confusion_table

GENERAL = ("mscr", "acc_6", "acc_12", "id_sim")
"""Metrics of Table 1, in its order."""

LINEAR = ("cls_6", "cls_12", "id_sim", "hes")
"""Metrics of Table 2, in its order."""

NOTHING = len(EXPRESSIONS)
"""The class of an edit in which nothing is seen: never asked for, and confused with nothing."""

_CLASSES = NOTHING + 1
_BASIC = [index(name) for name in BASIC]


class Number(TypedDict):
    """A metric with its 95 % interval, the rows behind it, and those that were asked for."""

    value: float
    low: float
    high: float
    n: int
    of: int


def measure(table: Sequence[Edit], protocol: Mapping[str, Any]) -> dict[str, dict[str, Number]]:
    """Return the metrics of both settings.

    General editing reads one image a task; where every score is 0 nothing is seen, which is wrong
    for the accuracies and no confusion. In linear control a curve counts when all its S images
    have scores; HES and ID Sim average over the images above strength 0.

    Args:
        table: Of one run.
        protocol: `strength` of general editing and `linear`, the strengths of linear control.

    Returns:
        Under `general` the metrics `GENERAL`, under `linear` those of `LINEAR`; without strengths
        `linear` is empty.
    """
    results = {"general": _general(general_edits(table, protocol))}
    results["linear"] = _linear(table, protocol["linear"]) if protocol["linear"] else {}
    return results


def _general(edits: Sequence[Edit]) -> dict[str, Number]:
    judged = [edit for edit in edits if edit.scores is not None]
    predicted, requested = _indices(judged)
    mscr = MeanStructuralConfusionRate(pairs=PAIRS, num_expressions=_CLASSES)
    acc_6 = ExpressionAccuracy(expressions=_BASIC, num_expressions=_CLASSES)
    acc_12 = ExpressionAccuracy(num_expressions=_CLASSES)
    for metric in (mscr, acc_6, acc_12):
        metric.update(predicted, requested)
    paired = {member for pair in PAIRS for member in pair}
    asked = [index(edit.task.expression) for edit in edits]
    return {
        "mscr": _rate(mscr, sum(one in paired for one in asked)),
        "acc_6": _rate(acc_6, sum(one in _BASIC for one in asked)),
        "acc_12": _rate(acc_12, len(edits)),
        "id_sim": _identity(edits),
    }


def _linear(table: Sequence[Edit], strengths: Sequence[float]) -> dict[str, Number]:
    curves = curves_of(table, strengths)
    whole = {name: curve for name, curve in curves.items() if is_whole(curve)}
    basic = {name: curve for name, curve in whole.items() if curve[0].task.expression in BASIC}
    asked = [curve[0].task.expression for curve in curves.values()]
    above = [edit for edit in table if edit.strength > 0 and edit.strength in set(strengths)]
    return {
        "cls_6": _linearity(basic, strengths, sum(name in BASIC for name in asked)),
        "cls_12": _linearity(whole, strengths, len(asked)),
        "id_sim": _identity(above),
        "hes": _harmonic(above),
    }


def constant(table: Sequence[Edit], strengths: Sequence[float]) -> int:
    """Return how many curves never move; they count 0."""
    curves = [curve for curve in curves_of(table, strengths).values() if is_whole(curve)]
    return sum(len({edit.score for edit in curve}) == 1 for curve in curves)


def confusion(edits: Sequence[Edit]) -> torch.Tensor:
    """Return the table of counts of general editing, (12, 13): rows requested, columns seen.

    The last column counts the edits in which nothing is seen.
    """
    predicted, requested = _indices([edit for edit in edits if edit.scores is not None])
    return confusion_table(requested, predicted, _CLASSES)[:NOTHING]


# ---- values ---------------------------------------------------------------------------------


def _indices(edits: Sequence[Edit]) -> tuple[torch.Tensor, torch.Tensor]:
    predicted = [NOTHING if edit.seen is None else index(edit.seen) for edit in edits]
    requested = [index(edit.task.expression) for edit in edits]
    return torch.tensor(predicted, dtype=torch.int64), torch.tensor(requested, dtype=torch.int64)


def _rate(metric: Any, asked: int) -> Number:
    low, high = metric.interval()
    return Number(value=float(metric.compute()), low=low, high=high, n=metric.num_samples, of=asked)


def _mean(metric: Any, asked: int, parts: Parts, edits: Sequence[Edit]) -> Number:
    """Return a mean with a bootstrap interval; the metric's own where there is but one face."""
    if not edits:
        return Number(value=math.nan, low=math.nan, high=math.nan, n=0, of=asked)
    faces = {edit.task.name: edit.task.digest for edit in edits}
    low, high = bootstrap.interval(*by_face(parts, faces))
    if math.isnan(low):
        low, high = metric.interval()
    return Number(value=float(metric.compute()), low=low, high=high, n=metric.num_samples, of=asked)


def _identity(edits: Sequence[Edit]) -> Number:
    known = [edit for edit in edits if edit.similarity is not None]
    metric = IdentitySimilarity()
    if known:
        rows = [[cosine or 0.0 for cosine in edit.cosines.values()] for edit in known]
        metric.update_similarity(torch.tensor(rows, dtype=torch.float64).T)
    return _mean(metric, len(edits), identity_parts(known), known)


def _harmonic(edits: Sequence[Edit]) -> Number:
    known = [edit for edit in edits if edit.similarity is not None and edit.score is not None]
    metric = HarmonicEditingScore()
    if known:
        metric.update(*both(known))
    return _mean(metric, len(edits), harmonic_parts(known), known)


def _linearity(
    curves: Mapping[str, Sequence[Edit]], strengths: Sequence[float], asked: int
) -> Number:
    metric = ControlLinearityScore()
    if curves:
        metric.update(*scores_of(list(curves.values()), strengths))
    first = [curve[0] for curve in curves.values()]
    return _mean(metric, asked, linearity_parts(curves, strengths), first)
