"""Which weights a config names: are they there, and are they the ones of another time?"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError

from pixelsmile.data.cache import folder_fingerprint
from pixelsmile.errors import UserError
from pixelsmile.weights import need_weights

_PLACES = ("folder", "file", "pretrained_model_name_or_path")
"""Keys under which a part of the model names its weights."""

_TRAINED_WITH = (
    "backbone",
    "autoencoder",
    "text_encoder",
    "encoder",
    "recogniser",
    "scorer",
    "noise_levels",
)
"""Parts of the model that a training loads, sooner or later. A detector has a fallback."""


def need_all(config: DictConfig) -> None:
    """Refuse a training that would find after hours of preparation that weights are missing.

    Raises:
        UserError: If weights are missing, or `paths.weights` is and has to be given.
    """
    for part in _TRAINED_WITH:
        for place in _places(_plain(config.model[part])):
            need_weights(place)


def identified(node: Any) -> Any:
    """Return a part's settings with weights by their content, wherever they lie.

    Raises:
        UserError: As `need_all`.
    """
    return _by_content(_plain(node))


@contextmanager
def weights_given() -> Iterator[None]:
    """Say in one sentence that a config refers to `paths.weights` and nobody has given it.

    Raises:
        UserError: If that is so.
    """
    try:
        yield
    except InterpolationToMissingValueError:
        raise UserError(
            "paths.weights is not given: say paths.weights=<folder of the real model's weights>; "
            "`python -m pixelsmile.doctor` lists what belongs into it."
        ) from None


def _plain(node: Any) -> Any:
    with weights_given():
        return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _places(node: Any) -> Iterator[Path]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in _PLACES and isinstance(value, str):
                yield Path(value)
            else:
                yield from _places(value)
    elif isinstance(node, list):
        for item in node:
            yield from _places(item)


def _by_content(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: folder_fingerprint(value)
            if key in _PLACES and isinstance(value, str)
            else _by_content(value)
            for key, value in sorted(node.items(), key=str)
        }
    return [_by_content(item) for item in node] if isinstance(node, list) else node
