"""What a person asks for, as rows for the editor: expressions, strengths, blends.

Values come from the command line or a config, so everything is checked here, in the user's words.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pixelsmile.errors import UserError
from pixelsmile.expressions import BASIC, EXPRESSIONS, NEUTRAL, canonical, index

SETS: dict[str, tuple[str, ...]] = {"all": EXPRESSIONS, "basic": BASIC}
"""Words that stand for several expressions."""

MAX_STRENGTH = 4.0
"""Beyond it nothing but noise was ever seen; it catches 80 for 0.8."""

MAX_STEPS = 1001


@dataclass(frozen=True)
class Mix:
    """A direction to go in: one expression, or several with weights.

    Attributes:
        weights: Weight by name, of distinct expressions.
    """

    weights: tuple[tuple[str, float], ...]

    @property
    def single(self) -> str | None:
        """The one expression, if it is one at its own weight."""
        names = [name for name, weight in self.weights if weight == 1]
        return names[0] if len(self.weights) == len(names) == 1 else None

    @property
    def name(self) -> str:
        """A name for files: `happy`, or `happy0.6+surprised0.4`."""
        if self.single is not None:
            return self.single
        return "+".join(f"{name}{weight:g}" for name, weight in self.weights)

    @property
    def label(self) -> str:
        """A name for people, one line an expression."""
        if self.single is not None:
            return self.single
        return "\n".join(f"{weight:g} {name}" for name, weight in self.weights)

    def only(self, key: str) -> str:
        """Return the name of the one expression.

        Raises:
            UserError: If it is a blend; `key` is what the user said that takes none.
        """
        if self.single is None:
            raise UserError(f"{key} takes one expression, not a blend: say expression=.")
        return self.single

    def row(self, strength: float) -> Tensor:
        """Return the strength of each of the twelve, (12,)."""
        row = torch.zeros(len(EXPRESSIONS))
        for name, weight in self.weights:
            row[index(name)] = weight * strength
        return row


@dataclass(frozen=True)
class Target:
    """What a judge shall read.

    Attributes:
        score: Of the expression, in [0, 1].
        min_identity: Least mean cosine of the recognisers to the source, in [-1, 1].
    """

    score: float
    min_identity: float = -1.0


def read_target(value: Any) -> Target:
    """Return the target of `target={score: 0.6, min_identity: 0.6}`.

    Raises:
        UserError: If it is no such mapping, or a number is out of range.
    """
    if not isinstance(value, Mapping) or not {"score"} <= set(value) <= {"score", "min_identity"}:
        raise UserError(
            f"target={value}: say 'target={{score:0.6,min_identity:0.6}}', in quotes for the shell."
        )
    target = Target(**{str(key): _number(value[key], f"target.{key}") for key in value})
    if not 0 <= target.score <= 1:
        raise UserError(f"target.score={target.score:g}: a judge's scores lie in 0 to 1.")
    if not -1 <= target.min_identity <= 1:
        raise UserError(f"target.min_identity={target.min_identity:g}: cosines lie in -1 to 1.")
    return target


def read_mixes(expression: Any, blend: Any) -> list[Mix]:
    """Return the directions of `expression=` or `blend=`.

    Args:
        expression: A name, `all`, `basic`, or a list of these; None with a blend.
        blend: Weight by name, or None.

    Raises:
        UserError: If neither or both are given, or one of them makes no sense.

    Example:
        >>> [mix.name for mix in read_mixes(["happy", "Sadness", "happy"], None)]
        ['happy', 'sad']
        >>> read_mixes(None, {"happy": 0.6, "surprised": 0.4})[0].name
        'happy0.6+surprised0.4'
    """
    if (expression is None) == (blend is None):
        raise UserError(
            "Say what to show: expression=happy (or a list, all, basic), or a blend such as "
            "'blend={happy:0.6,surprised:0.4}', one of the two."
        )
    if blend is not None:
        return [_read_blend(blend)]
    words = list(expression) if _is_list(expression) else [expression]
    names: dict[str, None] = {}
    for word in words:
        if not isinstance(word, str):
            raise UserError(f"expression={word}: give a name, such as happy, or all or basic.")
        for name in SETS.get(word.strip().lower(), (word,)):
            names[_expression(name)] = None
    if not names:
        raise UserError("expression=[]: give at least one name, or all or basic.")
    return [Mix(((name, 1.0),)) for name in names]


def _expression(name: str) -> str:
    word = canonical(name)
    if word == NEUTRAL:
        raise UserError("expression=neutral is strength 0 of any other: say strength=0.")
    return word


def _read_blend(blend: Any) -> Mix:
    if not isinstance(blend, Mapping) or not blend:
        raise UserError(
            f"blend={blend}: give weights by name, in quotes for the shell: "
            "'blend={happy:0.6,surprised:0.4}'."
        )
    weights: dict[str, float] = {}
    for name, weight in blend.items():
        word = _expression(str(name))
        if word in weights:
            raise UserError(f"blend names {word} twice: add the weights up.")
        weights[word] = _number(weight, f"blend.{name}")
    return Mix(tuple(weights.items()))


def read_strengths(value: Any, key: str = "strength", bound: float = MAX_STRENGTH) -> list[float]:
    """Return the numbers of a strength: one, a list, or a range.

    Args:
        value: A number, a list, `"start:stop:num"`, or a mapping of start, stop and num; a range
            has both its ends.
        key: What the user calls it.
        bound: Largest absolute value.

    Raises:
        UserError: If it is none of these, empty, or out of bounds.

    Example:
        >>> read_strengths(0.8), read_strengths([0, "0.5"]), read_strengths("0:1:5")
        ([0.8], [0.0, 0.5], [0.0, 0.25, 0.5, 0.75, 1.0])
    """
    if isinstance(value, str) and value.count(":") == 2:
        value = dict(zip(("start", "stop", "num"), value.split(":"), strict=True))
    if isinstance(value, Mapping):
        numbers = _range(value, key)
    else:
        values = list(value) if _is_list(value) else [value]
        numbers = [_number(item, key) for item in values]
    if not numbers:
        raise UserError(f"{key}=[]: give at least one number.")
    for number in numbers:
        if abs(number) > bound:
            raise UserError(f"{key}={number:g}: give numbers from {-bound:g} to {bound:g}.")
    return list(dict.fromkeys(number + 0.0 for number in numbers))  # no -0, nothing twice


def _range(value: Mapping[Any, Any], key: str) -> list[float]:
    if set(value) != {"start", "stop", "num"}:
        raise UserError(f"{key}={dict(value)}: a range is {key}=start:stop:num, such as 0:1:5.")
    start, stop = (_number(value[name], f"{key}.{name}") for name in ("start", "stop"))
    num = _number(value["num"], f"{key}.num")
    if num != int(num) or not 2 <= num <= MAX_STEPS:
        raise UserError(f"{key}.num={num:g}: give a whole number from 2 to {MAX_STEPS}.")
    steps = int(num) - 1
    return [round(start + (stop - start) * step / steps, 6) for step in range(steps + 1)]


def _number(value: Any, key: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{key}={value} is no number: say {key}=0.8.")
    return number


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def read_box(value: Any) -> tuple[float, ...] | None:
    """Return the box of `box=[x0,y0,x1,y1]`.

    Raises:
        UserError: If it is not four numbers, left before right and top before bottom.
    """
    if value is None:
        return None
    if _is_list(value) and len(value) == 4:
        box = tuple(_number(number, "box") for number in value)
        if box[0] < box[2] and box[1] < box[3]:
            return box
    raise UserError(
        f"box={value}: give [x0,y0,x1,y1], left, top, right and bottom of the face in pixels."
    )
