"""Training for a fixed time: a clock that drives the learning rate and says when to stop."""

import logging
import math
import time

import torch

_log = logging.getLogger(__name__)


class TimedSchedule:
    """Warm up, then follow a cosine to zero, by elapsed time instead of steps.

    A machine twice as fast then takes twice the steps in the same minutes.

    Args:
        optimizer: Its first learning rate is the peak.
        minutes: Time budget.
        warmup: Share of the budget until the peak.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, minutes: float, *, warmup: float = 0.05
    ) -> None:
        self.optimizer = optimizer
        self.seconds = minutes * 60
        self.warmup = warmup
        self.peaks = [group["lr"] for group in optimizer.param_groups]
        self.start = time.monotonic()
        self.step_count = 0
        self._next_log = 0.0

    @property
    def share(self) -> float:
        """Part of the budget that is used, 0 to 1 and beyond."""
        return (time.monotonic() - self.start) / self.seconds

    @property
    def running(self) -> bool:
        """Whether there is time left."""
        return self.share < 1

    def step(self, **values: float) -> None:
        """Count one step, set the learning rate of the next, and log now and then."""
        self.step_count += 1
        share = min(self.share, 1.0)
        factor = min(share / self.warmup, 0.5 * (1 + math.cos(math.pi * share)))
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * max(factor, 1e-3)
        if share >= self._next_log:
            shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
            _log.info("%3.0f %%  step %d  %s", 100 * share, self.step_count, shown)
            self._next_log = share + 0.02
