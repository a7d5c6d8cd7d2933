"""The page: where things are, and which handler each event goes to. No logic of its own."""

import importlib.resources
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from pixelsmile.errors import UserError
from pixelsmile.expressions import BASIC, DOMAINS, EXPRESSIONS
from pixelsmile.files import whole_file
from pixelsmile.studio import markup
from pixelsmile.studio.engine import SPEEDS
from pixelsmile.studio.handlers import Handlers, Screen
from pixelsmile.studio.mixes import HIGHEST, LOWEST, check_weights, weights_of
from pixelsmile.studio.results import Settings
from pixelsmile.studio.session import Session
from pixelsmile.studio.uploads import SUFFIXES

_ASSETS = importlib.resources.files("pixelsmile.studio") / "assets"
_MODEL: Any = {
    "concurrency_id": "model",
    "concurrency_limit": 1,
    "api_visibility": "private",
    "show_progress": "minimal",
}
"""Events that use the model take turns, all visitors together."""
_QUICK: Any = {"api_visibility": "private", "show_progress": "hidden"}
_PROGRESS = gr.Progress()
FIRST = Settings(weights_of({"happy": 0.8}))
"""What the sliders say when the page opens."""
_CLICK = "() => document.querySelector('#ps-zip-file a, #ps-zip-file button, #ps-zip-file').click()"


def theme() -> gr.themes.Base:
    """Return the look of the page, with fonts that every machine has: nothing is fetched."""
    return gr.themes.Default(
        primary_hue="violet",
        neutral_hue="slate",
        radius_size="lg",
        font=["system-ui", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif"],
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
    )


def asset(name: str) -> str:
    """Return a style sheet or script of the page."""
    return (_ASSETS / name).read_text()


def build(handlers: Handlers, *, status: str, room: int = 200) -> gr.Blocks:
    """Return the page.

    Args:
        handlers: Do the work.
        status: A line that says which model is behind the page.
        room: Pictures that a session keeps.
    """
    # A day after they were made, files of visitors are deleted.
    with gr.Blocks(
        title="PixelSmile",
        fill_width=True,  # the style sheet has its own limit
        analytics_enabled=False,
        delete_cache=(3600, 86400),
    ) as blocks:
        page = _Page(handlers, room)
        gr.HTML(f'<div id="ps-head"><h1>PixelSmile</h1><p>{markup.escape(status)}</p></div>')
        with gr.Row(elem_id="ps-main"):
            with gr.Column(scale=5, min_width=320):
                page.add_source()
                page.add_sliders()
                page.add_settings()
            with gr.Column(scale=6, min_width=320, elem_id="ps-viewer-column"):
                page.add_viewer()
        with gr.Tabs():
            with gr.Tab("All twelve", id="grid"):
                page.add_grid()
            with gr.Tab("History and download", id="history"):
                page.add_history()
        page.connect(blocks)
    return blocks


class _Page:
    """The components, and the short functions between them and the handlers."""

    def __init__(self, handlers: Handlers, room: int) -> None:
        self.handlers = handlers
        self.session = gr.State(Session(room=room))

    # ---- where things are -------------------------------------------------------------------

    def add_source(self) -> None:
        self.notice = gr.HTML(elem_id="ps-notice")
        faces = [(example.name, example.image) for example in self.handlers.examples]
        self.examples = _choices(markup.examples(faces), "ps-example-faces")
        with gr.Row(equal_height=True):
            self.file = gr.File(
                label="Your picture",
                file_types=list(SUFFIXES),
                height=132,
                elem_id="ps-upload",
                min_width=190,
            )
            self.domain = gr.Radio(
                list(DOMAINS),
                value=DOMAINS[0],
                label="Domain",
                info="Photos and renders, or drawings",
                elem_id="ps-domain",
                min_width=150,
            )

    def add_sliders(self) -> None:
        start = dict(zip(EXPRESSIONS, FIRST.weights, strict=True))
        made = {}
        others = [name for name in EXPRESSIONS if name not in BASIC]
        for title, names in (("Basic expressions", BASIC), ("Other expressions", others)):
            with gr.Accordion(title, open=True, elem_classes="ps-sliders"):
                for left in range(0, len(names), 2):
                    with gr.Row():
                        for name in names[left : left + 2]:
                            made[name] = gr.Slider(
                                0,
                                1,
                                start[name],
                                step=0.05,
                                label=name,
                                min_width=120,
                                buttons=[],
                                elem_id=f"ps-slider-{name}",
                            )
        self.sliders = [made[name] for name in EXPRESSIONS]
        self.reset = gr.Button("All sliders to 0", size="sm", elem_id="ps-reset")

    def add_settings(self) -> None:
        with gr.Accordion("Settings", open=False):
            self.wide = gr.Checkbox(
                label=f"Sliders from {LOWEST:g} to {HIGHEST:g}",
                info="Below 0 turns an expression around, above 1 exaggerates it",
            )
            self.perceived = gr.Checkbox(
                label="Perceived intensity",
                info="0.6 is 60 % of the most that the judge reads, instead of a strength of 0.6",
                visible=bool(self.handlers.engine.calibrations),
                elem_id="ps-perceived",
            )
            with gr.Row():
                self.seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=120)
                self.speed = gr.Radio(list(SPEEDS), value=SPEEDS[0], label="Speed", min_width=120)

    def add_viewer(self) -> None:
        self.viewer = gr.HTML(
            markup.empty_viewer(), js_on_load=asset("studio.js"), elem_id="ps-viewer"
        )
        self.strip = gr.Button("Render the strength strip", elem_id="ps-strip", variant="primary")

    def add_grid(self) -> None:
        with gr.Row(equal_height=True):
            self.strength = gr.Slider(
                LOWEST,
                HIGHEST,
                1.0,
                step=0.05,
                label="Strength of each",
                elem_id="ps-strength",
                buttons=[],
                scale=3,
            )
            self.all = gr.Button("Render all twelve", elem_id="ps-all", variant="primary", scale=1)
        self.grid = _choices(
            markup.empty("Nothing yet", "All twelve expressions of the open face, side by side."),
            "ps-all-twelve",
        )

    def add_history(self) -> None:
        with gr.Row():
            self.zip = gr.Button(
                "Download pictures and settings (ZIP)", elem_id="ps-zip", variant="primary"
            )
            self.clear = gr.Button("Clear the history", elem_id="ps-clear")
        self.history = _choices(markup.history([]), "ps-history")
        self.zip_file = gr.DownloadButton("ZIP", elem_id="ps-zip-file")

    # ---- which handler an event goes to -----------------------------------------------------

    def connect(self, blocks: gr.Blocks) -> None:
        screen = [self.notice, self.viewer, self.history]
        sliders, settings = (
            self.sliders,
            [
                self.seed,
                self.speed,
                self.perceived,
                *self.sliders,
            ],
        )
        mine = [self.session, *settings]
        blocks.load(self._start, mine, screen, **_MODEL)
        self.file.upload(
            self._upload,
            [self.session, self.file, self.domain, *settings],
            [self.file, *screen],
            **_MODEL,
        )
        self.examples.choose(self._example, mine, [self.domain, *screen], **_MODEL)
        self.domain.input(self._domain, [self.session, self.domain, *settings], screen, **_MODEL)
        quiet = {**_MODEL, "show_progress": "hidden"}  # the picture stays clear while it changes
        gr.on(
            [item.input for item in (*sliders, self.seed, self.speed, self.perceived)],
            self._blend,
            mine,
            screen,
            trigger_mode="always_last",
            **quiet,
        )
        self.reset.click(lambda: [0.0] * len(sliders), None, sliders, **_QUICK).then(
            self._blend, mine, screen, **quiet
        )
        self.wide.input(_ranges, [self.wide, *sliders], sliders, **_QUICK).then(
            self._blend, mine, screen, **quiet
        )
        self.strip.click(self._strip, mine, screen, **_MODEL)
        self.all.click(
            self._grid,
            [self.session, self.strength, *settings],
            [self.grid, self.history],
            **_MODEL,
        )
        self.grid.choose(
            self._choose,
            [self.session, self.strength, *settings],
            [self.wide, *sliders, *screen],
            **_MODEL,
        )
        self.history.choose(
            self._restore,
            [self.session],
            [self.domain, self.grid, self.wide, *settings, *screen],
            **_QUICK,
        )
        self.clear.click(self.handlers.clear, self.session, self.history, **_QUICK)
        self.zip.click(self._zip, self.session, self.zip_file, **_QUICK).success(
            None, js=_CLICK, **_QUICK
        )

    def _start(self, session: Session, *values: Any) -> Screen:
        if not self.handlers.examples:
            return self.handlers.screen(session)
        with spoken():
            return self.handlers.example(session, 0, _settings(*values))

    def _upload(self, session: Session, path: str | None, domain: str, *values: Any) -> Any:
        if path is None:
            return None, gr.skip(), gr.skip(), gr.skip()
        try:
            return None, *self.handlers.upload(session, path, domain, _settings(*values))
        except UserError as error:
            # It stays on the page, beside the place where the next file goes.
            return None, markup.notice(session.face, str(error)), gr.skip(), gr.skip()

    def _example(self, event: gr.EventData, session: Session, *values: Any) -> Any:
        with spoken():
            screen = self.handlers.example(session, event.chosen, _settings(*values))
        return session.opened().domain, *screen

    def _domain(self, session: Session, domain: str, *values: Any) -> Screen:
        with spoken():
            return self.handlers.domain(session, domain, _settings(*values))

    def _blend(self, session: Session, *values: Any) -> Screen:
        with spoken():
            return self.handlers.blend(session, _settings(*values))

    def _strip(self, session: Session, progress: gr.Progress = _PROGRESS, *values: Any) -> Screen:
        with spoken():
            advance = _advance(progress, self.handlers.steps)
            return self.handlers.strip(session, _settings(*values), advance)

    def _grid(
        self, session: Session, progress: gr.Progress = _PROGRESS, *values: Any
    ) -> tuple[str, str]:
        strength, *rest = values
        with spoken():
            advance = _advance(progress, len(EXPRESSIONS))
            return self.handlers.grid(session, _number(strength), _settings(*rest), advance)

    def _choose(self, event: gr.EventData, session: Session, strength: Any, *values: Any) -> Any:
        with spoken():
            settings, screen = self.handlers.choose(
                session, event.chosen, _number(strength), _settings(*values)
            )
        return *_shown(settings), *screen

    def _restore(self, event: gr.EventData, session: Session) -> Any:
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

    def _zip(self, session: Session) -> str:
        # Below Gradio's own folder of files to hand out, which it empties.
        folder = Path(self.zip_file.GRADIO_CACHE) / uuid.uuid4().hex
        path = folder / f"pixelsmile-{time.strftime('%Y%m%d-%H%M%S')}.zip"
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


def _choices(value: str, name: str) -> Any:
    """Return markup whose buttons report themselves as the event `choose`."""
    return gr.HTML(value, js_on_load=asset("choices.js"), elem_id=name)


def _settings(seed: Any, speed: Any, perceived: Any, *weights: Any) -> Settings:
    """Return what the components of the page say."""
    return Settings(check_weights(weights), int(_number(seed)), str(speed), bool(perceived))


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
    return [wide, *_ranges(wide, *settings.weights)]


def _ranges(wide: bool, *values: float) -> list[Any]:
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
