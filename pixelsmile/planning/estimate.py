"""Arithmetic on what a fake step has shown: time, verdict, and settings nobody has run.

Memory is in bytes by part, see `pixelsmile.planning.ledger.PARTS`.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Parts = Mapping[str, float]

SPREAD = ("parameters", "gradients", "optimizer")
"""What each process of `trainer=fsdp` holds a share of."""

GROWING = ("activations", "decoder", "encoders")
"""What grows with the batch; a little of it is the networks' own weights."""


@dataclass(frozen=True)
class Assumptions:
    """What a plan cannot know.

    Attributes:
        efficiency: Share of a GPU's peak that a step reaches.
        link_efficiency: Share of the link's speed that the communication reaches.
        reserved: Bytes of each GPU that are not for tensors.
        fragmentation: Share of the peak that the allocator wastes.
    """

    efficiency: float
    link_efficiency: float
    reserved: float
    fragmentation: float

    def needed(self, peak: Parts) -> float:
        """Return the memory that a GPU must have, in bytes.

        Example:
            >>> Assumptions(0.4, 0.7, 2e9, 0.05).needed({"parameters": 10e9, "decoder": 10e9}) / 1e9
            23.0
        """
        return sum(peak.values()) * (1 + self.fragmentation) + self.reserved

    def seconds(self, flops: float, moved: float, peak_flops: float, link: float) -> float:
        """Return the time of a step: computing or communicating, whichever is longer.

        Args:
            flops: Of one process.
            moved: Bytes that it receives.
            peak_flops: Per second, of its GPU.
            link: Bytes per second.
        """
        computing = flops / (peak_flops * self.efficiency)
        return max(computing, moved / (link * self.link_efficiency))


@dataclass(frozen=True)
class Change:
    """Settings that need less memory.

    Attributes:
        settings: As they are written behind the command.
        peak: Bytes by part that they are expected to need.
    """

    settings: tuple[str, ...]
    peak: dict[str, float]


def changes(
    peak: Parts,
    *,
    checkpointing: bool,
    batch: int,
    world: int,
    spread: bool,
    nodes: int = 1,
    eight_bit: bool = False,
    most: int = 8,
) -> Iterator[Change]:
    """Yield what could be changed, from the cheapest on; each keeps the changes before it.

    Args:
        peak: As planned now.
        checkpointing: Whether blocks are computed again in the backward pass.
        batch: Triplets per process.
        world: Processes.
        spread: Whether the backbone is spread over them.
        nodes: That the processes are on.
        eight_bit: Whether the frozen blocks are kept in 8 bits already.
        most: Processes that may be asked for on each node.
    """
    now, said = dict(peak), []
    if not checkpointing:
        said.append("model.backbone.gradient_checkpointing=true")
        now["activations"] = now.get("activations", 0.0) / 8  # about: what a block keeps is many
        yield Change(tuple(said), dict(now))
    for smaller in range(batch - 1, 0, -1):
        share = smaller / batch
        part = now | {name: now.get(name, 0.0) * share for name in GROWING}
        yield Change((*said, f"data.batch_size={smaller}"), part)
    if batch > 1:
        now |= {name: now.get(name, 0.0) / batch for name in GROWING}
        said.append("data.batch_size=1")
    said.append("trainer=fsdp")
    devices, asked = world // nodes if spread else 1, ()
    whole = {name: now.get(name, 0.0) * (world if spread else 1) for name in SPREAD}
    while devices * 2 <= most:
        devices *= 2
        asked = (f"trainer.devices={devices}",)
        now |= {name: size / (devices * nodes) for name, size in whole.items()}
        yield Change((*said, *asked), dict(now))
    said.extend(asked)
    if not eight_bit:
        now |= {name: now.get(name, 0.0) * 0.55 for name in ("parameters", "gathered blocks")}
        said.append("model.backbone.eight_bit=true")
        yield Change(tuple(said), dict(now))
    kept = {name: value for name, value in now.items() if name not in SPREAD}
    yield Change((*said, "trainer.strategy.cpu_offload=true"), kept)


# ---- a model of any depth from two shallow ones ---------------------------------------------


@dataclass(frozen=True)
class Straight:
    """Memory that grows evenly with depth and batch: known at two of each, it is known at all.

    Args:
        corners: Bytes by part for each stretch of a step, by (layers, batch).
        world: Processes of the corners.
    """

    corners: Mapping[tuple[int, int], Mapping[str, Parts]]
    world: int

    def at(self, layers: int, batch: int, world: int) -> dict[str, float]:
        """Return the peak by part of a deeper model, in the stretch where it is largest."""
        stretches = set.intersection(*(set(corner) for corner in self.corners.values()))
        guesses = [self._stretch(name, layers, batch, world) for name in sorted(stretches)]
        return max(guesses, key=lambda parts: sum(parts.values()))

    def _stretch(self, name: str, layers: int, batch: int, world: int) -> dict[str, float]:
        parts = sorted({part for corner in self.corners.values() for part in corner[name]})
        values = {}
        for part in parts:
            value = self._between(name, part, layers, batch)
            values[part] = value * self.world / world if part in SPREAD else value
        return values

    def _between(self, name: str, part: str, layers: int, batch: int) -> float:
        few, many = (f({key[0] for key in self.corners}) for f in (min, max))
        small, large = (f({key[1] for key in self.corners}) for f in (min, max))
        x, y = (layers - few) / (many - few), (batch - small) / (large - small)

        def corner(depth: int, size: int) -> float:
            return self.corners[depth, size][name].get(part, 0.0)

        low = corner(few, small) * (1 - x) + corner(many, small) * x
        high = corner(few, large) * (1 - x) + corner(many, large) * x
        return max(low * (1 - y) + high * y, 0.0)


def gigabytes(size: float) -> str:
    """Return bytes in units of 10^9.

    Example:
        >>> gigabytes(12_345_678_901)
        '12.35'
    """
    return f"{size / 1e9:.2f}" if math.isfinite(size) else "-"
