"""Progress of long work: a bar on a terminal, an occasional plain line anywhere else."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

T = TypeVar("T")

PLAIN_INTERVAL = 15.0
"""Seconds between two lines where there is no terminal."""

Advance = Callable[[int], None]
"""Report that so many more are done."""


class _RateColumn(ProgressColumn):
    """How many are done per second, over the last moments."""

    def render(self, task: Task) -> Text:
        """Return the rate, or nothing before there is one."""
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="progress.data.speed")


@contextmanager
def progress(
    description: str, total: int, *, done: int = 0, console: Console | None = None
) -> Iterator[Advance]:
    """Show the progress of `total` pieces of work while the block runs.

    Args:
        description: What is being done, in the present tense.
        total: How many pieces there are.
        done: How many were finished before.
        console: Where to show it, by default stdout.

    Yields:
        A function to call with the number of pieces that were finished since the last call.
    """
    console = Console() if console is None else console
    if console.is_terminal:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeRemainingColumn(),
            console=console,
        ) as bar:
            task = bar.add_task(description, total=total, completed=done)
            yield lambda count: bar.advance(task, count)
    else:
        lines = _PlainLines(description, total, done, console)
        yield lines.advance
        lines.finish()


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield the items and show how far it is.

    Args:
        items: What to go through.
        description: What is being done, in the present tense.
        total: How many items there are, for an iterable without a length.
    """
    if total is None:
        items = items if hasattr(items, "__len__") else list(items)
        total = len(items)  # type: ignore[arg-type]
    with progress(description, total) as advance:
        for item in items:
            yield item
            advance(1)


class _PlainLines:
    """The same facts as the bar, as lines that suit a log file."""

    def __init__(self, description: str, total: int, done: int, console: Console) -> None:
        self.description, self.total, self.console = description, total, console
        self.before = self.done = done
        self.started = self.shown = time.monotonic()

    def advance(self, count: int) -> None:
        self.done += count
        if time.monotonic() - self.shown >= PLAIN_INTERVAL and self.done < self.total:
            self.shown = time.monotonic()
            rate = (self.done - self.before) / (self.shown - self.started)
            left = f", {(self.total - self.done) / rate:.0f} s left" if rate > 0 else ""
            self._line(f"{self.done}/{self.total}, {rate:.1f}/s{left}")

    def finish(self) -> None:
        seconds = time.monotonic() - self.started
        self._line(f"{self.done}/{self.total} in {seconds:.1f} s")

    def _line(self, text: str) -> None:
        self.console.print(
            f"{self.description}: {text}", markup=False, highlight=False, soft_wrap=True
        )
