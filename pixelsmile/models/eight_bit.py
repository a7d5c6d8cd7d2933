"""Frozen linear layers that keep a weight in 8 bits and a scale per row.

Nothing but torch is needed, a row can be made from that row alone, and FSDP2 spreads, gathers and
frees 8-bit weights like any other.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return whole numbers, (O, I) int8, and their scales, (O,) float32, for a weight, (O, I).

    Each row is divided into 127 steps up to its largest magnitude, so an entry is off by half a
    step at most.

    Example:
        >>> numbers, scale = quantise(torch.tensor([[0.5, -1.27], [0.0, 0.0]]))
        >>> numbers.tolist(), [round(x, 4) for x in scale.tolist()]
        ([[50, -127], [0, 0]], [0.01, 1.0])
    """
    largest = weight.float().abs().amax(dim=1)
    scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
    return (weight.float() / scale[:, None]).round().to(torch.int8), scale


class EightBitLinear(nn.Linear):
    """A frozen linear layer with the weight of another, in 8 bits; it computes as its input does.

    Args:
        linear: The layer to stand for, possibly without memory yet.
    """

    def __init__(self, linear: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        numbers, scale = quantise(linear.weight.detach())
        self.weight = nn.Parameter(numbers, requires_grad=False)
        self.scale = nn.Parameter(scale, requires_grad=False)
        self.bias = linear.bias

    def forward(self, input: Tensor) -> Tensor:
        """Map (..., I) to (..., O)."""
        weight = self.weight.to(input.dtype) * self.scale.to(input.dtype)[:, None]
        return F.linear(input, weight, self.bias)


def to_eight_bit(blocks: nn.Module) -> None:
    """Replace, in place, every linear layer within some blocks."""
    for module in list(blocks.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear:
                setattr(module, name, EightBitLinear(child))
