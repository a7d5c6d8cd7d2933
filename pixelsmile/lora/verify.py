"""Judge a LoRA file: what is in it, what fits the transformer, what stock diffusers applies."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pixelsmile.errors import UserError
from pixelsmile.lora.files import Scan, scan
from pixelsmile.lora.keys import module_type
from pixelsmile.lora.stock import empty_transformer, linear_shapes, stock_scales

_SHOWN = 12


@dataclass
class Verdict:
    """What `verify` found.

    Args:
        found: The file.
        misfits: Modules that the transformer lacks or has in another size.
        skipped: Modules of the file whose weights stock diffusers does not load.
        scales: The scale that stock diffusers applies to each module it loads.
        declared: The scale that the file itself names for each whole module; None where it names
            none.
        faults: Sentences, in the order of the table's columns; empty when the file is fine.
    """

    found: Scan
    misfits: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    scales: dict[str, float] = field(default_factory=dict)
    declared: dict[str, float | None] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def fine(self) -> bool:
        """Whether stock diffusers applies the whole file as its metadata says."""
        return not self.faults


def verify(file: str | Path, transformer: str | Path | None = None) -> Verdict:
    """Judge a file against a transformer.

    Args:
        file: LoRA file or its folder.
        transformer: Folder or `config.json`; None for the sizes of Qwen-Image.

    Raises:
        UserError: If the file or config cannot be read at all.
    """
    verdict = Verdict(scan(file))
    found, model = verdict.found, empty_transformer(transformer)
    shapes = linear_shapes(model)
    verdict.misfits = [m for m in found.whole_modules() if not _fits(found, m, shapes)]
    _count(verdict.faults, found.unmatched, "keys belong to no module of the transformer")
    _count(verdict.faults, found.repeated, "keys repeat another key")
    _count(verdict.faults, found.halves(), "modules lack a matrix, or two that fit each other")
    _count(verdict.faults, verdict.misfits, "modules are not in this transformer at this size")
    _count(verdict.faults, _broken(found), "modules hold NaN or infinity")
    if not found.parts:
        verdict.faults.append("there is no LoRA of a Qwen-Image transformer in it")
        return verdict
    for module in found.whole_modules():
        try:
            layer = found.layer(module)
            verdict.declared[module] = None if layer.alpha is None else layer.scale
        except UserError as error:
            verdict.declared[module] = None
            verdict.faults.append(str(error).rstrip("."))
            break
    try:
        verdict.scales = stock_scales(found, model)
    except UserError as error:
        verdict.faults.append(str(error).rstrip("."))
        return verdict
    verdict.skipped = [module for module in found.parts if module not in verdict.scales]
    _count(verdict.faults, verdict.skipped, "modules are skipped by stock diffusers, silently")
    wrong = [m for m, scale in verdict.scales.items() if _differs(scale, verdict.declared.get(m))]
    _count(verdict.faults, wrong, "modules get another scale than the file names")
    return verdict


def _fits(found: Scan, module: str, shapes: dict[str, tuple[int, int]]) -> bool:
    down, up = found.parts[module]["down"], found.parts[module]["up"]
    return shapes.get(module) == (up.shape[0], down.shape[1])


def _broken(found: Scan) -> list[str]:
    return [
        module
        for module, parts in found.parts.items()
        if any(part.is_floating_point() and not part.isfinite().all() for part in parts.values())
    ]


def _differs(scale: float, declared: float | None) -> bool:
    return declared is not None and not math.isclose(scale, declared, rel_tol=5e-3)


def _count(faults: list[str], names: Sequence[str], what: str) -> None:
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        faults.append(f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{more}")


def show(verdict: Verdict, console: Console) -> None:
    """Print the table, the facts of the file and the verdict."""
    found = verdict.found
    table = Table("modules", "in the file", "fit the model", "stock loads", "at scale", "named")
    by_type: dict[str, list[str]] = defaultdict(list)
    for module in found.parts:
        by_type[module_type(module)].append(module)
    misfits, halves = set(verdict.misfits), set(found.halves())
    for name, modules in sorted(by_type.items()):
        fit = sum(module not in misfits and module not in halves for module in modules)
        loaded = [module for module in modules if module in verdict.scales]
        table.add_row(
            name,
            str(len(modules)),
            str(fit),
            str(len(loaded)),
            _values([verdict.scales[module] for module in loaded]),
            _values([verdict.declared.get(module) for module in modules]),
        )
    console.print(table)
    if found.facts:
        facts = (f"{k.removeprefix('pixelsmile.')} {v}" for k, v in sorted(found.facts.items()))
        console.print(escape("Trained: " + ", ".join(facts)), highlight=False)
    for line in _sentences(verdict):
        console.print(escape(line), highlight=False)


def _values(values: Sequence[float | None]) -> str:
    """Return the different values, in short: '2', '1 to 2', 'none'."""
    known = sorted({round(value, 4) for value in values if value is not None})
    if not known:
        return "none"
    text = f"{known[0]:g}" if len(known) == 1 else f"{known[0]:g} to {known[-1]:g}"
    return text if None not in values else f"{text} or none"


def _sentences(verdict: Verdict) -> list[str]:
    file, scales = verdict.found.file, list(verdict.scales.values())
    lines = [f"- {fault}" for fault in verdict.faults]
    if scales and None in verdict.declared.values():
        lines.append(
            "The file names no alpha, so loaders apply scale 1. If its training had another "
            f"alpha / rank, write it in: python -m pixelsmile.lora export file={file} "
            "out=<file> scale=<alpha / rank>"
        )
    if verdict.fine:
        lines.append(
            f"Fine: stock diffusers loads all {len(scales)} modules at scale {_values(scales)}."
        )
    elif verdict.skipped and not verdict.misfits and not verdict.found.unmatched:
        lines.append(
            f"Not fine. This makes a file that loads whole: python -m pixelsmile.lora export "
            f"file={file} out=<file> scale=<alpha / rank of its training>"
        )
    elif verdict.misfits:
        lines.append("Not fine: give the transformer it was trained on, transformer=<folder>.")
    else:
        lines.append("Not fine.")
    return lines
