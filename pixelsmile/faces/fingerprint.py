"""Which version of a generator drew a set: a checksum of its code and data."""

import functools
import hashlib
import inspect
from pathlib import Path

from pixelsmile.faces import scores
from pixelsmile.faces.base import FaceGenerator


def fingerprint(generator: FaceGenerator) -> str:
    """Return a checksum that changes whenever the generator's files or settings do.

    For a generator in a package of its own these are all Python and data files of that package,
    otherwise its one file; the exact scores count as well. A hand-kept version number would be
    forgotten one day, and a stale set silently reused.
    """
    kind = type(generator)
    digest = hashlib.sha256(f"{kind.__module__}.{kind.__qualname__}".encode())
    state = {key: value for key, value in sorted(vars(generator).items()) if _is_plain(value)}
    digest.update(repr(state).encode())
    for checksum in (_checksum(Path(inspect.getfile(kind))), _checksum(Path(scores.__file__))):
        digest.update(checksum)
    return digest.hexdigest()[:16]


def _is_plain(value: object) -> bool:
    """Tell whether a setting has a repr that is the same in every process."""
    return value is None or isinstance(value, bool | int | float | str)


@functools.cache
def _checksum(file: Path) -> bytes:
    """Return the checksum of a file, or of all code and data of the package that it is in."""
    folder = file.parent
    files = [file]
    if (folder / "__init__.py").exists() and folder.name != "faces":
        files = [path for path in folder.rglob("*") if path.suffix in (".py", ".npz")]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.digest()
