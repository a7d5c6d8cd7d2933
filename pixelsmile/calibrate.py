"""Make a slider perceptual: `python -m pixelsmile.calibrate lora=runs/latest/lora domain=anime`.

Edits people into all expressions along the slider, lets the judge read the edits, fits a monotone
curve per expression, stores the curves beside the LoRA, and then measures on other people what
that is worth. A run that was stopped goes on with the person it was at.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

import pixelsmile
from pixelsmile.building import build
from pixelsmile.command import command
from pixelsmile.data.cache import content_key, folder_fingerprint
from pixelsmile.data.crops import Resize
from pixelsmile.data.people import People
from pixelsmile.data.reading import call_reader
from pixelsmile.editing import ExpressionEditor
from pixelsmile.editing.calibration import CALIBRATION, Calibration, calibration_file, lora_hash
from pixelsmile.editing.curve_picture import curves_png
from pixelsmile.editing.curves import fit_curve
from pixelsmile.editing.linearity import linearity, linearity_table, measured_facts
from pixelsmile.editing.measuring import CurveReader
from pixelsmile.editing.settings import editor_options
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.files import whole_file
from pixelsmile.lora.facts import code_commit
from pixelsmile.stack import quiet


def calibrate(config: DictConfig) -> Path:
    """Measure, fit, check and store; return the path of the calibration.

    Args:
        config: As of `configs/calibrate.yaml`.

    Raises:
        UserError: If configuration, weights or people cannot be used.
    """
    quiet()
    out = _place(config)
    strengths = _slider(config.strengths, "strengths")
    levels = _slider(config.levels, "levels")
    if levels[-1] > 1:
        raise UserError(f"levels ends at {levels[-1]:g}: perceived intensities lie in 0 to 1.")
    if type(config.saturation) not in (int, float) or not 0 < config.saturation <= 1:
        raise UserError(f"saturation={config.saturation}: give a share above 0 and at most 1.")
    editor = ExpressionEditor.from_config(config, lora=config.lora, **editor_options(config))
    people: People = call_reader(config, "people")
    reader = _reader(config, editor)

    everywhere = np.tile(strengths, (len(EXPRESSIONS), 1))
    scores = reader.read(people.fit, everywhere, f"Reading {len(people.fit)} people to fit on")
    curves = {
        name: fit_curve(strengths, scores[:, k], saturation=config.saturation)
        for k, name in enumerate(EXPRESSIONS)
    }
    calibration = Calibration(
        curves, editor.identity, editor.domain, lora_hash(config.lora) if config.lora else None
    )

    bare = np.tile(np.array(levels) * strengths[-1], (len(EXPRESSIONS), 1))
    steered = calibration.strengths(levels)
    title = f"Reading {len(people.check)} others"
    before = linearity(levels, reader.read(people.check, bare, f"{title}, bare strength"))
    after = linearity(levels, reader.read(people.check, steered, f"{title}, calibrated"))

    facts = _facts(config, reader, people) | measured_facts(before, after)
    calibration = Calibration(curves, editor.identity, editor.domain, calibration.lora, facts)
    calibration.save(out)
    picture = out.with_suffix(".png")
    with whole_file(picture) as file:
        file.write(curves_png(calibration, strengths, scores))
    console = Console()
    console.print(linearity_table(calibration, before, after))
    console.print(f"Calibration   {out}", highlight=False, soft_wrap=True)
    console.print(f"Curves        {picture}", highlight=False, soft_wrap=True)
    return out


def _place(config: DictConfig) -> Path:
    """Return where the calibration goes.

    Raises:
        UserError: If neither a LoRA nor a place is given.
    """
    if config.out is not None:
        return calibration_file(config.out)
    if config.lora is None:
        raise UserError(
            "lora= is missing: name the LoRA to calibrate, such as lora=runs/latest/lora, or say "
            f"out=<folder> to calibrate the base without one; {CALIBRATION} goes there."
        )
    return calibration_file(config.lora)


def _slider(values: Sequence[float], key: str) -> list[float]:
    """Return increasing numbers from 0 on.

    Raises:
        UserError: If they are not.
    """
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    steps = np.diff(numbers)
    if len(numbers) < 3 or numbers[0] != 0 or not (steps > 0).all() or not np.isfinite(steps).all():
        raise UserError(f"{key}={values}: give three increasing numbers or more, the first 0.")
    return numbers


def _reader(config: DictConfig, editor: ExpressionEditor) -> CurveReader:
    """Return who edits people and reads the edits."""
    node = config.model.scorer.judge
    settings: Any = OmegaConf.to_container(node, resolve=True)
    weights = [
        folder_fingerprint(settings.pop(key)) for key in ("folder", "file") if key in settings
    ]
    return CurveReader(
        editor,
        build(node).to(editor.device),
        judge_identity=content_key(weights, sorted(settings.items(), key=str))[:16],
        folder=Path(config.paths.cache) / "calibration",
        seed=config.seed,
        speed=config.speed,
        resize=Resize(config.people.resize, config.people.vertical_bias),
    )


def _facts(config: DictConfig, reader: CurveReader, people: People) -> dict[str, Any]:
    """Return what the numbers were measured with."""
    names = {"fit": people.fit, "check": people.check}
    return {
        "base": config.model.base,
        "judge": {"class": config.model.scorer.judge._target_, "hash": reader.judge_identity},
        "people": {key: [one.identity for one in group] for key, group in names.items()},
        "n": {key: len(group) for key, group in names.items()},
        "strengths": [float(strength) for strength in config.strengths],
        "saturation": config.saturation,
        "levels": [float(level) for level in config.levels],
        "seed": config.seed,
        "speed": config.speed,
        "num_steps": reader.editor.num_steps,
        "image_size": reader.editor.image_size,
        "version": pixelsmile.__version__,
        "commit": code_commit() or "unknown",
    }


@command("calibrate")
def main(config: DictConfig) -> None:
    """Calibrate the slider of a LoRA."""
    calibrate(config)


if __name__ == "__main__":
    main()
