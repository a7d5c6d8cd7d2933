"""What the runs on disk say: one result a run, and mean and spread over seeds of every row."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pixelsmile.ablation.rows import TABLE_3, Row, known_row
from pixelsmile.progress import progress
from pixelsmile.scoring import METRIC_NAMES

EARLY_LOSS = "early_loss"
"""Mean training loss over the first quarter of the steps, what Fig. 9 calls early training."""

LATE_LOSS = "late_loss"
"""Mean training loss over the last quarter."""

BASE = Row("base", "w/o training")
"""The base that every training starts from, measured as the first thing of a run."""

_FOLDER = re.compile(r"(human|anime)-(.+)-s(\d+)$")

Curve = dict[int, float]
"""Value by training step."""


@dataclass(frozen=True)
class Result:
    """One finished run.

    Attributes:
        row: Name of its row.
        domain: `human` or `anime`.
        seed: Of the training.
        values: By metric, with `EARLY_LOSS` and `LATE_LOSS` where the run has a curve.
        mscr: Of the base, and of the validations by steps done.
    """

    row: str
    domain: str
    seed: int
    values: Mapping[str, float]
    mscr: Curve


def run_name(domain: str, row: str, seed: int) -> str:
    """Return the name of a run's folder, which `collect` reads again.

    Example:
        >>> run_name("anime", "hinge", 2)
        'anime-hinge-s2'
    """
    return f"{domain}-{row}-s{seed}"


def collect(out: Path) -> list[Result]:
    """Return all finished runs in the order of the table; the base counts as a row of its own."""
    folders, results = sorted(out.glob("*-s*")), []
    with progress("Reading runs", len(folders)) as advance:
        for folder in folders:
            results += _read(folder)
            advance(1)
    return in_order(results)


def in_order(results: Iterable[Result]) -> list[Result]:
    """Return results in the order of the table; of two for the same run, the later."""
    order = [BASE.name, *(row.name for row in TABLE_3)]

    def place(result: Result) -> tuple[Any, ...]:
        known = result.row in order
        position = order.index(result.row) if known else len(order)
        return (result.domain != "human", position, result.row, result.seed)

    unique = {(one.domain, one.row, one.seed): one for one in results}
    return sorted(unique.values(), key=place)


def _read(folder: Path) -> list[Result]:
    """Return the results of a run folder: its own, and the base's; nothing if it is unfinished."""
    match = _FOLDER.match(folder.name)
    metrics = folder / "metrics.json"
    if match is None or not metrics.is_file():
        return []
    domain, row, seed = match[1], match[2], int(match[3])
    measured = json.loads(metrics.read_text())
    loss, validated = curves(folder)
    # By steps done. The base, with which not every run begins itself, has its place at 0.
    mscr = {0: float(measured["before"]["mscr"]["value"])}
    mscr |= {step + 1: value for step, value in validated.items() if step}
    values = {name: float(measured["after"][name]["value"]) for name in METRIC_NAMES}
    if loss:
        values |= {EARLY_LOSS: early(loss), LATE_LOSS: late(loss)}
    base = {name: float(measured["before"][name]["value"]) for name in METRIC_NAMES}
    return [
        Result(row, domain, seed, values, mscr),
        Result(BASE.name, domain, seed, base, {}),
    ]


def curves(folder: Path) -> tuple[Curve, Curve]:
    """Return training loss and mSCR by step; of steps that a resumed run did twice, the last."""
    board = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    board.Reload()
    known = board.Tags()["scalars"]

    def curve(tag: str) -> Curve:
        events = board.Scalars(tag) if tag in known else []
        return {event.step: event.value for event in sorted(events, key=lambda e: e.wall_time)}

    return dict(sorted(curve("train/loss").items())), dict(sorted(curve("val/mscr").items()))


def early(loss: Curve) -> float:
    """Return the mean loss over the first quarter of the steps, at least of the first one known.

    Example:
        >>> early({0: 4.0, 10: 2.0, 20: 1.0, 30: 1.0, 40: 1.0})
        3.0
        >>> early({4: 2.0})
        2.0
    """
    end = max(max(loss) / 4, min(loss))
    return fmean(value for step, value in loss.items() if step <= end)


def late(loss: Curve) -> float:
    """Return the mean loss over the last quarter of the steps.

    Example:
        >>> late({0: 4.0, 10: 2.0, 20: 1.0, 30: 1.5, 40: 0.5})
        1.0
    """
    start = 0.75 * max(loss)
    return fmean(value for step, value in loss.items() if step >= start)


@dataclass(frozen=True)
class Summary:
    """One row of the table in one domain.

    Attributes:
        row: The row.
        domain: The domain.
        seeds: That are finished.
        values: By metric, in the order of the seeds.
    """

    row: Row
    domain: str
    seeds: tuple[int, ...]
    values: Mapping[str, tuple[float, ...]]

    def mean(self, metric: str) -> float:
        """Return the mean over seeds; nan if a seed has nothing that was requested."""
        return fmean(self.values[metric])

    def spread(self, metric: str) -> float:
        """Return the standard deviation over seeds, nan for a single one."""
        values = self.values[metric]
        return stdev(values) if len(values) > 1 else math.nan


def summarise(results: Iterable[Result]) -> list[Summary]:
    """Return one summary for each row and domain, in the order of the results."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.domain, result.row), []).append(result)
    return [
        Summary(
            row=BASE if name == BASE.name else known_row(name),
            domain=domain,
            seeds=tuple(result.seed for result in group),
            values={m: tuple(result.values[m] for result in group) for m in METRIC_NAMES},
        )
        for (domain, name), group in groups.items()
    ]
