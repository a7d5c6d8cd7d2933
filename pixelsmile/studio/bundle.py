"""The download: all pictures of a session and the settings that made them, as one ZIP."""

import io
import json
import re
import zipfile
from collections.abc import Sequence
from typing import IO, Any

from PIL import Image

from pixelsmile import __version__
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.studio.results import Face, Picture, Reading, Result, Weights

SETTINGS_FILE = "settings.json"


def write_bundle(results: Sequence[Result], file: IO[bytes]) -> None:
    """Write pictures, sources and `settings.json`, which names every file and what made it.

    Args:
        results: At least one.
        file: Open for binary writing.

    Raises:
        UserError: If there is nothing to write.
    """
    if not results:
        raise UserError("There is nothing to download yet: move a slider first.")
    faces: list[Face] = []
    for result in results:
        if not any(result.face is face for face in faces):
            faces.append(result.face)
    names = [f"faces/{number:02d}-{slug(face.name)}.png" for number, face in enumerate(faces, 1)]
    source_of = {id(face): name for face, name in zip(faces, names, strict=True)}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # PNG is compressed already
        for face, name in zip(faces, names, strict=True):
            archive.writestr(name, png(face.image))
        listed = []
        for result in results:
            files = [_place(result, position) for position in range(len(result.pictures))]
            for name, picture in zip(files, result.pictures, strict=True):
                archive.writestr(name, png(picture.image))
            listed.append(_facts(result, source_of[id(result.face)], files))
        settings = {"pixelsmile": __version__, "results": listed}
        archive.writestr(SETTINGS_FILE, json.dumps(settings, indent=2, ensure_ascii=False) + "\n")


def slug(text: str) -> str:
    """Turn words into a name that every file system takes.

    Example:
        >>> slug("../Été à la plage.JPG")
        'Été-à-la-plage-JPG'
        >>> slug("...")
        'picture'
    """
    return re.sub(r"\W+", "-", text).strip("-_")[:60] or "picture"


def png(image: Image.Image) -> bytes:
    """Return the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _place(result: Result, position: int) -> str:
    picture = result.pictures[position]
    stem = f"{result.number:03d}-{result.kind}"
    if len(result.pictures) == 1:
        return f"{stem}-{slug(picture.label)}.png"
    return f"{stem}/{position:02d}-{slug(picture.label)}.png"


def _facts(result: Result, source: str, files: Sequence[str]) -> dict[str, Any]:
    """Say all that is needed to render a result again."""
    return {
        "number": result.number,
        "kind": result.kind,
        "source": source,
        "domain": result.face.domain,
        "seed": result.settings.seed,
        "speed": result.settings.speed,
        "perceived": result.settings.perceived,
        "model": result.model,
        "pictures": [
            _picture_facts(name, picture)
            for name, picture in zip(files, result.pictures, strict=True)
        ],
    }


def _picture_facts(name: str, picture: Picture) -> dict[str, Any]:
    return {
        "file": name,
        "asked": nonzero(picture.weights),
        "blend": nonzero(picture.strengths),
        "reading": None if picture.reading is None else _reading_facts(picture.reading),
    }


def _reading_facts(reading: Reading) -> dict[str, Any]:
    scores = {
        name: round(score, 4) for name, score in zip(EXPRESSIONS, reading.scores, strict=True)
    }
    identity = None if reading.identity is None else round(reading.identity, 4)
    return {"scores": scores, "identity": identity}


def nonzero(weights: Weights) -> dict[str, float]:
    """Return the part of a mix that does something, in the form `edit` takes as `blend`.

    Example:
        >>> from pixelsmile.studio.mixes import weights_of
        >>> nonzero(weights_of({"happy": 0.8}))
        {'happy': 0.8}
    """
    named = zip(EXPRESSIONS, weights, strict=True)
    return {name: round(weight, 6) for name, weight in named if weight}
