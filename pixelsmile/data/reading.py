"""Read the faces that a config names: the border between a user's files and the package."""

from collections.abc import Iterator
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue
from rich.console import Console

from pixelsmile.data.faults import summary
from pixelsmile.data.splits import Faces
from pixelsmile.errors import UserError

_MISSING = (MissingMandatoryValue, InterpolationToMissingValueError)

_COUNTS = {"batch_size": 1, "val_batch_size": 1, "num_workers": 0}
"""Settings that the loaders take as they are, and what they have to be at least."""


def read_data(config: DictConfig, *, console: Console | None = None) -> Faces:
    """Return both sets of a config; say in one line what was left out.

    Args:
        config: With the reader under `data.reader`.
        console: Receives that line, by default stderr.

    Raises:
        UserError: If a path is not given or the data cannot be used.
    """
    faces = call_reader(config)
    if line := summary(list(faces.faults)):
        console = Console(stderr=True, soft_wrap=True) if console is None else console
        console.print(line, markup=False, highlight=False)
    return faces


def call_reader(config: DictConfig, group: str = "data") -> Any:
    """Return what the reader of a config returns: `Faces`, if it is that of `data`.

    Args:
        config: With the reader under `<group>.reader`.
        group: Which part of the config names the files.

    Raises:
        UserError: As `read_data`; also if a count is too low.
    """
    _check_counts(config[group], group)
    try:
        return instantiate(config[group].reader)
    except _MISSING:
        raise _not_given(config, group) from None
    except InstantiationException as error:  # Hydra wraps what a reader raises
        if isinstance(error.__cause__, _MISSING):
            raise _not_given(config, group) from None
        if error.__cause__ is None:
            raise
        raise error.__cause__ from None


def _check_counts(values: DictConfig, group: str) -> None:
    """Refuse counts of which the loaders would make a traceback, before anything is prepared.

    Raises:
        UserError: If one is no whole number, or too low.
    """
    for key, least in _COUNTS.items():
        if key in values:
            value = values[key]
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UserError(f"{group}.{key}={value}: give a whole number from {least} up.")


def _not_given(config: DictConfig, group: str) -> UserError:
    """Name the first key of the group that must be given and is not."""
    values = OmegaConf.to_container(config[group], resolve=False)
    key = next(_missing_in(values, group), "A path of the data")
    return UserError(f"{key} is not given: say where the data is, see docs/data.md.")


def _missing_in(values: Any, place: str) -> Iterator[str]:
    """Yield the keys that are to be given and are not."""
    if values == MISSING:
        yield place
    elif isinstance(values, dict):
        for key, value in values.items():
            yield from _missing_in(value, f"{place}.{key}")
