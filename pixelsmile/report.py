"""What a finished run leaves: metrics.json, the table in the terminal, the sample sheet."""

import json
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pixelsmile.files import whole_file
from pixelsmile.scoring import METRIC_NAMES, Measured

Results = Mapping[str, Measured]

_TITLES = {
    "mscr": "mSCR (lower is better)",
    "acc_6": "Acc-6",
    "acc_12": "Acc-12",
    "cls_6": "CLS-6",
    "cls_12": "CLS-12",
    "hes": "HES",
    "id_sim": "ID Sim",
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
    console.print(f"Samples       {run / 'samples.png'}", highlight=False)
    console.print(f"Numbers       {run / 'metrics.json'}", highlight=False)
    console.print("Curves        make tensorboard", highlight=False)
