"""Is the difference of two runs real? A paired bootstrap over the faces that both have edited."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pixelsmile.bench import bootstrap
from pixelsmile.bench.folder import BenchFolder
from pixelsmile.bench.parts import by_face, parts
from pixelsmile.bench.report import as_json
from pixelsmile.bench.summary import tasks_digest
from pixelsmile.bench.table import read_table
from pixelsmile.errors import UserError
from pixelsmile.files import whole_file
from pixelsmile.scoring import LOWER_IS_BETTER, METRIC_TITLES

Row = dict[str, Any]

LEVEL = 0.05
"""A difference is called real below this p, corrected for the number of metrics."""

REAL, UNCLEAR, NOT_SHOWN = "real", "unclear", "not shown"


def compare(first: BenchFolder, second: BenchFolder) -> dict[str, Any]:
    """Compare two runs over the same tasks, metric by metric.

    Only edits and curves that count in both runs enter, so that both numbers describe the same
    faces; `n` says how many, `left_out` how many count in one run alone.

    Returns:
        Under `runs` the labels and folders, under `rows` one row a metric.

    Raises:
        UserError: If the runs differ in tasks, strengths, judge, recognisers or landmarks, or if
            one of them has edited a face twice for the same expression.
    """
    _refuse_unlike(first, second)
    faces = {"/".join(task.key): task.digest for task in first.tasks}
    one, two = (_parts(run) for run in (first, second))
    rows = [_row(name, one[name], two[name], faces) for name in one]
    looked = sum(not math.isnan(row["p"]) for row in rows)
    for row, p in zip(rows, bootstrap.holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
        row["verdict"] = verdict(row["p"], p)
        labels = (first.record["label"], second.record["label"])
        row["in_words"] = in_words(row, *labels, looked)
    return {
        "runs": [
            {"label": run.record["label"], "folder": str(run.path)} for run in (first, second)
        ],
        "judge": first.record["judge"],
        "rows": rows,
    }


def verdict(p: float, corrected: float) -> str:
    """Return what may be said of a difference.

    Example:
        >>> verdict(0.001, 0.008), verdict(0.03, 0.2), verdict(0.4, 1.0)
        ('real', 'unclear', 'not shown')
    """
    if corrected < LEVEL:
        return REAL
    return UNCLEAR if p < LEVEL else NOT_SHOWN


def in_words(row: Row, first: str, second: str, looked: int) -> str:
    """Say it plainly; `looked` is the number of metrics that p was corrected for."""
    if row["verdict"] == NOT_SHOWN:
        return "no difference shown"
    word = "higher" if row["difference"] > 0 else "lower"
    if row["metric"] != "id_sim":  # more identity is not better without end
        word = "better" if (word == "higher") != (row["metric"] in LOWER_IS_BETTER) else "worse"
    if row["verdict"] == REAL:
        return f"{second} is {word} than {first}"
    return f"{second} may be {word}; unclear, as {looked} metrics were looked at"


def _row(
    name: str,
    one: Mapping[Any, Any],
    two: Mapping[Any, Any],
    faces: Mapping[str, str],
) -> Row:
    both = [unit for unit in one if unit in two]
    present = {task: faces[task] for task, _ in both}
    first, second = (by_face({unit: run[unit] for unit in both}, present) for run in (one, two))
    difference = bootstrap.paired_difference(first, second)
    values = [float(bootstrap.mean_ratio(run[0].sum(0), run[1].sum(0))) for run in (first, second)]
    setting, metric = name.split(".")
    return {
        "setting": setting,
        "metric": metric,
        "first": values[0],
        "second": values[1],
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "p": difference.p,
        "n": int(first[1].sum()),
        "faces": len(first[0]),
        "left_out": len(one) + len(two) - 2 * len(both),
    }


def _parts(run: BenchFolder) -> dict[str, dict[Any, Any]]:
    """Return the parts of a run under what its tasks share with those of another."""
    shared = _keys(run)
    found = parts(read_table(run), run.record["protocol"])
    return {
        name: {(shared[task], strength): part for (task, strength), part in units.items()}
        for name, units in found.items()
    }


def _keys(run: BenchFolder) -> dict[str, str]:
    """Return face and expression by name of the task; names may differ from run to run.

    Raises:
        UserError: If two tasks have the same, so that they cannot be told apart.
    """
    names: dict[str, str] = {}
    for task in run.tasks:
        other = names.setdefault("/".join(task.key), task.name)
        if other != task.name:
            raise UserError(
                f"{run.path} asks for {task.expression} of the same face twice ({other} and "
                f"{task.name}), so its edits cannot be paired with others: evaluate tasks without "
                "doubles."
            )
    return {name: key for key, name in names.items()}


def _refuse_unlike(first: BenchFolder, second: BenchFolder) -> None:
    """Refuse runs whose numbers mean different things."""
    one, two = ({**run.record, "tasks": tasks_digest(run)} for run in (first, second))
    for key, way_out in (
        ("domain", "compare runs of one domain"),
        ("tasks", "evaluate both on the same tasks"),
        ("judge", "judge both with the same judge, see judge=replay"),
        ("recognisers", "evaluate both with the same recognisers"),
        ("landmarks", "evaluate both with the same landmarks="),
    ):
        if one[key] != two[key]:
            raise UserError(
                f"{first.path} and {second.path} have different {key} ({one[key]} and {two[key]}): "
                f"{way_out}."
            )
    for key in ("strength", "linear"):
        strengths = [run["protocol"][key] for run in (one, two)]
        if strengths[0] != strengths[1]:
            raise UserError(
                f"{first.path} and {second.path} have different strengths ({key}: {strengths[0]} "
                f"and {strengths[1]}): evaluate both with the same protocol."
            )


def comparison_table(comparison: Mapping[str, Any]) -> Table:
    """Return the comparison for the terminal, narrow enough for 80 columns."""
    first, second = (run["label"] for run in comparison["runs"])
    table = Table(title=f"{second} minus {first}, paired over faces, 95 % intervals")
    table.add_column("metric", no_wrap=True)
    for title in (first, second, "difference", "p (Holm)", "n"):
        table.add_column(title, justify="right", no_wrap=title not in (first, second))
    for row in comparison["rows"]:
        setting, metric, one, two, difference, _, p, n, _ = cells(row)
        table.add_row(f"{metric} {setting}", one, two, difference, p, n)
    return table


def cells(row: Row) -> list[str]:
    """Return the cells of a row as text."""
    return [
        row["setting"],
        METRIC_TITLES[row["metric"]],
        f"{row['first']:.3f}",
        f"{row['second']:.3f}",
        f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]",
        f"{row['p']:.4f}",
        f"{row['p_holm']:.4f}",
        str(row["n"]) + (f" ({row['left_out']} left out)" if row["left_out"] else ""),
        row["in_words"],
    ]


def say(comparison: Mapping[str, Any], console: Console) -> None:
    """Print the comparison and what follows from it."""
    console.print(comparison_table(comparison))
    for kind in (REAL, UNCLEAR, NOT_SHOWN):
        rows = [row for row in comparison["rows"] if row["verdict"] == kind]
        words = [
            f"{METRIC_TITLES[row['metric']]} ({row['setting']}), {row['in_words']}" for row in rows
        ]
        text = f"{kind}: {'; '.join(words) or 'none'}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def write_comparison(comparison: Mapping[str, Any], folder: Path) -> None:
    """Write comparison.json and comparison.md."""
    with whole_file(folder / "comparison.json") as file:
        file.write(as_json(dict(comparison)).encode())
    first, second = comparison["runs"]
    head = ["setting", "metric", first["label"], second["label"], "difference", "p", "p (Holm)"]
    lines = [
        f"# {second['label']} minus {first['label']}",
        "",
        f"`{second['folder']}` minus `{first['folder']}`; judge `{comparison['judge']['id']}`. "
        "Paired bootstrap over faces with 95 % intervals; a difference is real where p, corrected "
        f"after Holm for the number of metrics, is below {LEVEL}.",
        "",
        f"| {' | '.join([*head, 'n', 'in words'])} |",
        "|" + "---|" * (len(head) + 2),
        *(f"| {' | '.join(cells(row))} |" for row in comparison["rows"]),
    ]
    with whole_file(folder / "comparison.md") as file:
        file.write(("\n".join(lines) + "\n").encode())
