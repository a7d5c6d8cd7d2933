"""How far to go: strengths as they are, by what people see, or until a judge reads a score."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Protocol

from torch import Tensor

from pixelsmile.editing.calibration import Calibration
from pixelsmile.editing.editor import ExpressionEditor
from pixelsmile.editing.requests import Mix, Target
from pixelsmile.editing.source import Source
from pixelsmile.editing.target import find_strength
from pixelsmile.errors import UserError
from pixelsmile.scoring import FaceScorer


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
    pixels: Tensor | None = None
    """(3, H, W) of the edit in [-1, 1], where it was made on the way."""


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


class Perceived:
    """Strengths at which people see as much as they ask for.

    Args:
        shares: In [0, 1], of what can be reached.
        calibration: The curves of this model and LoRA.
    """

    needs_points = False

    def __init__(self, shares: Sequence[float], calibration: Calibration) -> None:
        self.shares = tuple(shares)
        self.calibration = calibration

    def of(self, mix: Mix) -> list[Level]:
        """Return a level for each share.

        Raises:
            UserError: If the direction is a blend, or cannot be seen at all.
        """
        return [
            Level(
                f"perceived{share:g}",
                f"{share:.0%}",
                {"perceived": share, "calibrated": reached.strength},
            )
            for share, reached in zip(self.shares, self.reach(mix), strict=True)
        ]

    def reach(self, mix: Mix, scene: Scene | None = None) -> list[Reached]:
        """Return the calibrated strengths, the same on every image."""
        name = mix.only("perceived=")
        return [Reached(self.calibration.strength(name, share), {}) for share in self.shares]


class Judged:
    """The strength at which a judge reads a score, searched on each image.

    Args:
        target: The score, and how much of the identity must stay.
        load_scorer: Loads judge and recognisers, once, when they are needed.
    """

    needs_points = True

    def __init__(self, target: Target, load_scorer: Callable[[], FaceScorer]) -> None:
        self.target = target
        self.load_scorer = load_scorer

    @cached_property
    def scorer(self) -> FaceScorer:
        """Judge and recognisers."""
        return self.load_scorer()

    def of(self, mix: Mix) -> list[Level]:
        """Return the one level.

        Raises:
            UserError: If the direction is a blend.
        """
        mix.only("target=")
        score = f"{self.target.score:g}"
        return [Level(f"target{score}", f"judged {score}", {"target": asdict(self.target)})]

    def reach(self, mix: Mix, scene: Scene) -> list[Reached]:
        """Return the strength that reads the score in the image.

        Raises:
            UnreachableError: If no strength does.
            UserError: If nobody knows where the eyes are.
        """
        if scene.points is None:
            raise UserError(
                "target= compares faces, and no landmarks were found in this picture: choose one "
                "that shows the face from the front, or say strength= instead. See "
                "`python -m pixelsmile.doctor` for what finds faces here."
            )
        found = find_strength(
            scene.editor,
            self.scorer,
            scene.source,
            scene.points,
            mix.only("target="),
            self.target.score,
            min_identity=self.target.min_identity,
            seed=scene.seed,
            speed=scene.speed,
        )
        facts = {"score": round(found.score, 4), "identity": round(found.identity, 4)}
        return [Reached(found.strength, facts, found.pixels)]
