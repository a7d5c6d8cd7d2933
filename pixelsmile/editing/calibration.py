"""Perceived intensity: the strength at which a judge reads what people ask for.

The strength of the paper's slider is a number that the model takes, not what anybody sees: a
judge reads almost nothing at first, then much, then no more. A calibration is one monotone curve
per expression, measured on people who were not trained on. "60 % happy" then asks for the strength
at which the judge reads 60 % of the way from what it reads at strength 0 to what it reads at the
top of the slider, on the average of those people. The slider ends where 95 % of the whole rise is
reached (`curves.SATURATION`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from pixelsmile.data.cache import folder_fingerprint
from pixelsmile.editing.curves import Curve
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS, NEUTRAL, canonical
from pixelsmile.files import whole_file
from pixelsmile.lora.files import find_file

CALIBRATION = "calibration.json"
"""Name of the file, beside the LoRA."""

VERSION = 1
"""Of the layout of the file."""


class _Editor(Protocol):
    @property
    def identity(self) -> str: ...
    @property
    def domain(self) -> str: ...


class Measured(NamedTuple):
    """What a calibration asks an editor for, known before one is loaded."""

    identity: str
    domain: str


@dataclass(frozen=True)
class Calibration:
    """One curve per expression, and what it was measured with.

    Attributes:
        curves: By name, all of `EXPRESSIONS`.
        editor: Hash of model and LoRA, as `ExpressionEditor.identity` has it.
        domain: `human` or `anime`.
        lora: Hash of the LoRA file; None is the base without one.
        measured: Anything else that says where the numbers come from: people, judge, seed, CLS.
    """

    curves: Mapping[str, Curve]
    editor: str
    domain: str
    lora: str | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, place: str | Path) -> Self:
        """Read the calibration beside a LoRA.

        Args:
            place: The LoRA's folder or file, or the JSON file itself.

        Raises:
            UserError: If there is none, it is damaged, or the LoRA beside it is another one.
        """
        path = calibration_file(place)
        if not path.is_file():
            raise UserError(
                f"No calibration at {path}, which perceived intensity needs: make it with "
                f"`python -m pixelsmile.calibrate lora={path.parent} domain=...`, or say strength=."
            )
        calibration = cls._read(path)
        beside = path.parent if Path(place) == path else Path(place)
        if calibration.lora is not None and _has_lora(beside):
            calibration._refuse_other_lora(path, lora_hash(beside))
        return calibration

    @classmethod
    def _read(cls, path: Path) -> Self:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["version"] != VERSION:
                raise ValueError(f"version {content['version']}, wanted {VERSION}")
            curves = {name: _curve(content["curves"][name]) for name in EXPRESSIONS}
            return cls(
                curves,
                str(content["editor"]),
                str(content["domain"]),
                content["lora"],
                content["measured"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} is no calibration that this version can read "
                f"({type(error).__name__}: {error}): run `python -m pixelsmile.calibrate` again."
            ) from None

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all."""
        content = {
            "version": VERSION,
            "editor": self.editor,
            "domain": self.domain,
            "lora": self.lora,
            "measured": dict(self.measured),
            "curves": {
                name: {key: list(value) for key, value in asdict(curve).items()}
                for name, curve in self.curves.items()
            },
        }
        with whole_file(path) as file:
            file.write((json.dumps(content, indent=1) + "\n").encode())

    def check(self, editor: _Editor) -> None:
        """Refuse to steer an editor that the curves were not measured with.

        Sizes, steps, seed and speed may differ; they are in `measured`.

        Raises:
            UserError: If its model, LoRA or domain is another one.
        """
        if editor.domain != self.domain:
            raise UserError(
                f"The calibration was measured with domain={self.domain}, this is "
                f"domain={editor.domain}: {self._again()}"
            )
        if editor.identity != self.editor:
            raise UserError(
                "The calibration is stale: it was measured with another model or LoRA "
                f"({self.editor}, now {editor.identity}): {self._again()}"
            )

    def strength(self, expression: str, perceived: float) -> float:
        """Return the strength to ask the editor for.

        Args:
            expression: Any of its names.
            perceived: In [0, 1]; 1 is the top of the slider.

        Raises:
            UserError: If it lies outside, the expression is unknown, or its curve does not rise.
        """
        curve = self._curve(expression)
        try:
            return curve.strength(perceived)
        except UserError as error:
            raise UserError(f"{canonical(expression)}: {error}") from None

    def strengths(self, levels: Sequence[float]) -> np.ndarray:
        """Return the strengths of all expressions at some perceived intensities, (12, S).

        An expression that the judge does not read keeps its bare strength: shares of the slider.

        Args:
            levels: (S,), in [0, 1].
        """
        curves = [self.curves[name] for name in EXPRESSIONS]
        return np.array(
            [
                [curve.strength(level) if curve.rises else level * curve.top for level in levels]
                for curve in curves
            ]
        )

    def perceived(self, expression: str, strength: float) -> float:
        """Return the perceived intensity at a strength, in [0, 1].

        Strengths beyond the slider count as its nearer end.

        Raises:
            UserError: If the expression is unknown.
        """
        return self._curve(expression).perceived(strength)

    def reach(self, expression: str) -> tuple[float, float]:
        """Return what the judge reads at perceived 0 and 1, on the average.

        Raises:
            UserError: If the expression is unknown.
        """
        return self._curve(expression).reach

    def _curve(self, expression: str) -> Curve:
        name = canonical(expression)
        if name == NEUTRAL:
            raise UserError("'neutral' has no intensity: choose one of the twelve expressions.")
        return self.curves[name]

    def _refuse_other_lora(self, path: Path, found: str) -> None:
        if found != self.lora:
            raise UserError(
                f"{path} is stale: it was measured with another LoRA ({self.lora}) than the one "
                f"beside it ({found}): {self._again()}"
            )

    def _again(self) -> str:
        return "run `python -m pixelsmile.calibrate` again, or say strength= instead of perceived=."


def _curve(node: Mapping[str, Any]) -> Curve:
    low, high = map(float, node["reach"])
    strengths, shares = (tuple(map(float, node[key])) for key in ("strengths", "shares"))
    return Curve(strengths, shares, (low, high))


def calibration_file(place: str | Path) -> Path:
    """Return where the calibration of a LoRA is: in its folder, or the path itself if it is JSON.

    Example:
        >>> calibration_file("runs/latest/lora/mine.safetensors").as_posix()
        'runs/latest/lora/calibration.json'
    """
    path = Path(place)
    if path.suffix == ".json":
        return path
    return (path.parent if path.suffix == ".safetensors" else path) / CALIBRATION


def lora_hash(place: str | Path) -> str:
    """Return the hash of a LoRA file, or of the one in a folder."""
    return folder_fingerprint(find_file(place))


def _has_lora(place: Path) -> bool:
    """Tell whether there is a LoRA that a calibration could belong to; `out=` may be elsewhere."""
    return place.is_file() or any(place.glob("*.safetensors"))
