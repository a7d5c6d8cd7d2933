"""Encoded images and prompts on disk, one safetensors file each, addressed by content.

The key of a file covers everything its numbers depend on, so a changed image or model makes a new
file and never a wrong one. Files appear whole or not at all.
"""

import fcntl
import hashlib
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from pixelsmile.data.memory import FileMemory
from pixelsmile.errors import UserError
from pixelsmile.files import whole_file
from pixelsmile.weight_files import files_of
from pixelsmile.weights import need_weights


def content_key(*parts: object) -> str:
    """Return a hash of the parts, which have to have a stable repr.

    Example:
        >>> content_key("a", 1) == content_key("a", 1), content_key("a", 1) == content_key("a1")
        (True, False)
    """
    digest = hashlib.sha256()
    for part in parts:
        data = repr(part).encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:32]


def folder_fingerprint(place: str | Path) -> str:
    """Return a hash of the names and contents of a folder of weights, see `files_of`, or of a file.

    Of files over 64 MiB the size and both ends count, which tells checkpoints apart without
    reading 40 GB.

    Raises:
        UserError: If nothing is there.
    """
    limit = 64 * 2**20
    root = Path(place)
    files = [root] if root.is_file() else files_of(root)
    if not files:
        need_weights(root)
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.relative_to(root)}:{size};".encode())
        with path.open("rb") as file:
            if size <= limit:
                digest.update(file.read())
            else:
                digest.update(file.read(limit // 2))
                file.seek(-limit // 2, os.SEEK_END)
                digest.update(file.read())
    return digest.hexdigest()[:16]


class TensorCache:
    """A folder of named tensor dictionaries, each in a file of its own with a checksum.

    A file appears whole or not at all. One that was damaged later counts as missing.

    Args:
        folder: Created on first write.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._checked = FileMemory(_condition, self.folder / "checked.json")

    def path(self, key: str) -> Path:
        """Return where an entry lives, spread over 256 folders."""
        return self.folder / key[:2] / f"{key}.safetensors"

    def __contains__(self, key: str) -> bool:
        """Tell whether an entry is there and whole, which reads it once and then remembers."""
        path = self.path(key)
        return path.is_file() and self._checked(path) == _WHOLE

    def stored(self) -> list[str]:
        """Return the keys of all files, whole or not."""
        return sorted(path.stem for path in self.folder.glob("[0-9a-f][0-9a-f]/*.safetensors"))

    def size(self, key: str) -> int:
        """Return the bytes of an entry, 0 where it is missing."""
        try:
            return self.path(key).stat().st_size
        except FileNotFoundError:
            return 0

    def read(self, key: str) -> dict[str, Tensor]:
        """Return an entry.

        A damaged one is removed, so that it is encoded again even if its file looks untouched.

        Raises:
            KeyError: If it is missing or damaged; encode it again.
        """
        path = self.path(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise KeyError(f"cache entry {key} is missing") from None
        try:
            return load(_unseal(data))
        except (SafetensorError, ValueError) as error:
            path.unlink(missing_ok=True)
            raise KeyError(f"cache entry {key} is missing or damaged ({error})") from None

    def write(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Store an entry, whole or not at all."""
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        path = self.path(key)
        with whole_file(path) as file:
            file.write(_seal(save(contiguous, metadata={_FIELD: _BLANK})))
        self._checked.note(path, _WHOLE)

    def remove(self, key: str) -> None:
        """Delete an entry."""
        self.path(key).unlink(missing_ok=True)

    def remember(self) -> None:
        """Write down which entries were found whole, so that they are not read again to see it."""
        self._checked.save()

    def tidy(self) -> None:
        """Forget what is known about entries that are gone."""
        self._checked.tidy()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Hold the folder while entries are added or read; any number of processes may.

        Whoever finds it unused first removes the pieces that killed writers left.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a") as lock:
            if _locked(lock, fcntl.LOCK_EX | fcntl.LOCK_NB):
                for piece in self.pieces():
                    piece.unlink(missing_ok=True)
            _locked(lock, fcntl.LOCK_SH)
            yield

    @contextmanager
    def unused(self) -> Iterator[None]:
        """Hold the folder while entries are removed.

        Raises:
            UserError: If entries are being added, or a training reads them.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a") as lock:
            if not _locked(lock, fcntl.LOCK_EX | fcntl.LOCK_NB):
                raise UserError(
                    f"{self.folder} is in use by a preparation or a training: wait for its end."
                )
            yield

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Let processes that share the work do something one after another."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".turn").open("a") as lock:
            _locked(lock, fcntl.LOCK_EX)
            yield

    def pieces(self) -> list[Path]:
        """Return the files that writers began and did not finish."""
        patterns = ("[0-9a-f][0-9a-f]/.*", "manifests/.*", ".*.json.*")
        return [path for pattern in patterns for path in self.folder.glob(pattern)]


_FIELD, _BLANK, _WHOLE = "crc32", "0" * 8, "whole"


def _seal(data: bytes) -> bytes:
    """Put the checksum of a file with a blank checksum in its place."""
    return _with_checksum(data, f"{zlib.crc32(data):08x}")


def _unseal(data: bytes) -> bytes:
    """Return the file if its checksum is right.

    Raises:
        ValueError: If it is not.
    """
    place = _place(data)
    found = data[place : place + len(_BLANK)].decode("ascii", "replace")
    if f"{zlib.crc32(_with_checksum(data, _BLANK)):08x}" != found:
        raise ValueError("wrong checksum")
    return data


def _with_checksum(data: bytes, checksum: str) -> bytes:
    place = _place(data)
    return data[:place] + checksum.encode() + data[place + len(_BLANK) :]


def _place(data: bytes) -> int:
    """Return where the checksum stands, which is in the header that begins the file."""
    mark = f'"{_FIELD}":"'.encode()
    header = int.from_bytes(data[:8], "little")
    place = data.find(mark, 8, 8 + min(header, len(data)))
    if place < 0:
        raise ValueError("no checksum")
    return place + len(mark)


def _condition(path: Path) -> str:
    try:
        _unseal(path.read_bytes())
    except (ValueError, OSError):
        return "damaged"
    return _WHOLE


def _locked(lock: IO[str], operation: int) -> bool:
    """Take a lock that ends with the process; file systems without locks have one user."""
    try:
        fcntl.flock(lock, operation)
    except BlockingIOError:
        return False
    except OSError:
        return bool(operation & fcntl.LOCK_SH)
    return True
