"""Write a set of synthetic faces in the FFE layout, whole or not at all.

The set grows in `<out>.partial` and is renamed when it is complete. A run that was stopped, killed
or ran out of disk is continued from its finished identities; the result has the same bytes as
an undisturbed run, whatever the number of workers.
"""

import fcntl
import functools
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pixelsmile.errors import UserError, is_disk_full, naming
from pixelsmile.faces.base import FaceGenerator
from pixelsmile.faces.fingerprint import fingerprint
from pixelsmile.faces.identity import identity_name, read_record, write_identity
from pixelsmile.faces.scores import MAX_STRENGTH
from pixelsmile.faces.seeds import check_seeds
from pixelsmile.faces.sheet import set_sheet
from pixelsmile.files import whole_file
from pixelsmile.progress import progress
from pixelsmile.workers import available, run_parallel

ANNOTATIONS = "annotations.jsonl"
SETTINGS = "dataset.json"
SHEET = "sheet.png"
STRENGTHS = (0.35, 0.7, 1.0)
SIZES = (32, 1024)

Settings = dict[str, Any]


def write_dataset(
    generator: FaceGenerator,
    seeds: Sequence[int],
    out: str | os.PathLike[str],
    *,
    strengths: Sequence[float] = STRENGTHS,
    size: int = 128,
    workers: int | None = None,
    split: str | None = None,
    reserved: bool = False,
    sheet: bool = True,
    overwrite: bool = False,
) -> Path:
    """Write a face set, or find it already there, and return its annotation file.

    Args:
        generator: Draws the faces; with several workers it must be picklable.
        seeds: One per identity; lines are written in this order.
        out: Folder of the set, made by this function.
        strengths: Strengths of each of the twelve expressions, in (0, 1.5].
        size: Edge of the square images in pixels, 32 to 1024.
        workers: Number of processes, by default one per core.
        split: Name of the split for every line, or None for no such key.
        reserved: Allow evaluation seeds, see `pixelsmile.faces.seeds`.
        sheet: Add a contact sheet.
        overwrite: Replace a set of other settings at `out`.

    Returns:
        Path of `annotations.jsonl`.

    Raises:
        UserError: If an argument is out of range, or `out` holds anything but this very set.
        OSError: If a file cannot be written. What is finished stays for the next run.
    """
    check_seeds(seeds, reserved=reserved)
    strengths = check_strengths(strengths)
    check_size(size)
    workers = check_workers(workers)
    out = Path(out)
    settings: Settings = {
        "domain": generator.domain,
        "seeds": [int(seed) for seed in seeds],
        "strengths": list(strengths),
        "size": size,
        "split": split,
        "generator": fingerprint(generator),
    }
    if not _is_finished(out, settings, overwrite=overwrite):
        task = functools.partial(_write_one, generator, settings)
        with _partial_set(out, settings) as partial:
            _write_identities(partial, settings, task, workers)
            _write_annotations(partial, settings)
            if sheet:
                set_sheet(partial / ANNOTATIONS, partial / SHEET)
            shutil.rmtree(partial / "records")
            _swap(partial, out)
    elif sheet and not (out / SHEET).exists():
        set_sheet(out / ANNOTATIONS, out / SHEET)
    return out / ANNOTATIONS


def check_strengths(strengths: Sequence[float]) -> tuple[float, ...]:
    """Return the strengths as floats.

    Raises:
        UserError: If there is none, one comes twice or lies outside (0, 1.5].
    """
    values = tuple(float(strength) for strength in strengths)
    for value in values:
        if not (math.isfinite(value) and 0 < value <= MAX_STRENGTH):
            raise UserError(
                f"strengths has {value}: give numbers above 0 and at most {MAX_STRENGTH}, "
                "the neutral image is always there."
            )
    if not values or len(set(values)) != len(values):
        raise UserError(f"strengths={list(values)} must name one or more different numbers.")
    return values


def check_size(size: int) -> None:
    """Refuse a size outside 32 to 1024 pixels.

    Raises:
        UserError: If it is.
    """
    if isinstance(size, bool) or not isinstance(size, int) or not SIZES[0] <= size <= SIZES[1]:
        raise UserError(f"size={size}: give a whole number from {SIZES[0]} to {SIZES[1]} pixels.")


def check_workers(workers: int | None) -> int:
    """Return the number of processes, one per usable core for None.

    Raises:
        UserError: If it is below 1.
    """
    if workers is None:
        return available()
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise UserError(f"workers={workers}: give a number from 1 up, or auto for one per core.")
    return workers


def read_settings(folder: Path) -> Settings | None:
    """Return the settings that a set was written with, or None if the folder is no set."""
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return settings if isinstance(settings, dict) else None


def _is_finished(out: Path, settings: Settings, *, overwrite: bool) -> bool:
    """Tell whether this very set is at `out`; refuse if something else is in the way."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    found = read_settings(out) if out.is_dir() else None
    if found is None:
        raise UserError(
            f"{out} holds something other than a face set: choose another folder with out=."
        )
    if found == settings:
        return True
    if overwrite:
        return False
    changed = [key for key in settings if found.get(key) != settings[key]]
    what = "by another version of the generator" if changed == ["generator"] else "differently"
    raise UserError(
        f"{out} was written {what} ({_describe(changed, found, settings)}): choose another "
        "folder with out=, or say overwrite=true to replace it."
    )


def _describe(changed: list[str], found: Settings, settings: Settings) -> str:
    """Name what differs: there, and wanted now."""
    parts = []
    for key in changed:
        if key == "seeds":
            counts = len(found.get(key) or ()), len(settings[key])
            parts.append(f"{counts[0]} identities there, {counts[1]} wanted, or other seeds")
        elif key != "generator" or len(changed) == 1:
            parts.append(f"{key} {found.get(key)} there, {settings[key]} wanted")
    return "; ".join(parts)


@contextmanager
def _partial_set(out: Path, settings: Settings) -> Iterator[Path]:
    """Open the unfinished set of `out`, to go on with or begun anew, for this process alone."""
    partial = out.with_name(f"{out.name}.partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_disk_full(error):
            raise
        raise UserError(
            f"{error.filename} cannot be made a folder ({error.strerror}): "
            "choose another folder with out=."
        ) from None
    lock = os.open(partial, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"Another run is writing {out} at this moment: wait for it or choose another "
                "folder with out=."
            ) from None
        _empty_unless_continued(partial, settings)
        yield partial
    finally:
        os.close(lock)


def _empty_unless_continued(partial: Path, settings: Settings) -> None:
    """Keep what an earlier run with the same settings finished; remove any other leftovers."""
    found = read_settings(partial)
    if found == settings:
        return
    if found is None and any(
        not path.name.startswith(f".{SETTINGS}") for path in partial.iterdir()
    ):
        raise UserError(
            f"{partial} is in the way and is no unfinished face set: move it, or choose another "
            "folder with out=."
        )
    # The settings go last, so that an interrupted removal is still recognised as ours.
    for path in partial.iterdir():
        if path.name != SETTINGS:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with whole_file(partial / SETTINGS) as file:
        file.write(json.dumps(settings).encode())


def _write_one(
    generator: FaceGenerator, settings: Settings, item: tuple[Path, int], check: Callable[[], None]
) -> None:
    """Write one identity: the task of a worker."""
    folder, seed = item
    write_identity(
        generator,
        seed,
        folder,
        strengths=tuple(settings["strengths"]),
        size=settings["size"],
        split=settings["split"],
        before_image=check,
    )


def _write_identities(
    partial: Path, settings: Settings, task: Callable[..., None], workers: int
) -> None:
    """Write every identity that no earlier run has finished."""
    domain, seeds = settings["domain"], settings["seeds"]
    missing = [seed for seed in seeds if read_record(partial, identity_name(domain, seed)) is None]
    done = len(seeds) - len(missing)
    title = f"Drawing {domain} faces, {1 + 12 * len(settings['strengths'])} each"
    with progress(title, len(seeds), done=done) as advance:
        if missing:
            items = [(partial, seed) for seed in missing]
            with closing(run_parallel(task, items, workers)) as finished:
                for _ in finished:
                    advance(1)


def _write_annotations(partial: Path, settings: Settings) -> None:
    """Join the records of all identities, in the order of the seeds."""
    lines = []
    for seed in settings["seeds"]:
        rows = read_record(partial, name := identity_name(settings["domain"], seed))
        if rows is None:
            raise UserError(
                f"The images of {name} in {partial} changed while the set was being written: "
                "run the same command again to draw them anew."
            )
        lines += [json.dumps(row) + "\n" for row in rows]
    with whole_file(partial / ANNOTATIONS) as file:
        file.write("".join(lines).encode())


def _swap(partial: Path, out: Path) -> None:
    """Put the finished set in its place; a set that is replaced goes away only afterwards."""
    old = out.with_name(f"{out.name}.old")
    with naming(out):
        if out.exists() and any(out.iterdir()):
            shutil.rmtree(old, ignore_errors=True)
            os.rename(out, old)
        os.replace(partial, out)
    shutil.rmtree(old, ignore_errors=True)
