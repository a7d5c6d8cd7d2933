"""Bad items of a set: the first one stops the reading, or all are left out and counted."""

import reprlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from pixelsmile.errors import UserError

MODES = ("stop", "skip")
_SHOWN = 3
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = 80


class BadItemError(UserError):
    """One item of a set that cannot be used.

    Args:
        kind: One word for what is wrong, by which items are counted: see `KINDS`.
        text: The sentence: place, value, and the way out.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.kind, str(self))


class UnusableSetError(UserError):
    """A set of which nothing usable is left, or that is wrong as a whole.

    Args:
        text: The sentence.
        faults: The bad items that were left out before.
    """

    def __init__(self, text: str, faults: "Faults | None" = None) -> None:
        found = tuple(faults.found) if faults is not None else ()
        because = f" First of {len(found)} bad items: {found[0]}" if found else ""
        super().__init__(text + because)
        self.faults = found


KINDS = {
    "line": "broken lines",
    "score": "scores out of range",
    "box": "boxes or landmarks that are no such thing",
    "file": "missing or unreadable files",
    "link": "paths that leave their folder",
    "duplicate": "images named twice",
    "neutral": "identities without a neutral image",
    "pair": "identities without a pair to contrast",
    "split": "identities in two splits",
    "video": "videos that cannot be used",
    "face": "images without a face",
}
"""Kinds of bad items, and how they are called in the plural."""


class Faults:
    """What a reader does with bad items.

    Args:
        on_error: `stop` raises the first one, `skip` keeps them here and goes on.

    Raises:
        UserError: If `on_error` is neither.

    Example:
        >>> faults = Faults("skip")
        >>> with faults.item():
        ...     raise BadItemError("file", "a.png is missing.")
        >>> len(faults.found)
        1
    """

    def __init__(self, on_error: str = "stop") -> None:
        if on_error not in MODES:
            raise UserError(f"data.on_error={on_error}: choose one of {', '.join(MODES)}.")
        self.on_error = on_error
        self.found: list[BadItemError] = []

    def add(self, fault: BadItemError) -> None:
        """Raise a fault, or keep it."""
        if self.on_error == "stop":
            raise fault
        self.found.append(fault)

    @contextmanager
    def item(self) -> Iterator[None]:
        """Guard the work on one item."""
        try:
            yield
        except BadItemError as fault:
            self.add(fault)


def summary(found: list[BadItemError]) -> str | None:
    """Return one line that counts what was left out and names the first few, or None.

    Example:
        >>> summary([BadItemError("file", "a.png is missing.")])
        'Left out 1 bad item (data.on_error=skip; 1 missing or unreadable files): a.png is missing.'
    """
    if not found:
        return None
    counts = Counter(fault.kind for fault in found)
    kinds = ", ".join(f"{count} {KINDS[kind]}" for kind, count in counts.most_common())
    first = " | ".join(" ".join(str(fault).split()) for fault in found[:_SHOWN])
    more = f" | and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    items = "item" if len(found) == 1 else "items"
    return f"Left out {len(found)} bad {items} (data.on_error=skip; {kinds}): {first}{more}"


def shown(value: object) -> str:
    """Return a value for a message: short, on one line, and printable on any terminal."""
    text = _SHORT.repr(value)
    return text if text.isprintable() else ascii(text)
