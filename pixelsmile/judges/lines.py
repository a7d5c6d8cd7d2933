"""Files of JSON objects, one a line, that only grow: what a crash has torn is at their end."""

import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pixelsmile.errors import UserError, naming

Row = dict[str, Any]


class LineFile:
    """A file of JSON objects, one a line, that only grows.

    A line that a crash has torn is at the end, and is cut off when the file is next opened.

    Args:
        path: Made with its folders where it is missing.

    Raises:
        UserError: If another process has it open for writing, or a whole line is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            raise UserError(f"{path} is a folder: name a file, such as {path / 'judge.jsonl'}.")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b", buffering=0)
        try:
            self._lock()
            self._file.seek(0)
            data = self._file.readall()
            whole = data[: data.rfind(b"\n") + 1]
            self.rows = parse_lines(whole, path)
            self._mend(data[len(whole) :], len(whole))
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"Another process is writing {self.path}: wait for it, or choose another folder."
            ) from None
        except OSError:
            pass  # a file system without locks

    def _mend(self, tail: bytes, length: int) -> None:
        """Give a whole last line its line break; cut off a torn one."""
        if tail and (row := _row(tail)) is not None:
            self._write(b"\n", length + len(tail))
            self.rows.append(row)
        elif tail:
            self._file.truncate(length)

    def append(self, rows: Iterable[Row]) -> None:
        """Add lines; they are on disk when this returns, all or, on a full disk, none.

        Raises:
            OSError: If they cannot be written; it names the file.
        """
        text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        if text:
            self._write(text.encode(), os.fstat(self._file.fileno()).st_size)

    def _write(self, data: bytes, length: int) -> None:
        with naming(self.path):
            try:
                while data:
                    data = data[self._file.write(data) :]
                os.fsync(self._file.fileno())
            except OSError:
                self._file.truncate(length)
                raise

    def close(self) -> None:
        """Release the file and its lock."""
        self._file.close()


def read_lines(path: Path) -> list[Row]:
    """Return the objects of a file's whole lines; also while others write to it.

    Raises:
        FileNotFoundError: If it is missing.
        UserError: As `parse_lines`.
    """
    data = path.read_bytes()
    return parse_lines(data[: data.rfind(b"\n") + 1], path)


def parse_lines(data: bytes, path: Path) -> list[Row]:
    """Return the objects of whole lines.

    Raises:
        UserError: If a line is not a JSON object; it names file and line.
    """
    rows = []
    for number, line in enumerate(data.splitlines(), 1):
        row = _row(line)
        if row is None:
            raise UserError(
                f"{path}, line {number} is damaged: delete that line and run again; what it held "
                "is asked for once more."
            )
        rows.append(row)
    return rows


def _row(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
