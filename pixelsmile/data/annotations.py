"""Values of annotation lines, read strictly: a refusal names the file, the line and the value."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS, canonical

_NUM_LANDMARKS = 5
_BOX = 4

Row = dict[str, Any]


def read_rows(path: Path) -> Iterator[tuple[Row, str]]:
    """Yield the objects of a JSONL file, each with its place as `file:line`.

    Blank lines are skipped.

    Raises:
        UserError: If the file is missing or no text, or a line is no JSON object.
    """
    if not path.is_file():
        raise UserError(f"No annotations at {path}: check data.train and data.val.")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason}): save it as UTF-8.") from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"{path}:{number}"
            yield _parse(line, where), where


def _parse(line: str, where: str) -> Row:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        reason = getattr(error, "msg", "nested too deep")
        raise UserError(f"{where} is not JSON ({reason}): repair or remove the line.") from None
    return as_object(row, where)


def as_object(value: Any, where: str) -> Row:
    """Return a JSON object as it is.

    Raises:
        UserError: If it is something else.
    """
    if not isinstance(value, dict):
        raise UserError(f"{where} is not a JSON object: write one object a line.")
    return value


def require(row: Row, *keys: str, where: str) -> None:
    """Refuse a row that lacks a key.

    Raises:
        UserError: If it does.
    """
    for key in keys:
        if key not in row:
            raise UserError(f"{where} lacks the key {key!r}: add it or remove the line.")


def image_file(value: Any, folder: Path, where: str) -> Path:
    """Return the path of an image that is named relative to its annotation file.

    Raises:
        UserError: If there is no such file.
    """
    image = folder / str(value)
    if not image.is_file():
        raise UserError(f"{where}: image {image} is missing, restore it or remove the line.")
    return image


def category(value: Any, where: str) -> str:
    """Return our name of an expression, or `neutral`.

    Raises:
        UserError: If it is unknown.
    """
    try:
        return canonical(str(value))
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def scores(value: Any, where: str) -> tuple[float, ...]:
    """Return twelve scores in the order of `EXPRESSIONS`; what is not named is 0.

    Raises:
        UserError: If a name is unknown or a score is no number in [0, 1].
    """
    if not isinstance(value, dict):
        raise UserError(f"{where}: 'scores' must map names to numbers, got {value!r}.")
    table = dict.fromkeys(EXPRESSIONS, 0.0)
    for name, score in value.items():
        word = category(name, where)
        valid = isinstance(score, int | float) and not isinstance(score, bool)
        if not valid or not 0.0 <= score <= 1.0:
            raise UserError(
                f"{where}: the score of {name!r} is {score!r}, expected a number in [0, 1]."
            )
        if word in table:
            table[word] = float(score)
    return tuple(table.values())


def box(value: Any, where: str, *, key: str = "box") -> tuple[float, ...] | None:
    """Return x0, y0, x1, y1 in pixels, or None where there is none.

    Raises:
        UserError: If it is not four finite numbers.
    """
    return None if value is None else _numbers(value, _BOX, key, where)


def landmarks(value: Any, where: str) -> tuple[tuple[float, float], ...] | None:
    """Return five points in pixels, or None where there are none.

    Raises:
        UserError: If they are not five pairs of finite numbers.
    """
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != _NUM_LANDMARKS:
        raise UserError(f"{where}: 'landmarks' must be {_NUM_LANDMARKS} points, got {value!r}.")
    points = [_numbers(point, 2, "landmarks", where) for point in value]
    return tuple((point[0], point[1]) for point in points)


def _numbers(value: Any, count: int, key: str, where: str) -> tuple[float, ...]:
    valid = isinstance(value, list) and len(value) == count
    if not valid or not all(isinstance(x, int | float) and math.isfinite(x) for x in value):
        raise UserError(f"{where}: {key!r} must be {count} finite numbers, got {value!r}.")
    return tuple(float(x) for x in value)
