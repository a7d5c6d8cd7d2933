"""At which strengths every task is edited, and which of them each setting reads."""

import math
from dataclasses import dataclass
from typing import Any

from pixelsmile.errors import UserError

_DIGITS = 6  # of a strength, so that 3 * 0.1 and 0.3 are one


@dataclass(frozen=True)
class Protocol:
    """The two settings of the paper.

    Attributes:
        strength: Of *general editing*, one image a task.
        num_strengths: S of *linear control*, evenly spaced from 0 to `strength_max`; 0 leaves the
            setting out, for tools that know no strength.
        strength_max: The last of them.
        seed: Of the noise of the edits.

    Raises:
        UserError: If a number is out of range.

    Example:
        >>> Protocol(strength=1.0, num_strengths=3, strength_max=1.5).strengths
        (0.0, 0.75, 1.0, 1.5)
    """

    strength: float = 1.0
    num_strengths: int = 5
    strength_max: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values, which come from a config."""
        for name in ("strength", "strength_max"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UserError(f"protocol.{name}={value}: give a number above 0.")
        if self.num_strengths not in (0, *range(2, 101)):
            raise UserError(
                f"protocol.num_strengths={self.num_strengths}: give 2 or more for a curve, or 0 "
                "to leave linear control out."
            )

    @property
    def linear(self) -> tuple[float, ...]:
        """The strengths of linear control."""
        last = self.num_strengths - 1
        return tuple(
            round(self.strength_max * step / last, _DIGITS) for step in range(self.num_strengths)
        )

    @property
    def general(self) -> float:
        """The strength of general editing."""
        return round(float(self.strength), _DIGITS)

    @property
    def strengths(self) -> tuple[float, ...]:
        """All strengths at which a task is edited, increasing."""
        return tuple(sorted({*self.linear, self.general}))

    def describe(self) -> dict[str, Any]:
        """Return what the edits depend on."""
        return {"strength": self.general, "linear": list(self.linear), "seed": self.seed}


def edit_name(task: str, strength: float) -> str:
    """Return the file name of an edit.

    Example:
        >>> edit_name("human_09100_fear", 0.5)
        'human_09100_fear_0.5.png'
    """
    return f"{task}_{float(strength)}.png"
