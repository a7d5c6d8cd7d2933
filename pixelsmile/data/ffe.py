"""Read the FFE annotation layout: JSONL, one image a line, paths relative to the file."""

import json
import math
from pathlib import Path
from typing import Any

from pixelsmile.data.samples import Sample
from pixelsmile.errors import UserError
from pixelsmile.expressions import DOMAINS, EXPRESSIONS, canonical

_NUM_LANDMARKS = 5


def read_ffe(*files: str | Path, domain: str | None = None) -> list[Sample]:
    """Read annotation files.

    Args:
        files: JSONL files; a folder stands for the `annotations.jsonl` in it.
        domain: Keep this domain only; None keeps all.

    Raises:
        UserError: If a file is missing, a line is broken, or nothing is left. The sentence names
            the file, the line, the value and the way out.
    """
    samples = []
    for file in files:
        path = Path(file)
        path = path / "annotations.jsonl" if path.is_dir() else path
        if not path.is_file():
            raise UserError(f"No annotations at {path}: check data.train and data.val.")
        for number, line in enumerate(_read_lines(path), start=1):
            if line.strip():
                samples.append(_parse(line, path, f"{path}:{number}"))
    kept = [sample for sample in samples if domain is None or sample.domain == domain]
    if not kept:
        wanted = f" of domain {domain!r}" if domain else ""
        raise UserError(
            f"The set is empty: {len(samples)} images in {', '.join(map(str, files))}, "
            f"none{wanted}. Check the paths and the domain."
        )
    return kept


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason}): save it as UTF-8.") from None


def _parse(line: str, path: Path, where: str) -> Sample:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where} is not JSON ({error.msg}): repair or remove the line.") from None
    if not isinstance(row, dict):
        raise UserError(f"{where} is not a JSON object: write one object a line.")
    for key in ("image", "identity", "domain", "category", "scores"):
        if key not in row:
            raise UserError(f"{where} lacks the key {key!r}: add it or remove the line.")
    if row["domain"] not in DOMAINS:
        raise UserError(
            f"{where}: unknown domain {row['domain']!r}, choose one of {', '.join(DOMAINS)}."
        )
    image = path.parent / str(row["image"])
    if not image.is_file():
        raise UserError(f"{where}: image {image} is missing, restore it or remove the line.")
    try:
        category = canonical(str(row["category"]))
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    return Sample(
        image=image,
        identity=str(row["identity"]),
        domain=row["domain"],
        category=category,
        scores=_scores(row["scores"], where),
        box=_numbers(row.get("box"), 4, "box", where),
        landmarks=_landmarks(row.get("landmarks"), where),
        split=row.get("split"),
    )


def _scores(value: Any, where: str) -> tuple[float, ...]:
    if not isinstance(value, dict):
        raise UserError(f"{where}: 'scores' must map names to numbers, got {value!r}.")
    scores = dict.fromkeys(EXPRESSIONS, 0.0)
    for name, score in value.items():
        try:
            word = canonical(name)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
        valid = isinstance(score, int | float) and not isinstance(score, bool)
        if not valid or not 0.0 <= score <= 1.0:
            raise UserError(
                f"{where}: the score of {name!r} is {score!r}, expected a number in [0, 1]."
            )
        if word in scores:
            scores[word] = float(score)
    return tuple(scores.values())


def _numbers(value: Any, count: int, key: str, where: str) -> tuple[float, ...] | None:
    if value is None:
        return None
    valid = isinstance(value, list) and len(value) == count
    if not valid or not all(isinstance(x, int | float) and math.isfinite(x) for x in value):
        raise UserError(f"{where}: {key!r} must be {count} finite numbers, got {value!r}.")
    return tuple(float(x) for x in value)


def _landmarks(value: Any, where: str) -> tuple[tuple[float, float], ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != _NUM_LANDMARKS:
        raise UserError(f"{where}: 'landmarks' must be {_NUM_LANDMARKS} points, got {value!r}.")
    points = [_numbers(point or [], 2, "landmarks", where) for point in value]
    return tuple((point[0], point[1]) for point in points if point is not None)
