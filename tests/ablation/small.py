"""Ablations that cost nothing, and results out of thin air."""

import json
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir

import pixelsmile.stack  # noqa: F401 - registers the resolvers of the configs
from pixelsmile.ablation.queue import Ended
from pixelsmile.ablation.results import Result
from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.scoring import METRIC_NAMES


def compose_ablate(*overrides: str):
    """Compose `configs/ablate.yaml`."""
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return hydra_compose("ablate", list(overrides))


def inline(runs, work, *, begin, **_):
    """Do what `train_all` does, in this process and one by one."""
    for run in runs:
        begin(run)
        run.log.parent.mkdir(parents=True, exist_ok=True)
        run.log.write_text("error: as told\n")
        try:
            work(run)
        except RuntimeError:
            yield Ended(run, 1, 60.0)
        else:
            yield Ended(run, 0, 60.0)


def result(row, seed=0, domain="human", **values) -> Result:
    """Return a result in which every metric is 0.5 unless it is given."""
    return Result(row, domain, seed, dict.fromkeys(METRIC_NAMES, 0.5) | values, {})


def write_run(folder: Path, value: float, base: float = 0.1) -> None:
    """Write the metrics of a finished run in which every metric has the same value."""

    def table(number):
        return {name: {"value": number, "low": 0, "high": 1, "n": 4} for name in METRIC_NAMES}

    folder.mkdir(parents=True, exist_ok=True)
    metrics = {"before": table(base), "after": table(value), "ceiling": table(1.0)}
    (folder / "metrics.json").write_text(json.dumps(metrics))
