"""Steps whose loss or gradient is not finite: seen, counted, and never taken."""

from typing import Any

import torch
from torch import Tensor


class StepGuard:
    """Decide for each optimizer step whether it may be taken.

    Attributes:
        skipped: Steps that were not taken so far.
        in_a_row: Of them the latest ones without a good step between.
    """

    def __init__(self) -> None:
        self.skipped = 0
        self.in_a_row = 0
        self._losses: list[Tensor] = []

    def see(self, loss: Tensor) -> None:
        """Remember the loss, (), of one of the batches that a step accumulates."""
        self._losses.append(loss.detach())

    def judge(self, gradient_norm: Tensor) -> bool:
        """Tell whether everything behind a step is finite; one look at the device a step.

        Args:
            gradient_norm: (), on any device: offloaded gradients are not where the losses are.
        """
        seen = (*self._losses, gradient_norm)
        values = torch.stack([value.to(gradient_norm.device) for value in seen])
        self._losses = []
        return bool(values.isfinite().all())

    def count(self, taken: bool) -> None:
        """Count a step that was taken or not."""
        self.skipped += not taken
        self.in_a_row = 0 if taken else self.in_a_row + 1

    def state_dict(self) -> dict[str, Any]:
        """Return the counts."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting."""
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]
