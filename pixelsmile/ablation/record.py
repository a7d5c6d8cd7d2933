"""Results as files: those of a table, and the record that the page of findings is made of."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pixelsmile.ablation.results import (
    EARLY_LOSS,
    LATE_LOSS,
    Result,
    Summary,
    in_order,
    summarise,
)
from pixelsmile.errors import UserError
from pixelsmile.files import whole_file
from pixelsmile.scoring import METRIC_NAMES


def joined(path: Path, settings: Mapping[str, Any], results: Sequence[Result]) -> list[Result]:
    """Return the results of a record and those of runs on disk, which count where both have one.

    Args:
        path: Of the record; it may be missing.
        settings: Of the runs on disk.
        results: Of the runs on disk.

    Raises:
        UserError: If the record cannot be read, or its runs had other settings.
    """
    if not path.is_file():
        return list(results)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        there = content["settings"]
        recorded = [_result(run) for run in content["runs"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no record of an ablation ({error!r}): restore it, or name another with "
            "record=."
        ) from None
    if results and there != settings:
        raise UserError(
            f"{path} records runs with other settings ({there}) than those on disk ({settings}), "
            "and rows are only comparable under the same: choose another file with record=."
        )
    return in_order([*recorded, *results])


def _result(run: Mapping[str, Any]) -> Result:
    mscr = {int(step): _read(value) for step, value in run["mscr"].items()}
    values = {str(name): _read(value) for name, value in run["values"].items()}
    return Result(str(run["row"]), str(run["domain"]), int(run["seed"]), values, mscr)


def write_record(path: Path, settings: Mapping[str, Any], results: Sequence[Result]) -> None:
    """Write what `joined` reads: a line a run, so that a new seed is a new line."""
    runs = [
        json.dumps(
            {
                "domain": one.domain,
                "row": one.row,
                "seed": one.seed,
                "values": {name: _number(value) for name, value in one.values.items()},
                "mscr": {step: _number(value) for step, value in one.mscr.items()},
            }
        )
        for one in results
    ]
    text = f'{{"settings": {json.dumps(settings)},\n"runs": [\n' + ",\n".join(runs) + "\n]}\n"
    with whole_file(path) as file:
        file.write(text.encode())


def write_results(out: Path, results: Sequence[Result]) -> None:
    """Write `results.json`, rows with mean and spread, and `results.csv`, one line a run."""
    rows = [_as_json(summary) for summary in summarise(results)]
    with whole_file(out / "results.json") as file:
        file.write(json.dumps({"rows": rows}, indent=2).encode())
    columns: list[str] = ["domain", "row", "seed", *METRIC_NAMES, EARLY_LOSS, LATE_LOSS]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for one in results:
        named = {"domain": one.domain, "row": one.row, "seed": one.seed}
        writer.writerow(named | dict(one.values))
    with whole_file(out / "results.csv") as file:
        file.write(text.getvalue().encode())


def _as_json(summary: Summary) -> dict[str, Any]:
    paper = summary.row.paper
    metrics = {
        name: {
            "mean": _number(summary.mean(name)),
            "spread": _number(summary.spread(name)),
            "values": [_number(value) for value in summary.values[name]],
            "paper": float(paper[name]) if name in paper else None,
        }
        for name in METRIC_NAMES
    }
    return {
        "domain": summary.domain,
        "row": summary.row.name,
        "title": summary.row.title,
        "seeds": list(summary.seeds),
        "metrics": metrics,
    }


def _number(value: float) -> float | None:
    """Return what JSON has for a number, which knows no nan."""
    return None if math.isnan(value) else value


def _read(value: float | None) -> float:
    return math.nan if value is None else float(value)
