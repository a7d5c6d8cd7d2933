"""The table of many cards, numbers of GPUs, batches and checkpointing, made of a few fake steps."""

import copy
import itertools
import json
import math
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig, open_dict

from pixelsmile.files import whole_file
from pixelsmile.planning.estimate import Assumptions, Straight
from pixelsmile.planning.step import trace_step
from pixelsmile.progress import Advance, progress

CARDS = (24, 40, 48, 80, 141)
"""Memory in GB."""

PROCESSES = (1, 2, 4, 8)
BATCHES = (1, 2, 3, 4)
LAYERS = (2, 4)
"""Depths of the models that are traced; deeper ones follow from them."""

TRACED = (1, 2)
"""Batches that are traced."""

WORLD = 8
"""Processes that are traced; with another number the shares of each are others."""


def straight(config: DictConfig, *, checkpointing: bool, advance: Advance) -> Straight:
    """Return the memory of a configuration at any depth, batch and number of processes."""
    corners = {}
    with tempfile.TemporaryDirectory() as folder:
        for layers, batch in itertools.product(LAYERS, TRACED):
            changed = shallow(config, layers, Path(folder) / str(layers))
            changed.model.backbone.gradient_checkpointing = checkpointing
            changed.data.batch_size = batch
            corners[layers, batch] = trace_step(changed, WORLD).peaks
            advance(1)
    return Straight(corners, WORLD)


def shallow(config: DictConfig, layers: int, folder: Path) -> DictConfig:
    """Return a configuration of a model with fewer blocks, whose shape is written to a folder."""
    changed = copy.deepcopy(config)
    if not folder.exists():
        shutil.copytree(config.model.planned.folder, folder)
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_layers": layers}))
    with open_dict(changed):
        changed.model.planned.folder = str(folder)
    return changed


def depth(config: DictConfig) -> int:
    """Return the blocks of a configuration's transformer."""
    path = Path(config.model.planned.folder) / "transformer" / "config.json"
    return json.loads(path.read_text())["num_layers"]


def write_table(config: DictConfig, assumed: Assumptions) -> Path:
    """Write the table as Markdown and return where.

    Args:
        config: Of a plan, with `trainer=fsdp`.
        assumed: Beside it.
    """
    with progress("Running shallow fake steps", 2 * len(LAYERS) * len(TRACED)) as advance:
        lines = {
            again: straight(config, checkpointing=again, advance=advance) for again in (True, False)
        }
    path = Path(config.plan.table)
    with whole_file(path) as file:
        file.write(markdown(lines, depth(config), str(config.model.base), assumed).encode())
    return path


def markdown(lines: Mapping[bool, Straight], layers: int, base: str, assumed: Assumptions) -> str:
    """Return the page with the table.

    Args:
        lines: The memory with and without gradient checkpointing.
        layers: Blocks of the model.
        base: Its name.
        assumed: What is added to the peak.
    """
    rows = []
    for again, world, batch in itertools.product((True, False), PROCESSES, BATCHES):
        needed = assumed.needed(lines[again].at(layers, batch, world)) / 1e9
        fits = " | ".join("yes" if needed <= card else "no" for card in CARDS)
        up = math.ceil(needed * 100) / 100  # or 24.004 GB would read as what a 24 GB card has
        rows.append(f"| {'on' if again else 'off'} | {world} | {batch} | {up:.2f} | {fits} |")
    head = " | ".join(f"{card} GB" for card in CARDS)
    return _PAGE.format(
        base=base,
        layers=layers,
        traced=f"{LAYERS[0]} and {LAYERS[1]}",
        fragmentation=f"{assumed.fragmentation:.0%}",
        reserved=f"{assumed.reserved / 1e9:.1f}",
        head=head,
        rule="---|" * (4 + len(CARDS)),
        rows="\n".join(rows),
    )


_PAGE = """# Memory

**Computed, not run.** Nothing in this table was measured on a GPU. This page is written by

    python -m pixelsmile.plan table model=qwen_image_edit_2511 trainer=fsdp

It shows the memory that each GPU must have when `{base}` ({layers} blocks) is trained with
`trainer=fsdp`, in GB (10^9 bytes): the peak of a step, {fragmentation} more for the allocator's
waste, and {reserved} GB for CUDA and NCCL. The last two are assumptions.

Models of {traced} blocks at batches of 1 and 2 were run on fake tensors, with their real sharding
over 8 processes; depth, batch and the share of each process are continued in straight lines. The
step is the second of a training, when Adam has its state. Every face counts in the identity loss,
the largest a step can be. For one setting `python -m pixelsmile.plan` runs the whole model and
shows the parts.

Batch is `data.batch_size`, triplets per GPU; each goes through the transformer twice.
Checkpointing is `model.backbone.gradient_checkpointing`.

| checkpointing | GPUs | batch | GB | {head} |
|{rule}
{rows}

What else makes room: `model.backbone.eight_bit=true` halves the base, and
`trainer.strategy.cpu_offload=true` keeps it in the host's memory; see [cluster.md](cluster.md).
"""
