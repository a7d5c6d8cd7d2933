"""What one visitor has open and has made. Each browser tab owns one; nothing in it is shared."""

from dataclasses import dataclass, field, replace
from typing import Any

from pixelsmile.errors import UserError
from pixelsmile.studio.results import Face, Picture, Result, Settings


@dataclass
class Session:
    """The open face and the history of one visitor.

    Attributes:
        room: How many pictures are kept; the oldest results make room for new ones.
        face: The open face, or None.
        results: Oldest first.
        dropped: How many results had to go.
    """

    room: int = 200
    face: Face | None = None
    results: list[Result] = field(default_factory=list)
    dropped: int = 0
    _numbers: int = 0

    def opened(self) -> Face:
        """Return the open face.

        Raises:
            UserError: If there is none.
        """
        if self.face is None:
            raise UserError("No face is open: upload an image or choose an example first.")
        return self.face

    def add(
        self,
        kind: str,
        face: Face,
        settings: Settings,
        pictures: tuple[Picture, ...],
        model: dict[str, Any],
    ) -> Result:
        """Keep a render and return it.

        The face is given, as another one may have been opened while it was rendered.

        While one slider is dragged, its blends follow each other: each takes the place of the one
        before, so that the history holds decisions and not every step on the way.
        """
        last = self.results[-1] if self.results else None
        result = Result(self._numbers + 1, kind, face, settings, pictures, model)
        if last is not None and _same_drag(last, result):
            result = replace(result, number=last.number)
            self.results[-1] = result
            return result
        self._numbers += 1
        self.results.append(result)
        while len(self.results) > 1 and self.pictures > self.room:
            del self.results[0]
            self.dropped += 1
        return result

    @property
    def pictures(self) -> int:
        """How many pictures the history holds."""
        return sum(len(result.pictures) for result in self.results)

    def find(self, number: int) -> Result:
        """Return a result by its number.

        Raises:
            UserError: If it is not there, or not any more.
        """
        for result in self.results:
            if result.number == number:
                return result
        raise UserError(f"Result {number} is not in the history any more: choose another one.")

    def clear(self) -> None:
        """Forget all results; the face stays open."""
        self.results.clear()
        self.dropped = 0


def _same_drag(before: Result, after: Result) -> bool:
    """Tell whether two blends differ by one slider alone, one that was in use before."""
    if before.kind != "blend" or after.kind != "blend" or before.face is not after.face:
        return False
    old, new = before.settings, after.settings
    if replace(old, weights=new.weights) != new:
        return False
    moved = [(a, b) for a, b in zip(old.weights, new.weights, strict=True) if a != b]
    return not moved or (len(moved) == 1 and moved[0][0] != 0 and moved[0][1] != 0)
