"""What a written picture says about its own making: JSON in an iTXt chunk of the PNG.

The chunk is called `pixelsmile`; `Software` and `Description` are there for other programs. No
EXIF of the source is copied: it may say where somebody lives.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
from PIL import Image, PngImagePlugin

import pixelsmile
from pixelsmile.errors import UserError
from pixelsmile.files import whole_file

KEY = "pixelsmile"

Facts = Mapping[str, Any]


def write_png(image: Image.Image, path: str | Path, facts: Facts) -> None:
    """Write a PNG with its facts, whole or not at all.

    The same picture and facts give the same bytes.

    Args:
        image: RGB or RGBA, sRGB.
        path: Of the file.
        facts: Anything that JSON can hold.

    Raises:
        OSError: If the file cannot be written.
    """
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt(KEY, json.dumps(facts, ensure_ascii=False, sort_keys=True), zip=False)
    chunks.add_text("Software", f"pixelsmile {pixelsmile.__version__}")
    if title := facts.get("title"):
        chunks.add_itxt("Description", str(title))
    with whole_file(path) as file:
        image.save(file, "PNG", pnginfo=chunks, icc_profile=None)  # that of the source is applied


def read_facts(path: str | Path) -> dict[str, Any]:
    """Return what a picture, GIF or MP4 of this package says; pixels are not decoded.

    Raises:
        UserError: If the file is missing, or says nothing of this kind.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = f"{folder}/happy.png"
        ...     write_png(Image.new("RGB", (8, 8)), file, {"seed": 3, "strength": 0.8})
        ...     read_facts(file)
        {'seed': 3, 'strength': 0.8}
    """
    if not Path(path).is_file():
        raise UserError(f"No picture at {path}: check the path.")
    facts = known_facts(path)
    if facts is None:
        raise UserError(f"{path} does not say how it was made: it is not of pixelsmile.edit.")
    return facts


def known_facts(path: str | Path) -> dict[str, Any] | None:
    """Return the facts of a file that is there, None where it has none of ours."""
    try:
        facts = json.loads(_video_text(path) if Path(path).suffix == ".mp4" else _text(path))
    except (KeyError, ValueError, OSError, SyntaxError, RecursionError):  # whatever damage raises
        return None
    return facts if isinstance(facts, dict) else None


def _text(path: str | Path) -> str | bytes:
    with Image.open(path, formats=("PNG", "GIF")) as image:
        # Chunks may also follow the pixels; ours do not, so that this stays quick.
        return image.info[KEY if image.format == "PNG" else "comment"]


def _video_text(path: str | Path) -> str:
    with av.open(str(path)) as container:
        return container.metadata["comment"]
