"""Look at a data set before any training: `python -m pixelsmile.data.check data=ffe ...`.

Reads the set as a training would, goes on past everything that is wrong, compares each target with
its source and each held-out person with those trained on. Leaves `report.json` and a contact sheet
of each pair. Exit code 0 says that the set is usable as the config stands, 1 that it is not, 2 that
the config cannot be used.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pixelsmile.command import EndedError, command
from pixelsmile.data.crops import Resize
from pixelsmile.data.faults import KINDS, UnusableSetError
from pixelsmile.data.inspection import Finding, inspect, twins
from pixelsmile.data.reading import call_reader
from pixelsmile.data.samples import Sample, by_identity
from pixelsmile.data.splits import Faces
from pixelsmile.data.squares import load_picture
from pixelsmile.data.triplets import Pair, Triplet, strength_of
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS, NEUTRAL
from pixelsmile.faces.sheet import contact_sheet
from pixelsmile.files import whole_file

TITLES = KINDS | {
    "set": "the set as a whole",
    "bounds": "boxes that stick out of their image",
    "size": "targets of another size than their source",
    "misaligned": "targets displaced against their source",
    "twin": "people nearly the same in both splits",
}
"""Kinds of findings, and how the table calls them."""

_SHEET_ROWS = 6
_CELL = 128


def check(config: DictConfig, console: Console) -> bool:
    """Report on the data of a config, and tell whether it is usable.

    Raises:
        UserError: If the config itself cannot be used.
    """
    settings = config.data.check
    tolerated = tolerated_kinds(config)
    out = Path(settings.out)
    config = OmegaConf.merge(config, {"data": {"on_error": "skip"}})  # pyright: ignore
    try:
        faces = call_reader(config)
        findings = [Finding(fault.kind, str(fault)) for fault in faces.faults]
        findings += _inspect(config, faces)
    except UnusableSetError as error:
        faces = Faces([], [], [])
        findings = [Finding("set", str(error))]
        findings += [Finding(fault.kind, str(fault)) for fault in error.faults]
    displaced = sum(kind == "misaligned" for kind, _ in findings)
    if displaced <= settings.max_misaligned * (len(faces.train) + len(faces.val)):
        tolerated.add("misaligned")
    usable = all(kind in tolerated for kind, _ in findings)
    resize = Resize(config.data.resize, config.data.vertical_bias)
    sheets = write_sheets(faces.triplets, resize, out)
    report = {"usable": usable, "tolerated": sorted(tolerated), **counts(faces)}
    report["findings"] = _by_kind(findings)
    with whole_file(out / "report.json") as file:
        file.write(json.dumps(report, indent=2, ensure_ascii=True).encode())
    _show(console, report, tolerated)
    _say(console, f"Contact sheets  {', '.join(path.name for path in sheets) or 'none'} in {out}")
    _say(console, f"All findings    {out / 'report.json'}")
    _say(console, "The set is usable." if usable else "The set is NOT usable as it stands.")
    return usable


def tolerated_kinds(config: DictConfig) -> set[str]:
    """Return the kinds of findings that leave the set usable.

    What a run leaves out by itself does, as long as something remains.
    """
    tolerated = set(config.data.check.tolerate)
    if unknown := sorted(tolerated - set(TITLES)):
        raise UserError(
            f"data.check.tolerate has {', '.join(unknown)}: choose among {', '.join(TITLES)}."
        )
    return tolerated | set(KINDS) if config.data.on_error == "skip" else tolerated


def _inspect(config: DictConfig, faces: Faces) -> list[Finding]:
    options = {"max_shift": config.data.check.max_shift, "workers": config.data.workers}
    train, findings = inspect(faces.train, **options)
    val, more = inspect(faces.val, **options)
    return findings + more + twins(train, val, max_distance=config.data.check.max_distance)


def pair_of(triplet: Triplet) -> Pair:
    """Return the two expressions of a triplet, the earlier of `EXPRESSIONS` first."""
    names = {triplet.target_a.category, triplet.target_b.category}
    first, second = (name for name in EXPRESSIONS if name in names)
    return first, second


def counts(faces: Faces) -> dict[str, Any]:
    """Return how much there is of everything, as it goes into the report."""
    pairs: dict[Pair, list[Triplet]] = defaultdict(list)
    for triplet in faces.triplets:
        pairs[pair_of(triplet)].append(triplet)
    return {
        "splits": {name: _of_split(getattr(faces, name)) for name in ("train", "val")},
        "expressions": {
            name: {
                split: sum(sample.category == name for sample in getattr(faces, split))
                for split in ("train", "val")
            }
            for name in (NEUTRAL, *EXPRESSIONS)
        },
        "pairs": {
            f"{first}-{second}": {
                "triplets": len(found),
                "identities": len({triplet.source.identity for triplet in found}),
            }
            for (first, second), found in sorted(pairs.items())
        },
        "identities": {
            split: {
                name: dict(Counter(sample.category for sample in images))
                for name, images in by_identity(getattr(faces, split)).items()
            }
            for split in ("train", "val")
        },
    }


def _of_split(samples: Sequence[Sample]) -> dict[str, Any]:
    sizes = [len(images) for images in by_identity(samples).values()]
    return {
        "images": len(samples),
        "identities": len(sizes),
        "images_per_identity": [min(sizes), median(sizes), max(sizes)] if sizes else [],
        "with_box": sum(sample.box is not None for sample in samples),
        "with_landmarks": sum(sample.landmarks is not None for sample in samples),
    }


def _by_kind(findings: Sequence[Finding]) -> dict[str, list[str]]:
    """Group findings by kind, in the order of `TITLES`."""
    groups = {kind: [f.text for f in findings if f.kind == kind] for kind in TITLES}
    return {kind: texts for kind, texts in groups.items() if texts}


# ---- pictures -------------------------------------------------------------------------------


def write_sheets(triplets: Sequence[Triplet], resize: Resize, out: Path) -> list[Path]:
    """Draw a contact sheet of each pair: a row a person, with the strongest images."""
    chosen: dict[Pair, dict[str, Triplet]] = defaultdict(dict)
    for triplet in triplets:
        people = chosen[pair_of(triplet)]
        known = people.get(triplet.source.identity)
        if known is None and len(people) == _SHEET_ROWS:
            continue
        if known is None or strength_of(triplet.target_a) > strength_of(known.target_a):
            people[triplet.source.identity] = triplet
    paths = []
    for pair, people in sorted(chosen.items()):
        rows, labels = [], []
        for name, triplet in people.items():
            ordered = sorted(triplet[1:], key=lambda sample: sample.category != pair[0])
            rows.append([_picture(sample, resize) for sample in (triplet.source, *ordered)])
            labels.append(name if len(name) <= 16 else f"..{name[-14:]}")
        sheet = contact_sheet(rows, labels, (NEUTRAL, *pair), cell=_CELL)
        paths.append(out / f"{pair[0]}-{pair[1]}.png")
        with whole_file(paths[-1]) as file:
            sheet.save(file, format="PNG")
    return paths


def _picture(sample: Sample, resize: Resize) -> Any:
    """Return an image as training will see it, or None where it cannot be read."""
    try:
        return load_picture(sample, _CELL, resize)
    except UserError:
        return None


# ---- the terminal ---------------------------------------------------------------------------


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _show(console: Console, report: dict[str, Any], tolerated: set[str]) -> None:
    splits = report["splits"]
    table = Table(title="Images")
    for title in ("", "train", "val"):
        table.add_column(title, justify="right" if title else "left")
    for key in ("identities", "images", "images_per_identity", "with_box", "with_landmarks"):
        values = [splits[name][key] for name in ("train", "val")]
        if key == "images_per_identity":
            values = [f"{v[0]} to {v[-1]}" if v else "-" for v in values]
        table.add_row(key.replace("_", " "), *map(str, values))
    table.add_section()
    for name, row in report["expressions"].items():
        table.add_row(name, str(row["train"]), str(row["val"]))
    console.print(table)

    table = Table(title="Pairs to train on")
    for title in ("pair", "triplets", "identities"):
        table.add_column(title, justify="left" if title == "pair" else "right")
    for pair, row in report["pairs"].items():
        table.add_row(pair, str(row["triplets"]), str(row["identities"]))
    console.print(table)

    if not report["findings"]:
        _say(console, "Nothing was found that is wrong.")
        return
    table = Table(title="Findings")
    for title in ("kind", "number", "counts", "first"):
        table.add_column(title, justify="right" if title == "number" else "left")
    for kind, texts in report["findings"].items():
        weight = "tolerated" if kind in tolerated else "not usable"
        first = texts[0] if texts[0].isprintable() else ascii(texts[0])
        table.add_row(f"{kind}: {TITLES[kind]}", str(len(texts)), weight, Text(first))
    console.print(table)


@command("train")
def main(config: DictConfig) -> None:
    """Report on the data and exit with the verdict."""
    if not check(config, Console()):
        raise EndedError(1)


if __name__ == "__main__":
    main()
