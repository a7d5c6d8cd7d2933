"""Mistakes that a user can mend, and how the commands show them: one sentence, no traceback."""

import errno
import os
from collections.abc import Iterator
from contextlib import ContextDecorator, contextmanager
from types import TracebackType

from rich.console import Console

LOST_PEER = 75
"""Exit code of a process that ends because another has, as EX_TEMPFAIL of sysexits.h."""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class UserError(ValueError):
    """A mistake that the user can mend; the message names the key or file and the way out."""

    exit_code = 2


class LostPeerError(UserError):
    """Another process ended while this one was waiting for it; that one says why."""

    exit_code = LOST_PEER


def is_disk_full(error: OSError) -> bool:
    """Tell whether a write failed for want of space or quota."""
    return error.errno in DISK_FULL


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Add the file's name to an `OSError` that lacks it, as those of `write` do.

    Example:
        >>> try:
        ...     with naming("data/face.png"):
        ...         raise OSError(errno.ENOSPC, "No space left on device")
        ... except OSError as error:
        ...     error.filename
        'data/face.png'
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise


class friendly(ContextDecorator):  # noqa: N801 - reads as a verb where it is used
    """Wrap a command: what a user can mend is one line on stderr, exit code 2.

    A process that has lost another ends with `LOST_PEER` instead.

    A full disk or an unwritable file also becomes one line and exit code 2; Ctrl-C says what to do
    next and exits with 130. Any other exception is a defect and keeps its traceback, and with
    HYDRA_FULL_ERROR=1 every exception does.

    Args:
        next_step: What Ctrl-C and a full disk tell the user to do.

    Example:
        >>> with friendly():
        ...     raise UserError("No face in a.png: choose another image.")
        Traceback (most recent call last):
        SystemExit: 2
    """

    def __init__(self, next_step: str = "Run the same command again to continue.") -> None:
        self.next_step = next_step

    def __enter__(self) -> None:
        """Begin the guarded part."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Turn a mendable exception into one line and an exit code."""
        if isinstance(error, KeyboardInterrupt):
            _say(f"Stopped. {self.next_step}")
            raise SystemExit(130) from None
        text = self.explain(error)
        if text is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
            return
        _say(f"error: {text}")
        raise SystemExit(error.exit_code if isinstance(error, UserError) else 2) from None

    def explain(self, error: BaseException | None) -> str | None:
        """Return the sentence for an exception that a user can mend, otherwise None."""
        if isinstance(error, UserError):
            return str(error)
        if isinstance(error, OSError) and is_disk_full(error):
            where = f" while writing {error.filename}" if error.filename else ""
            return f"disk is full{where}: free some space. {self.next_step}"
        if isinstance(error, PermissionError) and error.filename:
            return f"no permission to use {error.filename}: choose a folder that you may write to."
        return None


def _say(text: str) -> None:
    """Write a line to stderr as it is: no markup, no colour, no wrapping when piped."""
    Console(stderr=True, soft_wrap=True).print(text, markup=False, highlight=False)
