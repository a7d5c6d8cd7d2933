"""Manifests: which entries of a shared cache a configuration uses."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pixelsmile.errors import UserError
from pixelsmile.files import whole_file

FOLDER = "manifests"


@dataclass(frozen=True)
class Manifest:
    """What one configuration of data and models uses.

    Attributes:
        name: Of the configuration.
        about: For people: data, domain and model.
        keys: Keys of entries by kind.
    """

    name: str
    about: str
    keys: dict[str, list[str]]

    def write(self, cache: Path) -> None:
        """Store the manifest, in place of an earlier one of its name."""
        with whole_file(cache / FOLDER / f"{self.name}.json") as file:
            file.write(json.dumps(asdict(self), indent=1).encode())

    def all_keys(self) -> set[str]:
        """Return the keys of all kinds."""
        return {key for keys in self.keys.values() for key in keys}


def read_manifests(cache: Path) -> list[Manifest]:
    """Return the manifests of a cache, by name.

    Raises:
        UserError: If one cannot be read: without it nobody knows what is still in use.
    """
    return [_read(path) for path in sorted((cache / FOLDER).glob("[!.]*.json"))]


def _read(path: Path) -> Manifest:
    try:
        manifest = Manifest(**json.loads(path.read_bytes()))
        manifest.all_keys()
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise UserError(
            f"{path} is not a manifest: prepare that configuration again, or delete the file if "
            "its entries are no longer needed."
        ) from None
    return manifest
