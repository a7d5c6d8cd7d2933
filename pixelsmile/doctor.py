"""Say what this machine has: `python -m pixelsmile.doctor paths.weights=<folder>`.

Versions, devices, memory, disk, and which weights of the real stack are there. Takes the settings
of `pixelsmile.train`. Finds fault with nothing: a broken part is a line of the report.
"""

import importlib.metadata
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import pixelsmile
from pixelsmile.command import command
from pixelsmile.weight_files import BrokenWeightsError, WeightFile, describe
from pixelsmile.weights import WEIGHTS

_PACKAGES = (
    "torch", "torchvision", "lightning", "diffusers", "transformers", "peft", "open_clip_torch",
    "onnx", "onnx2torch", "onnxruntime", "safetensors", "torchmetrics", "hydra-core",
)  # fmt: skip
_OPTIONAL = {
    "insightface": "detects faces (SCRFD)",
    "facenet-pytorch": "FaceNet, MTCNN",
    "bitsandbytes": "8-bit AdamW",
}
_PLACES = ("weights", "data", "cache", "runs")
_TINY = Path(__file__).parent / "faces" / "tiny" / "weights"


@command("train")
def main(config: DictConfig) -> None:
    """Print the report."""
    paths = {
        name: None if OmegaConf.is_missing(config.paths, name) else str(config.paths[name])
        for name in _PLACES
    }
    console = Console()
    console.print(machine_table(), paths_table(paths))
    looks = look_at_weights(paths["weights"])
    console.print(weights_table(looks))
    for line in advice(paths["weights"], looks):
        console.print(escape(line), highlight=False, soft_wrap=True)


# ---- the machine ----------------------------------------------------------------------------


def machine_table() -> Table:
    """Return versions, devices and memory."""
    table = _table("This machine", "", "")
    table.add_row("pixelsmile", pixelsmile.__version__)
    table.add_row("Python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    for name in _PACKAGES:
        table.add_row(name, _version(name) or "[red]missing[/]: make venv")
    for name, use in _OPTIONAL.items():
        table.add_row(name, _version(name) or f"not installed (optional: {use})")
    table.add_row("CPU", f"{_attempt(_processors)} cores")
    table.add_row("memory", _attempt(_memory))
    table.add_row("GPU", _attempt(_devices))
    return table


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _attempt(look: Callable[[], object]) -> str:
    """Return what a look at the machine finds, or why it finds nothing."""
    try:
        return escape(str(look()))
    except Exception as error:  # a doctor reports whatever is broken
        return f"[red]unknown[/] ({escape(f'{type(error).__name__}: {error}'[:120])})"


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> str:
    text = Path("/proc/meminfo").read_text()
    kilobytes = {name: int(value) for name, value in re.findall(r"(\w+):\s+(\d+) kB", text)}
    free, total = (gigabytes(kilobytes[key] * 1024) for key in ("MemAvailable", "MemTotal"))
    return f"{free} free of {total}"


def _devices() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none: the tiny stack runs on the CPU; the real one needs a GPU"
    lines = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
        lines.append(f"{index}: {name}, {gigabytes(free)} free of {gigabytes(total)}, {bf16}")
    return "\n".join([f"CUDA {torch.version.cuda}", *lines])


def paths_table(paths: dict[str, str | None]) -> Table:
    """Return where things go and how much room there is."""
    table = _table("Folders", "", "path", "free")
    for name, path in paths.items():
        shown = "not set: paths.weights=<folder>" if path is None else path
        free = "" if path is None else _attempt(lambda path=path: _room(Path(path)))
        table.add_row(f"paths.{name}", escape(shown), free)
    return table


def _room(path: Path) -> str:
    place = next(
        parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists()
    )
    usage = shutil.disk_usage(place)
    note = "" if os.access(place, os.W_OK) else ", not writable"
    return f"{gigabytes(usage.free)} of {gigabytes(usage.total)}{note}"


# ---- weights --------------------------------------------------------------------------------


class Look(NamedTuple):
    """What was found at one place."""

    state: str
    format: str = ""
    values: str = ""
    size: str = ""

    @property
    def usable(self) -> bool:
        """Whether weights are there and whole as far as headers tell."""
        return bool(self.format)


def look_at_weights(root: str | None) -> dict[str, Look]:
    """Look at every row of the table of weights, by name."""
    return {
        weight.name: look(None if root is None else Path(root) / weight.place) for weight in WEIGHTS
    }


def look(place: Path | None) -> Look:
    """Describe what is at a place; whatever is wrong with it is part of the description."""
    try:
        if place is None or not place.exists():
            return Look("missing")
        found = describe(place)
    except BrokenWeightsError as error:
        return Look(f"[red]damaged[/]: {escape(str(error))}")
    except Exception as error:  # no permission, a loop of links, a failing disk
        return Look(f"[red]unreadable[/]: {escape(f'{type(error).__name__}: {error}'[:120])}")
    size = gigabytes(found.size)
    return Look("[green]there[/]", escape(found.format), values(found), size)


def weights_table(looks: dict[str, Look]) -> Table:
    """Return which weights are there, and what they are."""
    table = _table("Weights", "", "place", "state", "format", "values", "size")
    table.add_row("tiny stack", "in the package", *look(_TINY))
    for weight in WEIGHTS:
        table.add_row(weight.name, escape(weight.place), *looks[weight.name])
    return table


def values(found: WeightFile) -> str:
    """Return counts by dtype, the largest first.

    Example:
        >>> from collections import Counter
        >>> values(WeightFile("safetensors", parameters=Counter(BF16=20_430_401_088, F32=3)))
        '20.43 B BF16, 3 F32'
    """
    return ", ".join(f"{_count(n)} {kind}" for kind, n in found.parameters.most_common(3))


def _count(number: int) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.2f} {letter}"
    return str(number)


def gigabytes(size: int) -> str:
    """Return a number of bytes in the unit that suits it.

    Example:
        >>> gigabytes(849_346_560), gigabytes(40_860_802_176)
        ('849.3 MB', '40.9 GB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def advice(root: str | None, looks: dict[str, Look]) -> Iterator[str]:
    """Yield what is missing and the command to get it."""
    lacking = [weight for weight in WEIGHTS if not looks[weight.name].usable]
    if not lacking:
        return
    yield "To get what is missing or damaged (the real stack needs it, the tiny stack does not):"
    for weight in lacking:
        yield f"# {weight.name}: {weight.use}. {weight.source}, {weight.licence}"
        if weight.commands:
            yield weight.command(root or "weights")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=any(columns))
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


if __name__ == "__main__":
    main()
