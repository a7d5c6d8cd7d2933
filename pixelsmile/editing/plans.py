"""What is to be made of an image, what of it is there, and the folder that it goes to."""

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelsmile.editing.facts import known_facts
from pixelsmile.editing.levels import Level
from pixelsmile.editing.requests import Mix
from pixelsmile.errors import UserError


@dataclass(frozen=True)
class Shot:
    """One picture that is asked for."""

    path: Path
    mix: Mix
    level: Level
    asked: Mapping[str, Any]

    def is_there(self) -> bool:
        """Tell whether the file is there and was made with the same settings.

        Raises:
            UserError: If the file is there and was made with others, or by somebody else.
        """
        if not self.path.exists():
            return False
        facts = known_facts(self.path)
        if facts is None:
            raise UserError(
                f"{self.path} is there and was not made by pixelsmile.edit: choose another out=."
            )
        before = facts.get("settings", {})
        changed = [key for key in self.asked if before.get(key) != self.asked[key]]
        if changed:
            raise UserError(
                f"{self.path} was made with another {', '.join(changed)}: choose another out=, or "
                "replace it with skip_existing=false."
            )
        return True


@dataclass(frozen=True)
class Job:
    """One image and what is to be made of it.

    Attributes:
        image: File.
        folder: Of the results.
        rows: The shots of each direction.
        missing: For each direction, whether it has to be rendered.
    """

    image: Path
    folder: Path
    rows: tuple[tuple[Shot, ...], ...]
    missing: tuple[bool, ...]

    @property
    def total(self) -> int:
        """Number of pictures."""
        return sum(map(len, self.rows))

    @property
    def done(self) -> int:
        """Number of pictures that need not be rendered."""
        return sum(
            len(row) for row, missing in zip(self.rows, self.missing, strict=True) if not missing
        )


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes from writing into a folder, and remove what a killed one left there.

    Raises:
        UserError: If another process writes there.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"Another process writes into {folder}: wait for it, or choose another out=."
            ) from None
        except OSError:
            pass  # a file system without locks
        for path in folder.iterdir():
            if re.fullmatch(r"\..+\.(png|gif|mp4)\.[0-9a-f]{8}", path.name):
                path.unlink()
        yield
    finally:
        os.close(handle)
