"""Know what a training needs before paying for it, without a GPU and without weights.

    python -m pixelsmile.plan model=qwen_image_edit_2511 trainer=fsdp trainer.devices=8 gpu=h100

Takes every setting of `pixelsmile.train`. `python -m pixelsmile.plan table` writes what many cards,
numbers of GPUs, batches and gradient checkpointing would need.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from pixelsmile.command import command
from pixelsmile.errors import UserError
from pixelsmile.parallel import ShardedStrategy, check_optimizer
from pixelsmile.planning.estimate import SPREAD, Assumptions, changes, gigabytes
from pixelsmile.planning.ledger import PARTS
from pixelsmile.planning.step import Trace, trace_step
from pixelsmile.planning.table import CARDS, depth, write_table
from pixelsmile.progress import progress
from pixelsmile.stack import quiet


def processes_of(config: DictConfig) -> int:
    """Return how many processes the trainer of a configuration asks for.

    Raises:
        UserError: If the number is not said, as with `auto`: this machine is not the one.
    """
    devices, nodes = config.trainer.devices, config.trainer.get("num_nodes", 1)
    if not isinstance(devices, int) or devices < 1 or not isinstance(nodes, int) or nodes < 1:
        raise UserError(
            f"trainer.devices is {devices} and trainer.num_nodes is {nodes}: say how many GPUs "
            "to plan for, such as trainer.devices=8."
        )
    return devices * nodes


def check(config: DictConfig) -> Assumptions:
    """Return the assumptions of a configuration.

    Raises:
        UserError: If a number of the plan cannot be, or the training would be refused.
    """
    check_optimizer(config)
    plan = config.plan
    for name in ("efficiency", "link_efficiency"):
        if not 0 < plan[name] <= 1:
            raise UserError(f"plan.{name} is {plan[name]}: choose a share above 0, at most 1.")
    for name in ("reserved", "fragmentation", "images", "sources", "triplets"):
        if plan[name] < 0:
            raise UserError(f"plan.{name} is {plan[name]}: choose 0 or more.")
    if config.data.batch_size < 1:
        raise UserError(f"data.batch_size is {config.data.batch_size}: choose 1 or more.")
    return Assumptions(plan.efficiency, plan.link_efficiency, plan.reserved, plan.fragmentation)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep what libraries say about fake tensors out of the report."""
    quiet()
    logging.disable(logging.WARNING)  # such as that a model has no weights
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def run(config: DictConfig, world: int) -> Trace:
    """Trace a step and show how far it is.

    Raises:
        UserError: If a part of the configuration cannot be built here.
    """
    again = config.model.backbone.gradient_checkpointing
    with progress("Running one fake step (blocks)", depth(config) * (2 if again else 1)) as advance:
        try:
            with _quietly():
                return trace_step(config, world, advance)
        except InstantiationException as error:
            raise UserError(
                f"A part of the configuration cannot be built for a plan: "
                f"{' '.join(str(error).split())} Leave it at its default."
            ) from error


def on_gpu(config: DictConfig, peak: dict[str, int]) -> dict[str, int]:
    """Return the part of a peak that is on the GPU: not what is kept in the host's memory."""
    strategy = config.trainer.get("strategy")
    if strategy is None or not strategy.get("cpu_offload"):
        return peak
    return {name: size for name, size in peak.items() if name not in SPREAD}


# ---- what is shown --------------------------------------------------------------------------


def memory_table(title: str, peak: dict[str, int], needed: float, assumed: Assumptions) -> Table:
    """Return the memory of one process by part."""
    table = Table(title=title, title_justify="left")
    table.add_column("part")
    table.add_column("GB", justify="right")
    for part in PARTS:
        table.add_row(part, gigabytes(peak.get(part, 0)))
    table.add_section()
    table.add_row("peak of the step", gigabytes(sum(peak.values())))
    table.add_row(f"with {assumed.fragmentation:.0%} fragmentation and CUDA", gigabytes(needed))
    return table


def cost_table(config: DictConfig, trace: Trace, world: int, assumed: Assumptions) -> Table:
    """Return FLOPs, time and disk."""
    gpu, plan = config.gpu, config.plan
    seconds = assumed.seconds(trace.flops, trace.moved, gpu.peak_flops, gpu.link)
    samples = config.data.batch_size * world * config.trainer.accumulate_grad_batches
    seconds *= config.trainer.accumulate_grad_batches
    hours = plan.triplets / samples * seconds / 3600
    disk = plan.images * trace.image_bytes + plan.sources * trace.source_bytes
    table = Table(title="Time and disk (estimates)", title_justify="left", show_header=False)
    rows = {
        "parameters of the base": f"{trace.base:,}",
        "trainable parameters": f"{trace.adapter:,} ({trace.adapter * 2 / 1e6:.0f} MB in bfloat16)",
        "FLOPs per process and step": f"{trace.flops:.3g}",
        "of them the transformer's, once": f"{trace.model_flops:.3g}",
        "received per process and step": f"{gigabytes(trace.moved)} GB",
        f"seconds per step at {plan.efficiency:.0%} of peak": f"{seconds:.2f}",
        f"hours per epoch of {plan.triplets:,} triplets": f"{hours:.1f}",
        f"cache of {plan.images:,} images, {plan.sources:,} sources": f"{gigabytes(disk)} GB",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def verdict(config: DictConfig, peak: dict[str, int], world: int, assumed: Assumptions) -> str:
    """Return whether it fits, and else the first change that should make it fit."""
    memory, needed = config.gpu.memory, assumed.needed(peak)
    room = f"{gigabytes(needed)} of {gigabytes(memory)} GB of {config.gpu.name}"
    if needed <= memory:
        return f"fits: {room}."
    strategy = instantiate(config.trainer.get("strategy"))
    for change in changes(
        peak,
        checkpointing=config.model.backbone.gradient_checkpointing,
        batch=config.data.batch_size,
        world=world,
        spread=isinstance(strategy, ShardedStrategy),
        nodes=config.trainer.get("num_nodes", 1),
        eight_bit=config.model.backbone.eight_bit,
    ):
        if assumed.needed(change.peak) <= memory:
            return (
                f"does not fit: {room}. Change this: {' '.join(change.settings)} (about "
                f"{gigabytes(assumed.needed(change.peak))} GB; plan it to be sure)."
            )
    larger = " (gpu=h200)" if memory < 1e9 * max(CARDS) else ""
    return (
        f"does not fit: {room}. None of the settings is enough: take GPUs with more "
        f"memory{larger}, or a smaller model.sizes.image."
    )


def plan(config: DictConfig, console: Console) -> None:
    """Trace the step of a configuration and print what it needs."""
    world, assumed = processes_of(config), check(config)
    trace = run(config, world)
    peak = on_gpu(config, trace.peak)
    what = f"{config.model.base}, batch {config.data.batch_size}, process 1 of {world}"
    console.print(memory_table(f"Peak memory: {what}", peak, assumed.needed(peak), assumed))
    console.print(cost_table(config, trace, world, assumed))
    console.print(verdict(config, peak, world, assumed), highlight=False, soft_wrap=True)
    console.print("Computed, not run.", highlight=False)


def table(config: DictConfig) -> None:
    """Write the table of many settings.

    Raises:
        UserError: If the trainer does not spread the backbone: the table is about shares of it.
    """
    if not isinstance(instantiate(config.trainer.get("strategy")), ShardedStrategy):
        raise UserError("The table is about a backbone that is spread: add trainer=fsdp.")
    with _quietly():
        path = write_table(config, check(config))
    Console().print(f"Wrote {path}", highlight=False, soft_wrap=True)


@command("plan", verbs={"table": table})
def main(config: DictConfig) -> None:
    """Say what a training needs."""
    torch.set_num_threads(1)
    plan(config, Console())


if __name__ == "__main__":
    main()
