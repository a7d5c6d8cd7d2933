"""Checks that the metrics share. A wrong input is refused, never repaired or skipped.

A score is never invented either: rows whose judge gave no valid answer are left out by the caller,
who reports the coverage beside the number.
"""

import torch
from torch import Tensor


def check_indices(name: str, indices: Tensor, num_expressions: int) -> None:
    """Refuse anything but (B,) integers in [0, num_expressions).

    Raises:
        ValueError: Naming the argument and the first offending value.
    """
    if indices.dim() != 1:
        raise ValueError(f"{name} has shape {tuple(indices.shape)}: give one index per row, (B,).")
    if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        raise ValueError(
            f"{name} is {indices.dtype}: give integer indices, such as scores.argmax(dim=-1)."
        )
    wrong = (indices < 0) | (indices >= num_expressions)
    if bool(wrong.any()):
        raise ValueError(
            f"{name} holds {indices[wrong][0].item()}, outside 0 to {num_expressions - 1}: leave "
            "rows without a valid answer out, or raise num_expressions."
        )


def check_same_shape(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    """Refuse two tensors of different shapes, which would broadcast silently.

    Raises:
        ValueError: Naming both arguments and shapes.
    """
    if tensor.shape != other.shape:
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)} and {other_name} {tuple(other.shape)}: "
            "give both the same shape."
        )


def check_dims(name: str, tensor: Tensor, shape: str) -> None:
    """Refuse a tensor with another number of dimensions than `shape`, such as "(B, S)".

    Raises:
        ValueError: Naming the argument and its shape.
    """
    if tensor.dim() != len(shape.strip("(),").split(",")):
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}: give {shape}.")


def check_finite(name: str, values: Tensor) -> None:
    """Refuse nan and infinity.

    Raises:
        ValueError: Naming the argument and how many values are not finite.
    """
    wrong = ~torch.isfinite(values)
    if bool(wrong.any()):
        raise ValueError(
            f"{name} holds {int(wrong.sum())} values that are not finite, of {values.numel()}: "
            "leave these rows out and report the coverage."
        )


def check_range(name: str, values: Tensor, low: float, high: float) -> None:
    """Refuse values that are not finite or outside [low, high], but for rounding.

    Raises:
        ValueError: Naming the argument and the first offending value.
    """
    check_finite(name, values)
    wrong = (values < low - 1e-4) | (values > high + 1e-4)
    if bool(wrong.any()):
        raise ValueError(
            f"{name} holds {values[wrong].flatten()[0].item():g}, outside [{low:g}, {high:g}]: "
            "rescale it to that range."
        )


def wide(values: Tensor) -> Tensor:
    """Return float32, or float64 where the input is: bf16 cosines and sums are too coarse."""
    return values if values.dtype == torch.float64 else values.float()
