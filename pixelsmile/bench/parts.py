"""What every edit or curve adds to every metric, so that faces can be drawn again and again."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from pixelsmile.bench.table import Edit
from pixelsmile.expressions import BASIC, index, pair_indices
from pixelsmile.metrics.functional import control_linearity_score, harmonic_editing_score

PAIRS = pair_indices()

Unit = tuple[str, float]
"""Name of a task and strength; a curve has the strength -1."""

Parts = dict[Unit, tuple[np.ndarray, np.ndarray]]
"""What each unit adds to the numerators and denominators of a metric, (R,) each."""


def general_edits(table: Sequence[Edit], protocol: Mapping[str, Any]) -> list[Edit]:
    """Return the edits of general editing, one a task."""
    return [edit for edit in table if edit.strength == protocol["strength"]]


def curves_of(table: Sequence[Edit], strengths: Sequence[float]) -> dict[str, list[Edit]]:
    """Return the edits of each task at the strengths of linear control, in their order."""
    places = {strength: place for place, strength in enumerate(strengths)}
    curves: dict[str, list[Edit]] = {}
    for edit in table:
        if edit.strength in places:
            curves.setdefault(edit.task.name, []).append(edit)
    return {name: sorted(curve, key=lambda edit: edit.strength) for name, curve in curves.items()}


def is_whole(curve: Sequence[Edit]) -> bool:
    """Tell whether every point of a curve has a score."""
    return all(edit.scores is not None for edit in curve)


def both(edits: Sequence[Edit]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scores of what was asked for and the similarities, (B,) each, float64."""
    scores = torch.tensor([edit.score for edit in edits], dtype=torch.float64)
    return scores, torch.tensor([edit.similarity for edit in edits], dtype=torch.float64)


def scores_of(
    curves: Sequence[Sequence[Edit]], strengths: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return strengths and scores of whole curves, (B, S) each, float64."""
    scores = torch.tensor([[e.score for e in curve] for curve in curves], dtype=torch.float64)
    return torch.tensor(strengths, dtype=torch.float64).expand_as(scores), scores


def parts(table: Sequence[Edit], protocol: Mapping[str, Any]) -> dict[str, Parts]:
    """Return what each edit or curve adds to each metric, under `general.acc_6` and so on.

    The mean over R of summed numerators by summed denominators is the metric.
    """
    general = general_edits(table, protocol)
    judged = [edit for edit in general if edit.scores is not None]
    found: dict[str, Parts] = {
        "general.mscr": {_unit(edit): _confused(edit) for edit in judged},
        "general.acc_6": {_unit(edit): _right(edit) for edit in judged if _is_basic(edit)},
        "general.acc_12": {_unit(edit): _right(edit) for edit in judged},
        "general.id_sim": identity_parts([e for e in general if e.similarity is not None]),
    }
    strengths = protocol["linear"]
    if strengths:
        curves = curves_of(table, strengths)
        whole = {name: curve for name, curve in curves.items() if is_whole(curve)}
        basic = {name: curve for name, curve in whole.items() if _is_basic(curve[0])}
        known = [
            edit
            for curve in curves.values()
            for edit in curve
            if edit.strength > 0 and edit.similarity is not None
        ]
        found |= {
            "linear.cls_6": linearity_parts(basic, strengths),
            "linear.cls_12": linearity_parts(whole, strengths),
            "linear.id_sim": identity_parts(known),
            "linear.hes": harmonic_parts([edit for edit in known if edit.score is not None]),
        }
    return found


def by_face(parts: Parts, faces: Mapping[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Sum parts over the units of each face, (C, R) numerators and denominators.

    Args:
        parts: Of one metric.
        faces: By task, what tells its face from others.
    """
    order = {face: place for place, face in enumerate(dict.fromkeys(faces.values()))}
    width = len(next(iter(parts.values()))[0]) if parts else 1
    numerators, denominators = np.zeros((2, len(order), width))
    for (task, _), (numerator, denominator) in parts.items():
        numerators[order[faces[task]]] += numerator
        denominators[order[faces[task]]] += denominator
    return numerators, denominators


def _unit(edit: Edit) -> Unit:
    return edit.task.name, edit.strength


def _is_basic(edit: Edit) -> bool:
    return edit.task.expression in BASIC


def _one(value: float) -> tuple[np.ndarray, np.ndarray]:
    return np.array([value]), np.ones(1)


def _right(edit: Edit) -> tuple[np.ndarray, np.ndarray]:
    return _one(float(edit.seen == edit.task.expression))


def _confused(edit: Edit) -> tuple[np.ndarray, np.ndarray]:
    """Return a part of every directed rate of Eq. 1."""
    directed = [(i, j) for pair in PAIRS for i, j in (pair, pair[::-1])]
    asked, seen = index(edit.task.expression), None if edit.seen is None else index(edit.seen)
    counts = np.array([float(i == asked) for i, _ in directed])
    return counts * np.array([float(j == seen) for _, j in directed]), counts


def identity_parts(edits: Sequence[Edit]) -> Parts:
    """Return the part of each edit in ID Sim."""
    return {_unit(edit): _one(edit.similarity or 0.0) for edit in edits}


def harmonic_parts(edits: Sequence[Edit]) -> Parts:
    """Return the part of each edit in HES."""
    if not edits:
        return {}
    values = harmonic_editing_score(*both(edits)).tolist()
    return {_unit(edit): _one(value) for edit, value in zip(edits, values, strict=True)}


def linearity_parts(curves: Mapping[str, Sequence[Edit]], strengths: Sequence[float]) -> Parts:
    """Return the part of each whole curve in CLS."""
    if not curves:
        return {}
    values = control_linearity_score(*scores_of(list(curves.values()), strengths)).tolist()
    return {(name, -1.0): _one(value) for name, value in zip(curves, values, strict=True)}
