"""What the small trainings share: a budget in minutes, a learning rate schedule, batches."""

import logging
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

_LOG_SECONDS = 15

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How a small training goes about it.

    Args:
        minutes: Wall-clock time.
        steps: Exact number of steps instead of the minutes.
        batch_size: Images a step.
        lr: Peak learning rate of AdamW.
        seed: Of weights, order and augmentation.
    """

    minutes: float = 5.0
    steps: int | None = None
    batch_size: int = 64
    lr: float = 3e-3
    seed: int = 0


@dataclass
class Budget:
    """Iterate over training steps until the minutes are used up.

    A machine twice as fast takes twice the steps. How many it took is in `report`: give that as
    `steps` to repeat a training on any machine.

    Args:
        minutes: Wall-clock time, used only while `steps` is None. It counts from the end of the
            first step, which compiles and allocates.
        steps: Exact number of steps instead.
        name: What is trained, for the log.

    Attributes:
        loss: Latest loss, for the log; whoever iterates may set it.
        done: Steps so far.
        seconds: Time so far.
    """

    minutes: float
    steps: int | None = None
    name: str = "training"
    loss: float = math.nan

    def __post_init__(self) -> None:
        """Start the counts."""
        self.done = 0
        self.seconds = 0.0

    def __iter__(self) -> Iterator[float]:
        """Yield the fraction of the training that lies behind, from 0 to below 1."""
        shown, started = time.monotonic(), None
        fraction = 0.0
        while fraction < 1:
            yield fraction
            self.done += 1
            now = time.monotonic()
            started = started or now
            self.seconds = now - started
            fraction = self._fraction()
            if now - shown > _LOG_SECONDS:
                shown = now
                share = 100 * fraction
                _log.info(
                    "%s: %3.0f %%, step %d, loss %.4f", self.name, share, self.done, self.loss
                )

    def _fraction(self) -> float:
        if self.steps is not None:
            return self.done / self.steps
        return self.seconds / (60 * self.minutes) if self.minutes else 1.0

    @property
    def report(self) -> dict[str, float]:
        """Steps and seconds, for the results."""
        return {"steps": self.done, "seconds": self.seconds}


def one_cycle(fraction: float, *, warm_up: float = 0.1, floor: float = 0.01) -> float:
    """Return the learning rate's factor: up in a line, then down along a cosine to `floor`.

    Example:
        >>> [round(one_cycle(fraction), 2) for fraction in (0.0, 0.05, 0.1, 0.55, 1.0)]
        [0.01, 0.5, 1.0, 0.5, 0.01]
    """
    if fraction < warm_up:
        return max(floor, fraction / warm_up)
    cosine = (1 + math.cos(math.pi * (fraction - warm_up) / (1 - warm_up))) / 2
    return floor + (1 - floor) * cosine


def adamw(network: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW that decays kernels and matrices, not biases and normalisation."""
    decayed = [weight for weight in network.parameters() if weight.ndim > 1]
    free = [weight for weight in network.parameters() if weight.ndim <= 1]
    groups = [{"params": decayed}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay)


def apply_step(
    loss: Tensor, optimizer: torch.optim.Optimizer, lr: float, *, clip: float = 5.0
) -> None:
    """Take one optimiser step with the gradient norm clipped.

    The learning rate holds for all parameters, times `lr_factor` where a group has one.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_factor", 1.0)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    nn.utils.clip_grad_norm_(weights, clip)
    optimizer.step()


@torch.no_grad()
def refresh_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Average batch statistics anew, in float32, for the final weights; then stop training.

    The running averages lag behind the weights, and bf16 makes them coarse.
    """
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain average over the batches below
    for batch in batches:
        network(batch)
    network.eval()


def shuffled(rows: np.ndarray, batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """Yield batches of rows for ever; every row once before any row again."""
    generator = np.random.default_rng(seed)
    pool = np.empty(0, dtype=np.int64)
    while True:
        while len(pool) < batch_size:
            pool = np.concatenate([pool, generator.permutation(rows)])
        yield pool[:batch_size]
        pool = pool[batch_size:]


def to_images(pixels: np.ndarray) -> Tensor:
    """Turn uint8 pixels, (B, H, W, 3), into images, (B, 3, H, W), in [-1, 1]."""
    return torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
