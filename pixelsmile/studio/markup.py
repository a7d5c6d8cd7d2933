"""The pieces of the page that show pictures, as HTML. Pure functions of results.

All pictures of a viewer are in its markup, so that scrubbing and wiping need no server. They are
WebP for the eye; the download has the exact ones.
"""

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.studio.results import Face, Picture, Reading, Result, describe

QUALITY = 92
THUMB = 160  # pixels: twice the size on the page, for sharp screens


def data_uri(image: Image.Image, edge: int | None = None) -> str:
    """Return an image inside its own address, not larger than `edge`."""
    if edge is not None and max(image.size) > edge:
        image = image.copy()
        image.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def empty_viewer() -> str:
    """Return what stands in the viewer's place before a face is open."""
    return (
        '<div class="ps-empty" role="status"><b>No face yet</b>'
        "<span>Upload a picture or choose an example.</span></div>"
    )


def source_viewer(face: Face) -> str:
    """Show the source alone, and what to do next."""
    return (
        f'<div class="ps-viewer">{_stage(face)}'
        f'<img src="{data_uri(face.image)}" alt="{escape(face.name)}, not edited"></div>'
        '<p class="ps-hint">Move a slider to change the expression.</p>'
        f"{_readings([face.reading], [()])}</div>"
    )


def viewer(face: Face, pictures: Sequence[Picture]) -> str:
    """Show before and after with a wipe; several pictures are a strip to scrub through.

    Args:
        face: The source.
        pictures: One, or the steps of a strip, weakest first.
    """
    before = (
        f'<img class="ps-before" src="{data_uri(face.image)}" alt="Before: {escape(face.name)}">'
    )
    frames = "".join(
        f'<img class="ps-frame" data-frame="{number}" src="{data_uri(picture.image)}" '
        f'alt="After: {escape(describe(picture.weights))}"{_hidden(number, pictures)}>'
        for number, picture in enumerate(pictures)
    )
    asked = [_asked(picture) for picture in pictures]
    return (
        f'<div class="ps-viewer" data-frames="{len(pictures)}">{_stage(face)}{before}'
        f'<div class="ps-after">{frames}</div><span class="ps-line"></span>'
        '<span class="ps-tag ps-tag-before">before</span>'
        '<span class="ps-tag ps-tag-after">after</span>'
        '<input class="ps-wipe" type="range" min="0" max="100" value="50" '
        'aria-label="Wipe between before and after"></div>'
        f"{_scrubber(pictures) if len(pictures) > 1 else ''}"
        f"{_readings([picture.reading for picture in pictures], asked)}</div>"
    )


def _stage(face: Face) -> str:
    """Open the element that has the shape of the picture."""
    width, height = face.image.size
    return f'<div class="ps-stage" style="--shape:{width}/{height}">'


def _scrubber(pictures: Sequence[Picture]) -> str:
    """Return slider and film of a strip."""
    last = len(pictures) - 1
    (place, *_) = _asked(pictures[last])
    thumbs = "".join(
        f'<button type="button" class="ps-thumb" data-frame="{number}" '
        f'aria-label="{escape(describe(picture.weights))}">'
        f'<img src="{data_uri(picture.image, THUMB)}" alt=""><b>{picture.label}</b>'
        f"{_short(picture, place)}</button>"
        for number, picture in enumerate(pictures)
    )
    labels = escape("|".join(describe(picture.weights) for picture in pictures))
    return (
        f'<label class="ps-scrubber"><span>Strength</span><input class="ps-scrub" type="range" '
        f'min="0" max="{last}" step="1" value="{last}" data-labels="{labels}">'
        f"<output>{escape(describe(pictures[last].weights))}</output></label>"
        f'<div class="ps-film" role="group" aria-label="Strength strip">{thumbs}</div>'
    )


def grid(pictures: Sequence[Picture]) -> str:
    """Show one card an expression; a card's button asks for that expression.

    Args:
        pictures: Twelve, in the order of `EXPRESSIONS`.
    """
    cards = "".join(
        f'<button type="button" class="ps-card" data-choose="{picture.label}" '
        f'aria-label="Set the sliders to {escape(describe(picture.weights))}">'
        f'<img src="{data_uri(picture.image)}" alt=""><b>{picture.label}</b>'
        f"{_short(picture, place)}</button>"
        for place, picture in enumerate(pictures)
    )
    return f'<div class="ps-grid">{cards}</div>'


def empty(title: str, sentence: str) -> str:
    """Return what stands where nothing is yet."""
    return f'<div class="ps-empty"><b>{escape(title)}</b><span>{escape(sentence)}</span></div>'


def history(results: Sequence[Result], dropped: int = 0) -> str:
    """Show the results, newest first; a card's button brings its face and settings back."""
    if not results:
        return empty("Nothing yet", "What you render is listed here and goes into the ZIP.")
    cards = "".join(
        f'<button type="button" class="ps-card ps-past" data-restore="{result.number}" '
        f'aria-label="Bring back {result.number}: {escape(title(result))}">'
        f'<img src="{data_uri(result.pictures[-1].image, THUMB)}" alt="">'
        f"<b>{result.number}. {escape(title(result))}</b>"
        f"<small>{escape(result.face.name)}, seed {result.settings.seed}</small></button>"
        for result in reversed(results)
    )
    note = f'<p class="ps-hint">{dropped} older ones made room.</p>' if dropped else ""
    return f'<div class="ps-grid">{cards}</div>{note}'


def title(result: Result) -> str:
    """Name a result, for people."""
    mix = describe(result.pictures[-1].weights)
    if result.kind == "grid":
        strength = max(result.pictures[-1].weights, key=abs)
        return f"All twelve at {strength:.2f}"
    return f"Strip to {mix}" if result.kind == "strip" else mix


def examples(faces: Sequence[tuple[str, Image.Image]]) -> str:
    """Show the example faces as buttons."""
    buttons = "".join(
        f'<button type="button" class="ps-example" data-example="{number}" title="{escape(name)}" '
        f'aria-label="Open {escape(name)}"><img src="{data_uri(image, THUMB)}" alt=""></button>'
        for number, (name, image) in enumerate(faces)
    )
    return f'<div class="ps-examples">{buttons}</div>'


def notice(face: Face | None, warning: str = "") -> str:
    """Say which face is open, and what is wrong, where something is."""
    lines = []
    if warning:
        lines.append(f'<p class="ps-warning" role="alert">{escape(warning)}</p>')
    elif face is not None and face.note:
        lines.append(f'<p class="ps-warning" role="status">{escape(face.note)}</p>')
    if face is not None:
        lines.append(f'<p class="ps-open">Open: <b>{escape(face.name)}</b></p>')
    return "".join(lines)


def _readings(readings: Sequence[Reading | None], asked: Sequence[Sequence[int]]) -> str:
    """Return the read-outs of all frames, the last one shown."""
    return "".join(
        f'<dl class="ps-reading" data-frame="{number}"{_hidden(number, readings)}>'
        f"{_meters(reading, wanted)}</dl>"
        for number, (reading, wanted) in enumerate(zip(readings, asked, strict=True))
        if reading is not None
    )


def _meters(reading: Reading, asked: Sequence[int]) -> str:
    """Return identity, what was asked for, and the strongest others up to three expressions."""
    strongest = sorted(range(len(EXPRESSIONS)), key=lambda place: -reading.scores[place])
    others = [place for place in strongest if place not in asked]
    shown = [*asked[:3], *others[: max(0, 3 - len(asked))]]
    identity = "no face" if reading.identity is None else f"{reading.identity:.2f}"
    rows = [_meter("identity", reading.identity or 0, identity, "ps-identity")]
    for place in shown:
        score = reading.scores[place]
        kind = "ps-asked" if place in asked else ""
        rows.append(_meter(EXPRESSIONS[place], score, f"{score:.2f}", kind))
    return "".join(rows)


def _meter(name: str, value: float, text: str, kind: str) -> str:
    width = min(max(value, 0.0), 1.0) * 100
    return (
        f'<div class="ps-meter {kind}"><dt>{name}</dt><dd><i style="width:{width:.0f}%"></i></dd>'
        f"<dd>{text}</dd></div>"
    )


def _short(picture: Picture, place: int) -> str:
    """Return the reading in two numbers, for below a small picture.

    Args:
        picture: With or without a reading.
        place: Of the expression to show.
    """
    if picture.reading is None:
        return ""
    identity = picture.reading.identity
    same = "" if identity is None else f"<span>identity {identity:.2f}</span>"
    score = picture.reading.scores[place]
    return f"<small><span>{EXPRESSIONS[place]} {score:.2f}</span>{same}</small>"


def _asked(picture: Picture) -> list[int]:
    """Return the places of the expressions in a mix, the strongest first."""
    places = [place for place, weight in enumerate(picture.weights) if weight]
    return sorted(places, key=lambda place: -abs(picture.weights[place]))


def _hidden(number: int, frames: Sequence[object]) -> str:
    return "" if number == len(frames) - 1 else " hidden"
