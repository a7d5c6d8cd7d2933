"""Where the networks are while they work and while they wait."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import nn


class Placement(Protocol):
    """Puts networks on a device, all the time or when they are needed."""

    def place(self, parts: Sequence[nn.Module], device: torch.device) -> None:
        """Take the networks over; the first of them is the denoiser."""
        ...

    def using(self, part: nn.Module) -> Any:
        """Return a context manager within which a network may be called on the device."""
        ...


class Resident:
    """Everything stays on the device."""

    def place(self, parts: Sequence[nn.Module], device: torch.device) -> None:
        """Move all networks there."""
        for part in parts:
            part.to(device)

    @contextmanager
    def using(self, part: nn.Module) -> Iterator[None]:
        """Nothing to do."""
        yield


class WholeParts:
    """One network at a time is on the device, as diffusers' model offloading does it.

    The real transformer alone takes 41 GB in bfloat16.
    """

    def place(self, parts: Sequence[nn.Module], device: torch.device) -> None:
        """Move all networks to main memory."""
        self.device = device
        self.parts = list(parts)
        for part in self.parts:
            part.to("cpu")

    @contextmanager
    def using(self, part: nn.Module) -> Iterator[None]:
        """Move the network to the device, and the others away first."""
        for other in self.parts:
            if other is not part:
                other.to("cpu")
        part.to(self.device)
        yield


class BlockGroups(WholeParts):
    """The transformer's blocks come to the device in groups (diffusers' group offloading).

    The other networks take turns as a whole.

    Args:
        blocks: Number of blocks in a group.
        stream: Fetch the next group while one works; needs CUDA.
    """

    def __init__(self, blocks: int = 1, stream: bool = False) -> None:
        self.blocks = blocks
        self.stream = stream

    def place(self, parts: Sequence[nn.Module], device: torch.device) -> None:
        """Give the transformer to diffusers, and move the others to main memory."""
        denoiser: Any = parts[0]
        denoiser.transformer.enable_group_offload(
            onload_device=device,
            offload_device=torch.device("cpu"),
            offload_type="block_level",
            num_blocks_per_group=self.blocks,
            use_stream=self.stream,
        )
        self.denoiser = denoiser
        super().place(parts[1:], device)

    @contextmanager
    def using(self, part: nn.Module) -> Iterator[None]:
        """Move the network to the device, unless diffusers does."""
        if part is self.denoiser:
            for other in self.parts:
                other.to("cpu")
            yield
            return
        with super().using(part):
            yield
