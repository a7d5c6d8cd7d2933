"""What a finished run leaves: metrics.json, the table in the terminal, the sample sheet."""

import json
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pixelsmile.files import whole_file
from pixelsmile.scoring import LOWER_IS_BETTER, METRIC_NAMES, METRIC_TITLES, Measured

Results = Mapping[str, Measured]

_TITLES = {
    name: f"{title} (lower is better)" if name in LOWER_IS_BETTER else title
    for name, title in METRIC_TITLES.items()
}


def write_json(path: Path, content: object) -> None:
    """Write JSON so that the file appears whole or not at all."""
    with whole_file(path) as file:
        file.write(json.dumps(content, indent=2).encode())


def results_table(before: Results, after: Results, ceiling: Results) -> Table:
    """Set the base beside the trained adapter and the judge's view of true renders."""
    table = Table(title="Edits of people never trained on, with 95 % intervals")
    table.add_column("metric")
    for title in ("before training", "after training", "true renders"):
        table.add_column(title, justify="right")
    table.add_column("n", justify="right")
    for name in METRIC_NAMES:
        row = [_show(results[name]) for results in (before, after, ceiling)]
        table.add_row(_TITLES[name], *row, str(after[name]["n"]))
    return table


def _show(measured: Measured) -> str:
    return f"{measured['value']:.3f} [{measured['low']:.3f}, {measured['high']:.3f}]"


def say_where_to_look(console: Console, run: Path) -> None:
    """Print what there is to see."""
    console.print(f"Adapter       {run / 'lora'}", highlight=False)
    if (run / "samples.png").exists():  # only a validated run has some
        console.print(f"Samples       {run / 'samples.png'}", highlight=False)
    console.print(f"Numbers       {run / 'metrics.json'}", highlight=False)
    console.print("Curves        make tensorboard", highlight=False)
