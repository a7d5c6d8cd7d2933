"""Edit faces in the browser: `python -m pixelsmile.app`, or `make app`."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from PIL import Image
from rich.console import Console

from pixelsmile.building import build
from pixelsmile.command import command
from pixelsmile.editing import ExpressionEditor
from pixelsmile.editing.calibration import Calibration, Measured, calibration_file
from pixelsmile.editing.framing import Framing
from pixelsmile.editing.loading import weights_identity
from pixelsmile.editing.reading import read_picture
from pixelsmile.editing.settings import editor_options, lora_note, plain
from pixelsmile.errors import UserError
from pixelsmile.expressions import DOMAINS
from pixelsmile.lora.files import find_file
from pixelsmile.stack import quiet
from pixelsmile.studio.engine import Engine
from pixelsmile.studio.handlers import Example, Handlers
from pixelsmile.studio.uploads import Limits


@command("app", next_step="Run the same command again to start it anew.")
def main(config: DictConfig) -> None:
    """Load the models, then serve the page until Ctrl-C."""
    quiet()
    console = Console(soft_wrap=True)
    # What visitors upload and download lies in a folder that goes when the app does.
    with tempfile.TemporaryDirectory(prefix="pixelsmile-app-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        handlers = make_handlers(config)
        blocks, address = serve(handlers, config)
        for name in DOMAINS:
            if (lora := config.lora[name]) is not None and (note := lora_note(lora, name)):
                console.print(note, markup=False, highlight=False)
        console.print(f"{status(config)}. Open {address} - Ctrl-C ends it.", highlight=False)
        try:
            blocks.block_thread()
        finally:
            blocks.close(verbose=False)


def make_handlers(config: DictConfig) -> Handlers:
    """Return the app without its page.

    Raises:
        UserError: If weights are missing, or a limit makes no sense.
    """
    check(config)
    limits = config.limits
    engine = Engine(
        lambda domain: make_editor(config, domain),
        build(config.model.scorer) if config.readout else None,
        {name: build(config.domains[name].domain.detector) for name in DOMAINS},
        calibrations=dict(find_calibrations(config)),
        facts={"base": config.model.base, "lora": OmegaConf.to_container(config.lora)},
        kept=config.kept,
        framings={name: Framing(**plain(config.framing[name])) for name in DOMAINS},
    )
    engine.editor(DOMAINS[0])  # missing weights are said now, not to the first visitor
    return Handlers(
        engine,
        [example for name in DOMAINS for example in draw_examples(config, name)],
        read,
        limits=Limits(limits.megabytes, limits.megapixels, limits.smallest),
        steps=config.steps,
    )


def check(config: DictConfig) -> None:
    """Refuse settings that make no sense and LoRAs that are not there.

    Raises:
        UserError: Naming the key and the value.
    """
    for key in ("megabytes", "megapixels", "smallest", "pictures"):
        value = config.limits[key]
        if not isinstance(value, int | float) or value <= 0:
            raise UserError(f"limits.{key}={value}: give a number above 0.")
    if not isinstance(config.steps, int) or config.steps < 2:
        raise UserError(f"steps={config.steps}: a strength strip has 2 pictures or more.")
    if config.kept not in (1, 2):
        raise UserError(f"kept={config.kept}: keep 1 editor or 2, one for each domain.")
    for name in DOMAINS:
        if config.lora[name] is not None:
            find_file(config.lora[name])


def make_editor(config: DictConfig, domain: str) -> ExpressionEditor:
    """Return the editor of a domain, with its LoRA if one is named."""
    own = OmegaConf.create({"domain": config.domains[domain].domain, "model": config.model})
    own.paths = config.paths
    return ExpressionEditor.from_config(own, lora=config.lora[domain], **editor_options(config))


def find_calibrations(config: DictConfig) -> Iterator[tuple[str, Calibration]]:
    """Yield domain and calibration for every LoRA that has one beside it.

    Raises:
        UserError: If one is damaged, or was measured with another LoRA, model or domain.
    """
    for name in DOMAINS:
        lora = config.lora[name]
        if lora is not None and calibration_file(lora).is_file():
            calibration = Calibration.load(lora)
            calibration.check(Measured(weights_identity(config.model, lora), name))
            yield name, calibration


def draw_examples(config: DictConfig, domain: str) -> list[Example]:
    """Draw the example faces of a domain; their points are exact."""
    generator = build(config.domains[domain].domain.faces)
    examples = []
    for number, seed in enumerate(config.examples[domain], 1):
        face = generator.render(seed, {}, size=config.examples.size)
        points = tuple((float(x), float(y)) for x, y in face.landmarks)
        name = f"{domain} example {number}"
        examples.append(Example(name, domain, Image.fromarray(face.image), points))
    return examples


def read(path: Path) -> Image.Image:
    """Decode an upload as the eye would see it, transparent parts white."""
    return read_picture(path).on_white()


def status(config: DictConfig) -> str:
    """Say in a line what is behind the page, without folders of this machine."""
    return f"{config.model.base} model; " + "; ".join(
        f"{name}: {_short_name(config.lora[name])}" for name in DOMAINS
    )


def _short_name(lora: str | None) -> str:
    """Return the file's name, or that of the run that a folder `lora` belongs to.

    Example:
        >>> _short_name("runs/human-1/lora"), _short_name("mine.safetensors"), _short_name(None)
        ('LoRA of human-1', 'LoRA mine.safetensors', 'zero-shot base')
    """
    if lora is None:
        return "zero-shot base"
    path = Path(lora)
    return f"LoRA of {path.parent.name}" if path.name == "lora" else f"LoRA {path.name}"


def serve(handlers: Handlers, config: DictConfig) -> tuple[Any, str]:
    """Start the server and return the page and its address; the caller closes it.

    Raises:
        UserError: If Gradio is not installed, or the port is taken.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # Gradio reads it when it is imported
    try:
        from pixelsmile.studio import page  # imports Gradio, which `edit` and others do not need
    except ModuleNotFoundError as error:
        raise UserError(f'The app needs {error.name}: pip install "pixelsmile[app]".') from None
    blocks = page.build(handlers, status=status(config), room=config.limits.pictures)
    blocks.queue(max_size=config.waiting)
    try:
        _, address, _ = blocks.launch(
            server_name=config.host,
            server_port=config.port,
            inbrowser=config.open_browser,
            prevent_thread_lock=True,
            share=False,
            quiet=True,
            ssr_mode=False,
            footer_links=[],
            run_history=False,
            max_file_size=int(config.limits.megabytes * 1e6),
            theme=page.theme(),
            css=page.asset("studio.css"),
        )
    except OSError as error:
        raise UserError(
            f"Cannot serve on {config.host}:{config.port} ({error}): say port=null for a free one."
        ) from None
    return blocks, address


if __name__ == "__main__":
    main()
