"""What is known about files without reading them again: digests of 60,000 images in a second."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pixelsmile.errors import UserError
from pixelsmile.files import whole_file

SETTLED = 2.0
"""Seconds after which another change of a file shows in its times on every file system."""

_SAVE_EVERY = 30.0

Stamp = list[int]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes.

    Raises:
        UserError: If the file is missing or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise UserError(
            f"Image {path} is missing: restore it or remove its line from the annotations."
        ) from None
    except PermissionError:
        raise
    except OSError as error:
        raise UserError(f"Image {path} cannot be read ({error.strerror}): replace it.") from None


class FileMemory:
    """Answers about files, computed once and recalled while a file stays as it is.

    An answer counts only while path, size, inode and both times of change are what they were, to
    the nanosecond. A file that changed less than `SETTLED` seconds before it was read is not
    remembered, because one more change could leave the same times.

    Args:
        answer: Computes what is remembered; pure in the file's bytes.
        index: Where answers are kept. It may be deleted or damaged at any time, which costs the
            computing only. None keeps them in this process.
    """

    def __init__(self, answer: Callable[[Path], str], index: Path | None = None) -> None:
        self.answer = answer
        self.index = index
        self._known: dict[str, tuple[Stamp, str]] | None = None
        self._new: dict[str, tuple[Stamp, str]] = {}
        self._saved = time.monotonic()

    def __call__(self, path: Path) -> str:
        """Return the answer for a file."""
        known = self.recall(path)
        if known is not None:
            return known
        name = os.path.abspath(path)
        try:
            stamp = _stamp(name)
        except OSError:
            return self.answer(path)  # it knows how to say what is wrong
        started = time.time_ns()
        found = self.answer(path)
        if max(stamp[1:3]) < started - SETTLED * 1e9:
            self._keep(name, stamp, found)
        return found

    def recall(self, path: Path) -> str | None:
        """Return the answer for a file if it is remembered."""
        name = os.path.abspath(path)
        known = self._new.get(name) or self._load().get(name)
        return known[1] if known is not None and _unchanged(name, known[0]) else None

    def note(self, path: Path, answer: str) -> None:
        """Remember an answer that is known otherwise, as from having written the file."""
        name = os.path.abspath(path)
        self._keep(name, _stamp(name), answer)

    def save(self) -> None:
        """Add what is new to the index, beside what other processes have added meanwhile."""
        self._saved = time.monotonic()
        if self.index is None or not self._new:
            return
        self._write(self.index, _read(self.index) | self._new)

    def tidy(self) -> None:
        """Drop answers about files that are gone or have changed since."""
        if self.index is not None and self.index.exists():
            known = _read(self.index) | self._new
            rows = {name: row for name, row in known.items() if _unchanged(name, row[0])}
            self._write(self.index, rows)

    def _write(self, index: Path, known: dict[str, tuple[Stamp, str]]) -> None:
        data = json.dumps({name: [*stamp, answer] for name, (stamp, answer) in known.items()})
        with whole_file(index) as file:
            file.write(data.encode())
        self._known, self._new = known, {}

    def _keep(self, name: str, stamp: Stamp, answer: str) -> None:
        self._new[name] = (stamp, answer)
        if time.monotonic() - self._saved > _SAVE_EVERY:
            self.save()

    def _load(self) -> dict[str, tuple[Stamp, str]]:
        if self._known is None:
            self._known = {} if self.index is None else _read(self.index)
        return self._known


def _stamp(name: str) -> Stamp:
    """Return size, both times of change in nanoseconds, and inode; a link's are its target's."""
    status = os.stat(name)
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _unchanged(name: str, stamp: Stamp) -> bool:
    try:
        return _stamp(name) == stamp
    except OSError:
        return False


def _read(index: Path) -> dict[str, tuple[Stamp, str]]:
    """Return the rows of an index that are what they should be."""
    try:
        rows = json.loads(index.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(rows, dict):
        return {}
    return {name: (row[:4], row[4]) for name, row in rows.items() if _is_row(row)}


def _is_row(row: Any) -> bool:
    return (
        isinstance(row, list)
        and len(row) == 5
        and all(isinstance(number, int) for number in row[:4])
        and isinstance(row[4], str)
    )
