"""How many pictures fit into memory at once."""

from pathlib import Path

import torch

_COPIES = 32
"""Tensors of (tokens, width) that a block has alive at its peak: streams, queries, keys and values
with their float32 rotations, and the MLP of four times the width."""

_CHANNELS = 96
_MAPS = 8
"""Of the VAE decoder at full resolution."""

MOST_ON_CPU = 8
"""On a CPU larger batches leave the caches and gain nothing."""

MOST = 64


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a device in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = next(line for line in lines if line.startswith("MemAvailable"))
        return int(found.split()[1]) * 1024
    except (OSError, StopIteration, ValueError):
        return 4 * 2**30  # nothing is known: be modest


def pictures_at_once(free: int, tokens: int, width: int, pixels: int, itemsize: int) -> int:
    """Return how many pictures fit into half of the free memory, at least one.

    Args:
        free: In bytes.
        tokens: Of a picture, its source and its prompt.
        width: Of the transformer.
        pixels: Of a picture.
        itemsize: Bytes of a number.

    Example:
        An 80 GB card with the real model at 512 pixels, 40 GB of it taken:

        >>> pictures_at_once(40 * 2**30, tokens=2392, width=3072, pixels=512**2, itemsize=2)
        45
    """
    transformer = tokens * width * _COPIES * itemsize
    decoder = pixels * _CHANNELS * _MAPS * itemsize
    return max(1, free // 2 // max(transformer, decoder))


def batch_size(device: torch.device, *, tokens: int, width: int, pixels: int, itemsize: int) -> int:
    """Return how many pictures to run at once on a device."""
    most = MOST if device.type == "cuda" else MOST_ON_CPU
    return min(most, pictures_at_once(free_bytes(device), tokens, width, pixels, itemsize))
