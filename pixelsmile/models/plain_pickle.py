"""Read tensors from PyTorch files without running anything that is in them.

Old checkpoints hold more than tensors: classes of the trainer, callbacks, arguments.
`torch.load(weights_only=True)` refuses those, and a full load imports and runs them. Here every
name that is no part of a tensor becomes an inert object.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from pixelsmile.weights import reading

_TENSOR_PARTS = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "Size"),
    ("torch", "device"),
}


class Inert(dict):
    """Stands for an object of an unknown class; takes whatever it is given and does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        """Forget the state."""

    def __call__(self, *args: Any, **kwargs: Any) -> "Inert":
        """Return another inert object."""
        return Inert()

    def append(self, item: Any) -> None:
        """Forget the item."""

    def extend(self, items: Any) -> None:
        """Forget the items."""

    add = append


class Unpickler(pickle.Unpickler):
    """Builds tensors and plain containers, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a part of a tensor by its name, or `Inert`."""
        if (module, name) in _TENSOR_PARTS:
            return super().find_class(module, name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            return super().find_class(module, name)
        return Inert


def load(file: Any, **kwargs: Any) -> Any:
    """Unpickle a stream, as `pickle.load`."""
    return Unpickler(file, **kwargs).load()


def loads(data: bytes, **kwargs: Any) -> Any:
    """Unpickle bytes, as `pickle.loads`."""
    return load(io.BytesIO(data), **kwargs)


def load_tensors(file: str | Path, what: str) -> Any:
    """Return the content of a PyTorch file, on the CPU.

    Args:
        file: What `torch.save` wrote.
        what: What it should be, for the error.

    Raises:
        UserError: If it cannot be read.
    """
    import pixelsmile.models.plain_pickle as itself

    with reading(file, what):
        return torch.load(file, map_location="cpu", pickle_module=itself, weights_only=False)
