"""Write files that are there whole or not at all, whatever stops the writing."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pixelsmile.errors import naming


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file for binary writing; it gets its name when everything is on disk.

    Until then an older file of that name stays as it is. Missing folders are made.

    Args:
        path: Of the file.

    Raises:
        OSError: If the disk is full or the folder not writable; it names `path`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with whole_file(f"{folder}/scores.txt") as file:
        ...         _ = file.write(b"0.5")
        ...     Path(file.name).exists(), Path(f"{folder}/scores.txt").read_text()
        (False, '0.5')
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place, so that the renaming stays within one file system and is one operation.
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with naming(path):
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
