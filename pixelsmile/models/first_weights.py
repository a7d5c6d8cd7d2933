"""What a backbone holds before training: rows of tensors in files, and the adapter's first values.

Any rows of any parameter can be had without the rest, so that a process that holds a part of a
model reads that part alone; and what they are does not depend on who asks.
"""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from pixelsmile.errors import UserError
from pixelsmile.seeds import stream_generator
from pixelsmile.weights import how_to_get, need_weights, reading


class TensorFolder:
    """The tensors of a model's folder, in one file or several with an index.

    Args:
        folder: Of a part of a diffusers pipeline.

    Raises:
        UserError: If the folder is missing or damaged; it says how to get it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = need_weights(folder)
        self._files: dict[str, safe_open] = {}
        with reading(self.folder, "weights"):
            self._place = self._places()

    def _places(self) -> dict[str, str]:
        """Return the file of each tensor."""
        for index in self.folder.glob("*.safetensors.index.json"):
            return json.loads(index.read_text())["weight_map"]
        places = {}
        for path in self.folder.glob("*.safetensors"):
            places |= dict.fromkeys(self._open(path.name).keys(), path.name)
        return places

    def _open(self, file: str) -> safe_open:
        if file not in self._files:
            self._files[file] = safe_open(self.folder / file, framework="pt")
        return self._files[file]

    @property
    def names(self) -> set[str]:
        """Of all tensors."""
        return set(self._place)

    def read(self, name: str, rows: slice, shape: torch.Size) -> Tensor:
        """Return some rows of a tensor.

        Args:
            name: Of the tensor.
            rows: Along its first dimension.
            shape: That the whole tensor should have.

        Raises:
            UserError: If it is missing, has another shape, or its file is damaged.
        """
        if name not in self._place:
            raise UserError(f"{self.folder} has no tensor {name!r}: {how_to_get(self.folder)}")
        path = need_weights(self.folder / self._place[name])
        with reading(path, "weights"):
            part = self._open(path.name).get_slice(name)
            if tuple(part.get_shape()) != tuple(shape):
                raise UserError(
                    f"{name!r} in {path} has shape {tuple(part.get_shape())}, the model wants "
                    f"{tuple(shape)}: {how_to_get(self.folder)}"
                )
            return part[rows]


def is_adapter(name: str) -> bool:
    """Tell whether a parameter belongs to the adapter, by its name."""
    return ".lora_" in name


def stock_name(name: str) -> str:
    """Return the tensor on disk that a parameter of the base is made of.

    Adapters put a layer around the layer; what is kept in 8 bits has the scales of its rows.

    Example:
        >>> stock_name("transformer_blocks.0.attn.to_q.base_layer.weight")
        'transformer_blocks.0.attn.to_q.weight'
    """
    name = name.replace(".base_layer.", ".")
    return f"{name.removesuffix('.scale')}.weight" if name.endswith(".scale") else name


def first_adapter(name: str, shape: torch.Size, rows: slice, *, rank: int, seed: int) -> Tensor:
    """Return some rows of an adapter's weight before training, float32.

    What peft calls gaussian: A normal with standard deviation 1 / rank, B zero.

    Args:
        name: Of the parameter; A depends on it and on the seed alone.
        shape: Of the whole parameter.
        rows: Along its first dimension.
        rank: Of the LoRA.
        seed: Of the numbers.
    """
    if ".lora_B." in name:
        return torch.zeros(shape)[rows]
    return torch.randn(shape, generator=stream_generator(seed, "adapter", name))[rows] / rank
