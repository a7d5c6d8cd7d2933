"""Between the page and the handlers: values of components in, updates of components out."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from pixelsmile.editing.settings import MOST_SEED
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.files import whole_file
from pixelsmile.studio import markup
from pixelsmile.studio.handlers import Handlers, Screen
from pixelsmile.studio.mixes import HIGHEST, LOWEST, check_weights
from pixelsmile.studio.results import Settings
from pixelsmile.studio.session import Session

_PROGRESS = gr.Progress()


class Events:
    """The functions that Gradio calls.

    `values` are those of the settings, in the order of the page: seed, speed, perceived, and the
    twelve sliders. Gradio fills `event` and `progress` in by their types and places.

    Args:
        handlers: Do the work.
        folder: Of files to hand out; Gradio empties it.
    """

    def __init__(self, handlers: Handlers, folder: str) -> None:
        self.handlers = handlers
        self.folder = Path(folder)

    def start(self, session: Session, *values: Any) -> Screen:
        """Open the first example, for a visitor who has just come."""
        if not self.handlers.examples:
            return self.handlers.screen(session)
        with spoken():
            return self.handlers.example(session, 0, _settings(*values))

    def upload(self, session: Session, path: str | None, domain: str, *values: Any) -> Any:
        """Open a file; what is wrong with it is said beside the place for the next one."""
        if path is None:
            return None, gr.skip(), gr.skip(), gr.skip()
        try:
            return None, *self.handlers.upload(session, path, domain, _settings(*values))
        except UserError as error:
            return None, markup.notice(session.face, str(error)), gr.skip(), gr.skip()

    def example(self, event: gr.EventData, session: Session, *values: Any) -> Any:
        """Open the example whose button was pressed."""
        with spoken():
            screen = self.handlers.example(session, event.chosen, _settings(*values))
        return session.opened().domain, *screen

    def domain(self, session: Session, domain: str, *values: Any) -> Screen:
        """Read the open face as one of another domain."""
        with spoken():
            return self.handlers.domain(session, domain, _settings(*values))

    def blend(self, session: Session, *values: Any) -> Screen:
        """Render what the sliders say."""
        with spoken():
            return self.handlers.blend(session, _settings(*values))

    def strip(self, session: Session, progress: gr.Progress = _PROGRESS, *values: Any) -> Screen:
        """Render the strength strip."""
        with spoken():
            advance = _advance(progress, self.handlers.steps)
            return self.handlers.strip(session, _settings(*values), advance)

    def grid(
        self, session: Session, progress: gr.Progress = _PROGRESS, *values: Any
    ) -> tuple[str, str]:
        """Render all twelve."""
        strength, *rest = values
        with spoken():
            advance = _advance(progress, len(EXPRESSIONS))
            return self.handlers.grid(session, _number(strength), _settings(*rest), advance)

    def choose(self, event: gr.EventData, session: Session, strength: Any, *values: Any) -> Any:
        """Set the sliders to the expression of a card."""
        with spoken():
            settings, screen = self.handlers.choose(
                session, event.chosen, _number(strength), _settings(*values)
            )
        return *_shown(settings), *screen

    def restore(self, event: gr.EventData, session: Session) -> Any:
        """Bring an earlier result back."""
        with spoken():
            result, screen = self.handlers.restore(session, event.chosen)
        is_grid = result.kind == "grid"
        wide, *sliders = _shown(result.settings)
        return (
            result.face.domain,
            markup.grid(result.pictures) if is_grid else gr.skip(),
            wide,
            result.settings.seed,
            result.settings.speed,
            result.settings.perceived,
            *sliders,
            *screen,
        )

    def zip(self, session: Session) -> str:
        """Write the download and return its path."""
        path = self.folder / uuid.uuid4().hex / f"pixelsmile-{time.strftime('%Y%m%d-%H%M%S')}.zip"
        with spoken(), whole_file(path) as file:
            self.handlers.download(session, file)
        return str(path)


@contextmanager
def spoken() -> Iterator[None]:
    """Show what the visitor can mend as a sentence on the page."""
    try:
        yield
    except UserError as error:
        raise gr.Error(
            str(error), title="That did not work", duration=12, print_exception=False
        ) from None


def _settings(seed: Any, speed: Any, perceived: Any, *weights: Any) -> Settings:
    """Return what the components of the page say."""
    number = _number(seed)
    if not 0 <= number <= MOST_SEED:
        raise UserError(f"Seed {number:g} is none: give a whole number from 0 to {MOST_SEED}.")
    return Settings(check_weights(weights), int(number), str(speed), bool(perceived))


def _number(value: Any) -> float:
    """Return what a field holds.

    Raises:
        UserError: If it is empty.
    """
    if not isinstance(value, int | float):
        raise UserError("A number is missing: fill the empty field in.")
    return value


def _shown(settings: Settings) -> list[Any]:
    """Return updates of the checkbox and of all sliders that show the settings."""
    wide = not all(0 <= weight <= 1 for weight in settings.weights)
    return [wide, *slider_ranges(wide, *settings.weights)]


def slider_ranges(wide: bool, *values: float) -> list[Any]:
    """Return updates that give all sliders a range; values outside move to its ends."""
    low, high = (LOWEST, HIGHEST) if wide else (0.0, 1.0)
    return [
        gr.update(minimum=low, maximum=high, value=min(max(value or 0, low), high))
        for value in values
    ]


def _advance(progress: gr.Progress, total: int) -> Callable[[int], None]:
    """Return what tells Gradio's progress bar that so many more pictures are finished."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress((done, total), unit="pictures")

    progress((0, total), unit="pictures")
    return advance
