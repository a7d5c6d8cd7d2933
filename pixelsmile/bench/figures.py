"""Figures of the report: the confusion table, the trade-off of Fig. 4, and strips of edits."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from pixelsmile.bench import bootstrap
from pixelsmile.bench.parts import by_face, curves_of, harmonic_parts
from pixelsmile.bench.table import Edit

NATURAL = (0.6, 0.7)
"""Identity similarity of realistic edits, says the paper (Sec. 5.2)."""

_COLOURS = ("#2a5db0", "#c2571a", "#3c8d5a", "#8a4fa3", "#777777")
Pictures = dict[str, bytes]
"""The same picture as `png` and as `svg`."""

_EDGE = 160  # pixels of a face in the report


def trade_off(table: Sequence[Edit], strengths: Sequence[float]) -> list[dict[str, Any]]:
    """Return identity against expression score at every strength, with intervals over faces.

    Only edits that have both count, so that a point describes the same images twice.
    """
    points = []
    for strength in strengths:
        known = [
            edit
            for edit in table
            if edit.strength == strength and edit.score is not None and edit.similarity is not None
        ]
        if known:
            score, identity = (_mean(known, name) for name in ("score", "similarity"))
            points.append({"strength": strength, "n": len(known), **score, **identity})
    return points


def _mean(edits: Sequence[Edit], name: str) -> dict[str, float]:
    values = {edit.task.name: float(getattr(edit, name)) for edit in edits}  # of one strength
    parts = {(task, 0.0): (np.array([value]), np.ones(1)) for task, value in values.items()}
    faces = {edit.task.name: edit.task.digest for edit in edits}
    low, high = bootstrap.interval(*by_face(parts, faces), draws=2000)
    return {name: float(np.mean([*values.values()])), f"{name}_low": low, f"{name}_high": high}


def trade_off_picture(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> Pictures:
    """Draw the curves of one or more runs.

    Args:
        curves: By label, what `trade_off` returns.
    """
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for colour, (label, points) in zip(_cycle(len(curves)), curves.items(), strict=True):
        identity, score = (np.array([p[key] for p in points]) for key in ("similarity", "score"))
        spread = [
            np.abs([[p[f"{key}_{end}"] - p[key] for p in points] for end in ("low", "high")])
            for key in ("similarity", "score")
        ]
        axes.errorbar(
            identity, score, spread[1], spread[0], color=colour, ecolor=f"{colour}55", label=label,
            marker="o", markersize=5, linewidth=1.8, capsize=0,
        )  # fmt: skip
        for point in points:
            axes.annotate(
                f"{point['strength']:g}",
                (point["similarity"], point["score"]),
                textcoords="offset points",
                xytext=(7, 4),
                fontsize=8,
                color=colour,
            )
    left, right = axes.get_xlim()
    if left < NATURAL[1] and right > NATURAL[0]:
        axes.axvspan(*NATURAL, color="#e8f1e4", zorder=0, label="natural, says the paper")
        axes.set_xlim(left, right)
    axes.set_xlabel("identity similarity (mean cosine to the source)")
    axes.set_ylabel("score of the expression asked for")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#eeeeee")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=9)
    return _saved(figure)


def confusion_figure(counts: np.ndarray, names: Sequence[str]) -> Pictures:
    """Draw counts, (K, K + 1), rows asked and columns seen; a row is shaded by its shares.

    The last column, of edits in which nothing is seen, is shown where there are any.
    """
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    columns = [*names, "nothing"] if counts[:, -1].any() else list(names)
    shares, counts = shares[:, : len(columns)], counts[:, : len(columns)]
    figure = Figure(figsize=(6.4, 5.9), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        ink = "white" if shares[row, column] > 0.55 else "#222222"
        text = str(counts[row, column])
        axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=9)
    axes.set_xticks(
        range(len(columns)), columns, rotation=45, ha="left", rotation_mode="anchor", fontsize=9
    )
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_ylabel("asked for")
    axes.set_xlabel("seen by the judge")
    axes.set_xticks(np.arange(len(columns) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return _saved(figure)


def examples(
    table: Sequence[Edit], strengths: Sequence[float], general: float, count: int = 3
) -> dict[str, list[list[Edit]]]:
    """Return strips of the best, median and worst tasks by HES at the strength of general editing.

    Args:
        table: Of one run.
        strengths: Shown of each task.
        general: Strength that ranks.
        count: Tasks of each kind.
    """
    known = [
        edit
        for edit in table
        if edit.strength == general and edit.score is not None and edit.similarity is not None
    ]
    if not known:
        return {}
    values = {name: float(part[0][0]) for (name, _), part in harmonic_parts(known).items()}
    order = sorted(values, key=lambda name: (-values[name], name))
    strips = curves_of(table, strengths)
    count = min(count, len(order))
    middle = (len(order) - count) // 2
    chosen = {
        "best": order[:count],
        "median": order[middle : middle + count],
        "worst": order[len(order) - count :][::-1],
    }
    return {kind: [strips[name] for name in names] for kind, names in chosen.items()}


def thumbnail(path: Any) -> bytes:
    """Return an image as JPEG, small enough for a report that holds them all."""
    with Image.open(path) as image:
        picture = image.convert("RGB")
    if max(picture.size) > _EDGE:
        picture.thumbnail((_EDGE, _EDGE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=88)
    return buffer.getvalue()


def _cycle(count: int) -> list[str]:
    return [_COLOURS[place % len(_COLOURS)] for place in range(count)]


def _saved(figure: Figure) -> Pictures:
    """Save a figure; without date and random names, so that a report made again is the same."""
    pictures = {}
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        buffer = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "pixelsmile"}):
            figure.savefig(buffer, format=kind, dpi=160, metadata=metadata)
        pictures[kind] = buffer.getvalue()
    return pictures
