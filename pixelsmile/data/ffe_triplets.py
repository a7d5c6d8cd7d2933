"""Read the triplets of the release: JSONL, a neutral source and two edited targets a line.

`{"src": {"image", "boxes"?}, "dst": [{"image", "category", "scores", "boxes"?}, {...}]}`, paths
relative to the file. The layout names no identity: each source image stands for one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pixelsmile.data import annotations
from pixelsmile.data.annotations import Row, as_object, image_file, read_rows, require
from pixelsmile.data.samples import Sample
from pixelsmile.data.triplets import Triplet
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS, NEUTRAL, index

Rescale = Callable[[float], float]

_TARGETS = 2


def release_rescale(score: float) -> float:
    """Return the release's piecewise-linear stretch of a score.

    0.5 x up to 0.6, x - 0.3 up to 0.8, 3 x - 1.9 up to 0.9, 2 x - 1 above: continuous, increasing,
    0 to 0 and 1 to 1. It spreads the upper scores, where the annotators crowd.

    Example:
        >>> [round(release_rescale(x), 2) for x in (0.0, 0.6, 0.8, 0.9, 1.0)]
        [0.0, 0.3, 0.5, 0.8, 1.0]
    """
    if score <= 0.6:
        return 0.5 * score
    if score <= 0.8:
        return score - 0.3
    if score <= 0.9:
        return 3 * score - 1.9
    return 2 * score - 1


def read_triplets(*files: str | Path, domain: str, rescale: Rescale | None = None) -> list[Triplet]:
    """Read triplet files.

    Args:
        files: JSONL files.
        domain: Of all images; the layout does not say.
        rescale: Applied to every score, such as `release_rescale`.

    Raises:
        UserError: If a file is missing, a line is broken, or there is no line.
    """
    triplets = [
        _triplet(row, Path(file).parent, where, domain, rescale)
        for file in files
        for row, where in read_rows(Path(file))
    ]
    if not triplets:
        raise UserError(f"The set is empty: no triplet in {', '.join(map(str, files))}.")
    return triplets


def samples_of(triplets: list[Triplet]) -> list[Sample]:
    """Return every image of some triplets once, in order of first appearance."""
    return list(dict.fromkeys(sample for triplet in triplets for sample in triplet))


def _triplet(row: Row, folder: Path, where: str, domain: str, rescale: Rescale | None) -> Triplet:
    require(row, "src", "dst", where=where)
    source = as_object(row["src"], f"{where}: 'src'")
    targets = row["dst"]
    if not isinstance(targets, list) or len(targets) != _TARGETS:
        raise UserError(f"{where}: 'dst' must be two objects, got {str(targets)[:80]!r}.")
    require(source, "image", where=f"{where}: 'src'")
    identity = str(source["image"])
    neutral = Sample(
        image=image_file(source["image"], folder, f"{where}: 'src'"),
        identity=identity,
        domain=domain,
        category=NEUTRAL,
        scores=(0.0,) * len(EXPRESSIONS),
        box=_first_box(source.get("boxes"), f"{where}: 'src'"),
    )
    first, second = (
        _target(as_object(target, f"{where}: 'dst'"), neutral, folder, f"{where}: 'dst'", rescale)
        for target in targets
    )
    if first.category == second.category:
        raise UserError(f"{where}: both targets show {first.category!r}, two expressions needed.")
    return Triplet(neutral, first, second)


def _target(row: Row, neutral: Sample, folder: Path, where: str, rescale: Rescale | None) -> Sample:
    require(row, "image", "category", "scores", where=where)
    category = annotations.category(row["category"], where)
    if category == NEUTRAL:
        raise UserError(f"{where}: a target shows 'neutral', choose one of the expressions.")
    scores = annotations.scores(row["scores"], where)
    if scores[index(category)] == 0:
        raise UserError(f"{where}: 'scores' lacks the score of its own category {category!r}.")
    return Sample(
        image=image_file(row["image"], folder, where),
        identity=neutral.identity,
        domain=neutral.domain,
        category=category,
        scores=tuple(map(rescale, scores)) if rescale else scores,
        box=_first_box(row.get("boxes"), where),
    )


def _first_box(value: Any, where: str) -> tuple[float, ...] | None:
    """Read `boxes`: one box, or a list of boxes of which the first is the face that is edited."""
    if isinstance(value, list) and value and isinstance(value[0], list):
        value = value[0]
    return annotations.box(value or None, where, key="boxes")
