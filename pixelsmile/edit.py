"""Change expressions in pictures: `python -m pixelsmile.edit image=me.jpg expression=happy`.

`image=` takes files, folders, globs or a list; `expression=` a name, a list, `all` or `basic`;
`strength=` a number, a list or a range such as 0:1:5. Results go to `out/<name of the image>/`.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pixelsmile.arguments import bracketed, gathered, quoted, rejoined
from pixelsmile.building import build
from pixelsmile.command import EndedError, command
from pixelsmile.editing.batch import Batch
from pixelsmile.editing.calibration import Calibration, Measured
from pixelsmile.editing.editor import ExpressionEditor
from pixelsmile.editing.inputs import find_images, result_folders
from pixelsmile.editing.levels import Judged, Levels, Perceived, Strengths
from pixelsmile.editing.loading import choose, weights_identity
from pixelsmile.editing.plans import Job
from pixelsmile.editing.requests import read_mixes, read_strengths, read_target
from pixelsmile.editing.settings import Settings, editor_options, lora_note, model_facts, plain
from pixelsmile.errors import UserError
from pixelsmile.progress import Advance, progress
from pixelsmile.stack import quiet

Outcome = tuple[Path, Path, int, int, str | None]
"""Image, folder of its results, pictures written, pictures that were there, what went wrong."""


def build_batch(config: DictConfig, console: Console) -> Batch:
    """Return the batch that a composed `configs/edit.yaml` asks for; no network is loaded yet.

    Args:
        config: The config.
        console: Receives remarks.

    Raises:
        UserError: If a setting makes no sense, or weights are missing.
    """
    settings = Settings.read(config)
    choose("speed", settings.speed)  # refuses an unknown one
    mixes = read_mixes(plain(config.expression), plain(config.blend))
    weights = weights_identity(config.model, config.lora)
    levels = build_levels(config, weights)
    if (settings.gif or settings.mp4) and len(levels.of(mixes[0])) < 2:
        raise UserError("A sweep that moves needs two strengths or more: say strength=0:1:25.")
    load = partial(
        ExpressionEditor.from_config,
        config,
        lora=config.lora,
        **editor_options(config),
    )
    return Batch(
        load,
        build(config.domain.detector),
        settings,
        mixes,
        levels,
        model=model_facts(config, weights),
        edge=config.model.sizes.image,
        say=partial(_say, console),
    )


def build_levels(config: DictConfig, weights: str) -> Levels:
    """Return the levels of `strength=`, `perceived=` or `target=`.

    Args:
        config: The config.
        weights: Hash of base and LoRA.

    Raises:
        UserError: If a value makes no sense, or there is no calibration of this model.
    """
    if config.perceived is not None and config.target is not None:
        raise UserError("perceived= and target= both say how far to go: leave one out.")
    if config.target is not None:
        return Judged(read_target(plain(config.target)), partial(build, config.model.scorer))
    if config.perceived is None:
        return Strengths(read_strengths(plain(config.strength)))
    place = config.calibration or config.lora
    if place is None:
        raise UserError(
            "perceived= needs a calibration: say lora=, beside which it lies, or for the base "
            "without one calibration=<folder>."
        )
    calibration = Calibration.load(place)
    calibration.check(Measured(weights, config.domain.name))
    return Perceived(read_strengths(plain(config.perceived), "perceived", 1), calibration)


def folder_of(out: Any) -> Path:
    """Return the folder of `out=`.

    Raises:
        UserError: If it is none, or a file is in its place.
    """
    if not isinstance(out, str) or not out:
        raise UserError(f"out={out}: name a folder for the results, such as out=edits.")
    path = Path(out)
    if path.exists() and not path.is_dir():
        raise UserError(f"out={out} is a file: name a folder for the results.")
    return path


def run_batch(batch: Batch, images: Sequence[Path], out: Path, console: Console) -> list[Outcome]:
    """Edit images; one that cannot be edited is counted and the others go on.

    Args:
        batch: How.
        images: Files.
        out: Folder of the results.
        console: Shows the progress.

    """
    plans = [_plan(batch, *pair) for pair in zip(images, result_folders(images, out), strict=True)]
    jobs = [plan for plan in plans if isinstance(plan, Job)]
    total, done = sum(job.total for job in jobs), sum(job.done for job in jobs)
    with progress("Editing", total, done=done, console=console) as advance:
        return [_outcome(batch, plan, advance) if isinstance(plan, Job) else plan for plan in plans]


def _plan(batch: Batch, image: Path, folder: Path) -> Job | Outcome:
    """Return what there is to do, or what is wrong with an image before anything is done."""
    try:
        return batch.plan(image, folder)
    except UserError as error:
        return image, folder, 0, 0, str(error)


def _outcome(batch: Batch, job: Job, advance: Advance) -> Outcome:
    finished = 0

    def count(more: int) -> None:
        nonlocal finished
        finished += more
        advance(more)

    try:
        written = batch.run(job, count)
    except UserError as error:
        advance(job.total - job.done - finished)
        return job.image, job.folder, 0, 0, str(error)
    return job.image, job.folder, written, job.total - written, None


def show(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print what was made, what was there before, and what went wrong."""
    table = Table("image", "made", "there before", "where or why not", title="Edited pictures")
    for image, folder, written, before, wrong in outcomes:
        cells = ("-", "-", wrong) if wrong else (str(written), str(before), str(folder))
        table.add_row(*map(Text, (image.name, *cells)))
    console.print(table)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


@command("edit")
def main(config: DictConfig) -> None:
    """Edit pictures; exit code 1 if some of several could not be edited."""
    quiet()
    console, notes = Console(), Console(stderr=True)
    out = folder_of(config.out)
    images = find_images(plain(config.image), out)
    batch = build_batch(config, notes)
    if note := lora_note(config.lora, config.domain.name):
        _say(notes, note)
    outcomes = run_batch(batch, images, out, console)
    wrong = [outcome[-1] for outcome in outcomes if outcome[-1] is not None]
    if wrong and len(outcomes) == 1:
        raise UserError(wrong[0])
    show(outcomes, console)
    if wrong:
        _say(notes, f"{len(wrong)} of {len(outcomes)} images could not be edited.")
        raise EndedError(1)


def as_hydra_reads(words: Sequence[str]) -> list[str]:
    """Return the words of the command line without what only shells and people understand.

    Example:
        >>> as_hydra_reads(["image=my photo.jpg", "expression=happy,sad"])
        ["image='my photo.jpg'", 'expression=[happy,sad]']
    """
    words = gathered(words, "image")
    words = bracketed(words, ("expression", "strength", "perceived", "box"))
    words = rejoined(words, ("blend", "target", "strength", "perceived"))
    return [quoted(word, ("image", "lora", "out")) for word in words]


if __name__ == "__main__":
    sys.argv[1:] = as_hydra_reads(sys.argv[1:])
    main()
