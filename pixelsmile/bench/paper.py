"""The paper's result tables as printed, to stand beside ours."""

import importlib.resources
from functools import cache
from typing import Any

import yaml

JUDGE = "Gemini 3 Pro"
"""Who scored the paper's tables."""

Row = dict[str, Any]


@cache
def tables() -> dict[str, list[Row]]:
    """Return `table_1`, `table_2` and `table_3`; numbers are text, exactly as printed.

    Example:
        >>> tables()["table_1"][-1]["acc_6"]
        '0.8627'
    """
    file = importlib.resources.files("pixelsmile.bench") / "paper_tables.yaml"
    return yaml.safe_load(file.read_text())
