"""Encoded images and prompts on disk, one safetensors file each, addressed by content.

The key of a file covers everything its numbers depend on, so a changed image or model makes a new
file and never a wrong one. Files appear whole or not at all.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from pixelsmile.files import whole_file
from pixelsmile.weights import need_weights


def content_key(*parts: object) -> str:
    """Return a hash of the parts; paths count with the bytes of their file.

    Example:
        >>> content_key("a", 1) == content_key("a", 1), content_key("a", 1) == content_key("a1")
        (True, False)
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else repr(part).encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:32]


def folder_fingerprint(place: str | Path) -> str:
    """Return a hash of the names and contents of a folder of weights, or of one file.

    Of files over 64 MiB the size and both ends count, which tells checkpoints apart without
    reading 40 GB.

    Raises:
        UserError: If nothing is there.
    """
    limit = 64 * 2**20
    root = Path(place)
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
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
    """A folder of named tensor dictionaries.

    Args:
        folder: Created on first write.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def path(self, key: str) -> Path:
        """Return where an entry lives, spread over 256 folders."""
        return self.folder / key[:2] / f"{key}.safetensors"

    def __contains__(self, key: str) -> bool:
        return self.path(key).is_file()

    def read(self, key: str) -> dict[str, Tensor]:
        """Return an entry.

        Raises:
            KeyError: If it is missing or damaged; encode it again.
        """
        try:
            return load_file(self.path(key))
        except (FileNotFoundError, SafetensorError) as error:
            raise KeyError(f"cache entry {key} is missing or damaged ({error})") from None

    def write(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Store an entry, whole or not at all."""
        data = save({name: tensor.contiguous() for name, tensor in tensors.items()})
        with whole_file(self.path(key)) as file:
            file.write(data)
