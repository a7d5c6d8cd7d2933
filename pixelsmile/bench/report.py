"""Write the report of a run: Markdown, one HTML file, JSON and CSV, all from what is on disk."""

import base64
import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from pixelsmile.bench import figures, paper
from pixelsmile.bench.folder import BenchFolder
from pixelsmile.bench.measure import GENERAL, LINEAR
from pixelsmile.bench.summary import Summary, summarise
from pixelsmile.bench.table import Edit, read_table
from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.files import whole_file
from pixelsmile.scoring import LOWER_IS_BETTER, METRIC_TITLES

SETTINGS = (
    ("general", "table_1", "Table 1", "General editing", GENERAL),
    ("linear", "table_2", "Table 2", "Linear control", LINEAR),
)
"""Setting, table of the paper, its name, ours, and the metrics in its order."""

FACES_FROM = {
    "given": "points given with the tasks, no face looked for",
    "template": "points of a template, no face looked for",
    "detected": "a face looked for in every image",
}
"""Where the five points are from, by the kind of the landmarks."""


def write_report(folder: BenchFolder, beside: Sequence[BenchFolder] = ()) -> Summary:
    """Write all files of the report into the folder of the run, and return the numbers.

    Nothing but the folders is read: no model, no judge and no network.

    Args:
        folder: Of the run.
        beside: Other runs, whose rows and curves are shown as well.

    Returns:
        The content of metrics.json.
    """
    table = read_table(folder)
    summary = summarise(folder, table)
    others = [summarise(other, read_table(other)) for other in beside]
    for other, place in zip(others, beside, strict=True):
        if other["label"] in [run["label"] for run in [summary, *others] if run is not other]:
            other["label"] += f" ({place.path.name})"  # two rows must not look like one
    runs = [summary, *others]
    curves = {run["label"]: run["trade_off"] for run in runs if run["trade_off"]}
    counts = np.array(summary["confusion"])
    pictures = {
        "confusion": figures.confusion_figure(counts, EXPRESSIONS),
        "trade_off": figures.trade_off_picture(curves),
    }
    _write(folder.path / "metrics.json", as_json(summary))
    _write(folder.path / "metrics.csv", metrics_csv(runs))
    _write(folder.path / "images.csv", images_csv(table, summary["recognisers"]))
    for name, picture in pictures.items():
        with whole_file(folder.path / f"{name}.png") as file:
            file.write(picture["png"])
    shown = {
        "run": summary,
        "tables": [_table(*setting, runs) for setting in SETTINGS if summary[setting[0]]],
        "expressions": EXPRESSIONS,
        "faces_from": FACES_FROM[summary["landmarks"]["kind"]],
        "examples": _examples(folder, table),
    }
    svg = {name: picture["svg"].decode() for name, picture in pictures.items()}
    svg = {name: text[text.index("<svg") :] for name, text in svg.items()}
    environment = _environment()
    for name, more in (("report.md", {}), ("report.html", {"svg": svg})):
        text = environment.get_template(f"{name}.jinja").render(**shown, **more)
        _write(folder.path / name, text)
    return summary


def as_json(summary: Summary) -> str:
    """Return numbers as JSON, nan and infinity as null: a number that is not there is none."""
    return json.dumps(_plain(summary), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def metrics_csv(runs: Sequence[Summary]) -> str:
    """Return one line a metric and run."""
    rows = [
        [run["label"], run["domain"], run["judge"]["id"], setting, name, *number.values()]
        for run in runs
        for setting, *_ in SETTINGS
        for name, number in run[setting].items()
    ]
    head = ("run", "domain", "judge", "setting", "metric", "value", "low", "high", "n", "of")
    return _csv(head, rows)


def images_csv(table: Sequence[Edit], recognisers: Iterable[str]) -> str:
    """Return one line an edit, with everything that was measured on it."""
    rows = [
        [
            edit.path.name,
            edit.task.name,
            edit.task.id,
            edit.task.expression,
            edit.strength,
            edit.judged,
            edit.seen,
            edit.score,
            *(edit.scores or [None] * len(EXPRESSIONS)),
            edit.identity,
            edit.similarity,
            *(edit.cosines[name] for name in recognisers),
        ]
        for edit in table
    ]
    head = ("file", "task", "id", "expression", "strength", "judged", "seen", "score")
    return _csv((*head, *EXPRESSIONS, "identity", "similarity", *recognisers), rows)


def _csv(head: Iterable[str], rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return buffer.getvalue()


def _table(
    setting: str,
    key: str,
    printed: str,
    title: str,
    metrics: Sequence[str],
    runs: Sequence[Summary],
) -> dict[str, Any]:
    """Return a table of the paper with our rows below it."""
    heads = [f"{METRIC_TITLES[name]} {'↓' if name in LOWER_IS_BETTER else '↑'}" for name in metrics]
    return {
        "title": title,
        "printed": printed,
        "judge": paper.JUDGE,
        "metrics": metrics,
        "heads": heads,
        "paper": paper.tables()[key],
        "ours": [run for run in runs if run[setting]],
        "setting": setting,
    }


def _examples(folder: BenchFolder, table: Sequence[Edit]) -> dict[str, list[dict[str, Any]]]:
    strips = figures.examples(table, folder.strengths, folder.record["protocol"]["strength"])
    return {
        kind: [
            {
                "task": strip[0].task,
                "source": _uri(figures.thumbnail(strip[0].task.image)),
                "edits": [(edit, _thumbnail(edit)) for edit in strip],
            }
            for strip in chosen
        ]
        for kind, chosen in strips.items()
    }


def _thumbnail(edit: Edit) -> str | None:
    return _uri(figures.thumbnail(edit.path)) if edit.path.is_file() else None


def _uri(data: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pixelsmile.bench", "templates"),
        autoescape=select_autoescape(["html.jinja"], default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "cell": _cell}
    return environment


def _number(value: float | None, digits: int = 3) -> str:
    """Show a number, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "\N{EN DASH}"
    return f"{value:.{digits}f}"


def _cell(text: str) -> str:
    """Keep a text from ending a cell of a Markdown table."""
    return str(text).replace("|", "\\|").replace("\n", " ")


def _write(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text.encode())
