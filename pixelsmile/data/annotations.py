"""Values of annotation lines, read strictly: a refusal names the file, the line and the value."""

import json
import math
import os
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pixelsmile.data.faults import BadItemError, Faults, shown
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS, NEUTRAL, canonical

_NUM_LANDMARKS = 5
_BOX = 4
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SPLITS = {"train": "train", "val": "val", "validation": "val", "test": "test"}

Row = dict[str, Any]


def read_rows(path: Path, faults: Faults) -> Iterator[tuple[Row, str]]:
    """Yield the objects of a JSONL file, each with its place as `file:line`.

    Blank lines are skipped; a byte order mark and Windows line ends do no harm.

    Args:
        path: Of the file.
        faults: Receives lines that are no UTF-8 text or no JSON object.

    Raises:
        UserError: If the file is missing or unreadable.
    """
    if not path.is_file():
        raise UserError(f"No annotations at {path}: check data.files.")
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if number == 1:
                    line = line.removeprefix(_BYTE_ORDER_MARK)
                if not line.strip():
                    continue
                where, row = f"{path}:{number}", None
                with faults.item():
                    row = _parse(line, where)
                if row is not None:
                    yield row, where
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check data.files.") from None


def _parse(line: bytes, where: str) -> Row:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadItemError(
            "line", f"{where} is not UTF-8 text ({error.reason}): save the file as UTF-8."
        ) from None
    except (ValueError, RecursionError) as error:  # ValueError: also numbers of 5000 digits
        deep = "nested too deep" if isinstance(error, RecursionError) else "a number is too long"
        reason = getattr(error, "msg", deep)
        raise BadItemError(
            "line", f"{where} is not JSON ({reason}): repair or remove the line."
        ) from None
    return as_object(row, where)


def as_object(value: Any, where: str) -> Row:
    """Return a JSON object as it is.

    Raises:
        BadItemError: If it is something else.
    """
    if not isinstance(value, dict):
        raise BadItemError("line", f"{where} is not a JSON object: write one object a line.")
    return value


def require(row: Row, *keys: str, where: str) -> None:
    """Refuse a row that lacks a key.

    Raises:
        BadItemError: If it does.
    """
    for key in keys:
        if key not in row:
            raise BadItemError("line", f"{where} lacks the key {key!r}: add it or remove the line.")


def name(value: Any, key: str, where: str) -> str:
    """Return a name, written as text or as a whole number.

    Raises:
        BadItemError: If it is empty or something else.
    """
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise BadItemError("line", f"{where}: {key!r} must be a name, got {shown(value)}.")
    return str(value)


def split(value: Any, where: str) -> str | None:
    """Return `train`, `val` or `test`, or None where the line leaves it open.

    Raises:
        BadItemError: If it is another word.
    """
    if value is None:
        return None
    if not isinstance(value, str) or value not in _SPLITS:
        raise BadItemError(
            "line", f"{where}: 'split' is {shown(value)}, expected train, val or test."
        )
    return _SPLITS[value]


def image_file(value: Any, folder: Path, where: str, *, follow_links: bool = False) -> Path:
    """Return the path of an image that is named relative to its annotation file.

    Args:
        value: What the line says.
        folder: Of the annotation file.
        where: Place of the line.
        follow_links: Allow links, absolute paths and `..` that lead out of the folder.

    Raises:
        BadItemError: If there is no such file, it is empty, or it lies elsewhere.
    """
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise BadItemError("file", f"{where}: 'image' must be a path, got {shown(value)}.")
    image = folder / value
    try:
        status = image.stat()
    except (OSError, ValueError) as error:  # ValueError: half a character, which no path can hold
        cause = getattr(error, "strerror", "not a valid name")
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        reason = "is missing" if missing else f"is no file ({cause})"
        raise BadItemError(
            "file", f"{where}: image {_path(image)} {reason}, restore it or remove the line."
        ) from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no file"
        raise BadItemError(
            "file", f"{where}: image {_path(image)} is {kind}, restore it or remove the line."
        )
    if status.st_size == 0:
        raise BadItemError(
            "file", f"{where}: image {_path(image)} is empty, restore it or remove the line."
        )
    if not follow_links and not is_inside(image, folder):
        raise BadItemError(
            "link",
            f"{where}: image {_path(image)} leads out of the folder of its annotations to "
            f"{_path(Path(os.path.realpath(image)))}: move it there, or say data.follow_links=true "
            "if you trust the file.",
        )
    return image


def is_inside(path: Path, folder: Path) -> bool:
    """Tell whether a file lies below a folder once links and `..` are followed."""
    real = Path(_real(path.parent)) / path.name
    if path.name == ".." or real.is_symlink():
        real = Path(os.path.realpath(path))
    return real.is_relative_to(_real(folder))


@cache
def _real(folder: Path) -> str:
    """Follow the links of a folder, once for all of its files."""
    return os.path.realpath(folder)


def _path(path: Path) -> str:
    """Return a path for a message, as it is where a terminal can print it."""
    return str(path) if str(path).isprintable() else shown(str(path))


def category(value: Any, where: str) -> str:
    """Return our name of an expression, or `neutral`.

    Raises:
        BadItemError: If it is unknown.
    """
    try:
        return canonical(value if isinstance(value, str) else shown(value))
    except UserError as error:
        raise BadItemError("line", f"{where}: {error}") from None


def scores(value: Any, where: str) -> tuple[float, ...]:
    """Return twelve scores in the order of `EXPRESSIONS`; what is not named is 0.

    Raises:
        BadItemError: If a name is unknown or a score is no number in [0, 1].
    """
    if not isinstance(value, dict):
        raise BadItemError(
            "score", f"{where}: 'scores' must map names to numbers, got {shown(value)}."
        )
    table = dict.fromkeys(EXPRESSIONS, 0.0)
    for key, score in value.items():
        word = category(key, where)
        valid = isinstance(score, int | float) and not isinstance(score, bool)
        if not valid or not 0.0 <= score <= 1.0:
            raise BadItemError(
                "score",
                f"{where}: the score of {shown(key)} is {shown(score)}, expected a number in "
                "[0, 1].",
            )
        if word in table:
            table[word] = float(score)
    return tuple(table.values())


def scores_of(word: str, value: Any, where: str) -> tuple[float, ...]:
    """Return the scores of an image of one category, twelve in the order of `EXPRESSIONS`.

    Args:
        word: The category.
        value: What the line says.
        where: Place of the line.

    Raises:
        BadItemError: As `scores`; also if the image does not show its own category at all. Its
            strength would be 0, at which the prompt is the neutral one.
    """
    table = scores(value, where)
    if word != NEUTRAL and table[EXPRESSIONS.index(word)] == 0:
        raise BadItemError(
            "score",
            f"{where}: 'scores' gives {word!r}, the category of the image itself, nothing above 0: "
            "write its score, or remove the line.",
        )
    return table


def box(value: Any, where: str, *, key: str = "box") -> tuple[float, ...] | None:
    """Return x0, y0, x1, y1 in pixels, or None where there is none.

    Raises:
        BadItemError: If it is not four finite numbers, or not x0 < x1 and y0 < y1.
    """
    if value is None:
        return None
    x0, y0, x1, y1 = numbers = _numbers(value, _BOX, key, where)
    if x0 >= x1 or y0 >= y1:
        raise BadItemError(
            "box",
            f"{where}: {key!r} must be x0, y0, x1, y1 with x0 < x1 and y0 < y1, "
            f"got {shown(value)}.",
        )
    return numbers


def landmarks(value: Any, where: str) -> tuple[tuple[float, float], ...] | None:
    """Return five points in pixels, or None where there are none.

    Raises:
        BadItemError: If they are not five pairs of finite numbers.
    """
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != _NUM_LANDMARKS:
        raise BadItemError(
            "box", f"{where}: 'landmarks' must be {_NUM_LANDMARKS} points, got {shown(value)}."
        )
    points = [_numbers(point, 2, "landmarks", where) for point in value]
    return tuple((point[0], point[1]) for point in points)


def _numbers(value: Any, count: int, key: str, where: str) -> tuple[float, ...]:
    valid = isinstance(value, list) and len(value) == count
    if not valid or not all(map(_is_finite, value)):
        raise BadItemError(
            "box", f"{where}: {key!r} must be {count} finite numbers, got {shown(value)}."
        )
    return tuple(float(x) for x in value)


def _is_finite(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(value)
    except (TypeError, OverflowError):  # OverflowError: a whole number beyond any float
        return False
