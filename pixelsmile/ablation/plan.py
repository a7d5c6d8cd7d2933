"""Which trainings an ablation consists of, as overrides of the training's config. Pure but MEAD."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from pixelsmile.ablation.queue import Run
from pixelsmile.ablation.results import run_name
from pixelsmile.ablation.rows import MEAD, Row, asked_rows
from pixelsmile.errors import UserError
from pixelsmile.faces.videos import write_mead

_OWN = (
    "rows",
    "seeds",
    "workers",
    "out",
    "protocol",
    "mead",
    "document",
    "record",
    "notes",
    "paths.runs",
)
_ASK = ("loss", "experiment")
_ELSEWHERE = ("domain", "paths")
"""Keys that may differ between the runs of one table."""


def key_of(override: str) -> str:
    """Return the key of an override.

    Example:
        >>> key_of("+data.files.train='a=b.jsonl'"), key_of("~optimizer")
        ('data.files.train', 'optimizer')
    """
    return override.partition("=")[0].lstrip("+~")


def _below(key: str, names: Iterable[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)


def passed_on(overrides: Sequence[str]) -> list[str]:
    """Return the overrides of an ablation that hold for each of its trainings.

    Example:
        >>> passed_on(["loss=hinge", "seeds=1", "domain=anime", "loss.identity_weight=0.2"])
        ['domain=anime', 'loss.identity_weight=0.2']
    """
    kept = [word for word in overrides if not _below(key_of(word), _OWN)]
    return [
        word for word in kept if key_of(word) not in _ASK and not _below(key_of(word), ("hydra",))
    ]


def rows_of_command(config: DictConfig, overrides: Sequence[str]) -> list[Row]:
    """Return the rows that the command's config and overrides ask for.

    Raises:
        UserError: As `asked_rows`.
    """
    asked = {key_of(word): word.partition("=")[2] for word in overrides}
    names = None if config.rows is None else _names(config.rows)
    return asked_rows(config.domain.name, names, asked.get("loss"), asked.get("experiment"))


def _names(rows: Any) -> list[str]:
    return [rows] if isinstance(rows, str) else [str(name) for name in rows]


def seeds_of(config: DictConfig) -> list[int]:
    """Return the seeds, 0 up for a number.

    Raises:
        UserError: If they are no numbers from 0 up, or there is none.
    """
    value = OmegaConf.to_container(config.seeds) if OmegaConf.is_list(config.seeds) else None
    seeds = value if value is not None else config.seeds
    if type(seeds) is int and seeds > 0:
        return list(range(seeds))
    if isinstance(seeds, list) and seeds and all(type(s) is int and s >= 0 for s in seeds):
        return sorted(set(seeds))
    raise UserError(f"seeds={config.seeds}: give a number from 1 up, or a list such as [0,3].")


def plan(config: DictConfig, rows: Sequence[Row], shared: Sequence[str]) -> list[Run]:
    """Return the runs of some rows, all seeds of a row together.

    Args:
        config: Of the command.
        rows: Which.
        shared: Overrides that hold for every row, see `passed_on`.
    """
    out = Path(config.out)
    runs = []
    for row in rows:
        own = _mead(config, shared) if row.name == MEAD else [*shared, *row.changes]
        for seed in seeds_of(config):
            name = run_name(config.domain.name, row.name, seed)
            words = [
                *config.protocol,
                *own,
                f"name={name}",
                f"seed={seed}",
                f"paths.runs={quoted(out)}",
                "resume=auto",
            ]
            runs.append(Run(name, out / name, out / "logs" / f"{name}.log", tuple(words)))
    return runs


def _mead(config: DictConfig, shared: Sequence[str]) -> list[str]:
    """Return what makes a training one on MEAD that is validated on the people of the other rows.

    Raises:
        UserError: If the other rows hold nobody out by name.
    """
    files = instantiate(config.data.files)
    val = files.get("val")
    if val is None:
        raise UserError(
            "The MEAD row is validated on the people of the other rows: name them with "
            "data.files.val=, or leave the row out with rows=."
        )
    root, given = config.mead.root, []
    if root is None:
        given = list(config.mead.overrides)
        root = write_mead(
            instantiate(config.domain.faces),
            config.paths.data,
            subjects=config.mead.subjects,
            size=config.model.sizes.image,
        )
    return [
        *(word for word in shared if not _below(key_of(word), ("data",))),
        f"experiment={MEAD}",
        f"data.root={quoted(root)}",
        f"data.val={quoted(val)}",
        *given,
    ]


def settings(config: DictConfig, shared: Sequence[str]) -> dict[str, Any]:
    """Return what has to be the same for all runs of one table."""
    return {
        "protocol": list(config.protocol),
        "shared": sorted(word for word in shared if not _below(key_of(word), _ELSEWHERE)),
        "mead": OmegaConf.to_container(config.mead, resolve=True),
    }


def quoted(value: object) -> str:
    r"""Return a value as Hydra reads it back unchanged.

    Example:
        >>> quoted("it's/a=b")
        "'it\\'s/a=b'"
    """
    text = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"
