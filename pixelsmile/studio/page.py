"""The page: where things are, and where each event goes to. No logic of its own."""

import importlib.resources
from typing import Any

import gradio as gr

from pixelsmile.expressions import BASIC, DOMAINS, EXPRESSIONS
from pixelsmile.studio import markup
from pixelsmile.studio.engine import SPEEDS
from pixelsmile.studio.events import Events, slider_ranges
from pixelsmile.studio.handlers import Handlers
from pixelsmile.studio.mixes import HIGHEST, LOWEST, weights_of
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
    """The components and their wiring."""

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
        start: dict[str, float] = dict(zip(EXPRESSIONS, FIRST.weights, strict=True))
        made: dict[str, gr.Slider] = {}
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

    # ---- where an event goes to -----------------------------------------------------

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
        events = Events(self.handlers, self.zip_file.GRADIO_CACHE)
        blocks.load(events.start, mine, screen, **_MODEL)
        self.file.upload(
            events.upload,
            [self.session, self.file, self.domain, *settings],
            [self.file, *screen],
            **_MODEL,
        )
        self.examples.choose(events.example, mine, [self.domain, *screen], **_MODEL)
        self.domain.input(events.domain, [self.session, self.domain, *settings], screen, **_MODEL)
        quiet = {**_MODEL, "show_progress": "hidden"}  # the picture stays clear while it changes
        gr.on(
            [item.input for item in (*sliders, self.seed, self.speed, self.perceived)],
            events.blend,
            mine,
            screen,
            trigger_mode="always_last",
            **quiet,
        )
        self.reset.click(lambda: [0.0] * len(sliders), None, sliders, **_QUICK).then(
            events.blend, mine, screen, **quiet
        )
        self.wide.input(slider_ranges, [self.wide, *sliders], sliders, **_QUICK).then(
            events.blend, mine, screen, **quiet
        )
        self.strip.click(events.strip, mine, screen, **_MODEL)
        self.all.click(
            events.grid,
            [self.session, self.strength, *settings],
            [self.grid, self.history],
            **_MODEL,
        )
        self.grid.choose(
            events.choose,
            [self.session, self.strength, *settings],
            [self.wide, *sliders, *screen],
            **_MODEL,
        )
        self.history.choose(
            events.restore,
            [self.session],
            [self.domain, self.grid, self.wide, *settings, *screen],
            **_QUICK,
        )
        self.clear.click(self.handlers.clear, self.session, self.history, **_QUICK)
        self.zip.click(events.zip, self.session, self.zip_file, **_QUICK).success(
            None, js=_CLICK, **_QUICK
        )


def _choices(value: str, name: str) -> Any:
    """Return markup whose buttons report themselves as the event `choose`."""
    return gr.HTML(value, js_on_load=asset("choices.js"), elem_id=name)
