"""How far to go: strengths as they are, by what people see, or until a judge reads a score."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from pixelsmile.editing.editor import ExpressionEditor
from pixelsmile.editing.requests import Mix
from pixelsmile.editing.source import Source


@dataclass(frozen=True)
class Level:
    """One step of a sweep.

    Attributes:
        name: For file names.
        label: For people.
        asked: What was asked for, for JSON.
    """

    name: str
    label: str
    asked: dict[str, Any]


@dataclass(frozen=True)
class Scene:
    """An image that is about to be edited.

    Attributes:
        editor: That edits it.
        source: The image, encoded.
        points: (5, 2), landmarks in pixels of the edit, or None where nobody knows them.
        seed: Of the noise.
        speed: As of `ExpressionEditor.render`.
    """

    editor: ExpressionEditor
    source: Source
    points: Tensor | None
    seed: int
    speed: str


@dataclass(frozen=True)
class Reached:
    """The strength that a level came to on one image, and what else there is to say about it."""

    strength: float
    facts: dict[str, Any]


class Levels(Protocol):
    """The steps of every direction."""

    needs_points: bool
    """Whether landmarks are looked for."""

    def of(self, mix: Mix) -> list[Level]:
        """Return the steps of a direction; they are known before any image is."""
        ...

    def reach(self, mix: Mix, scene: Scene) -> list[Reached]:
        """Return the strength of each of them on an image."""
        ...


class Strengths:
    """The same strengths everywhere.

    Args:
        strengths: In the order of the sweep.
    """

    needs_points = False

    def __init__(self, strengths: Sequence[float]) -> None:
        self.strengths = tuple(strengths)

    def of(self, mix: Mix) -> list[Level]:
        """Return a level for each strength."""
        return [Level(f"{s:g}", f"{s:g}", {"strength": s}) for s in self.strengths]

    def reach(self, mix: Mix, scene: Scene) -> list[Reached]:
        """Return the strengths."""
        return [Reached(s, {}) for s in self.strengths]
