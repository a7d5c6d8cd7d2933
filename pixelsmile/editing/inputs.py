"""Which files a person means, and where what is made of each goes."""

import glob
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pixelsmile.editing.reading import SUFFIXES
from pixelsmile.errors import UserError


def find_images(value: Any, out: Path) -> list[Path]:
    """Return the picture files of `image=`, each once.

    Args:
        value: A file, a folder (its pictures, not those of its folders), a glob (`**` goes into
            folders), or a list of these. A file that exists is meant as it is, whatever its name.
        out: Folder of the results; what lies below it is never an input of a folder or glob.

    Raises:
        UserError: If a part of `value` names no picture.
    """
    words = [value] if isinstance(value, str | Path) else value
    if value is None or not isinstance(words, Sequence) or not words:
        raise UserError(
            "image= is missing: give a file, a folder, a glob in quotes such as 'image=*.jpg', or "
            "a list."
        )
    found: dict[Path, Path] = {}
    for word in words:
        for path in _meant(str(word), out.resolve()):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _meant(word: str, out: Path) -> list[Path]:
    path = Path(word).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        candidates = sorted(path.iterdir())
    elif glob.has_magic(word):
        candidates = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
    else:
        raise UserError(f"image={word}: there is no such file or folder.")
    pictures = [
        candidate
        for candidate in candidates
        if candidate.suffix.lower() in SUFFIXES and candidate.is_file()
    ]
    files = [file for file in pictures if not file.resolve().is_relative_to(out)]
    if pictures and not files:
        raise UserError(
            f"image={word}: all {len(pictures)} pictures lie inside the folder of the results, "
            f"out={out}, whose files are never edited again: choose another out=."
        )
    if not files:
        raise UserError(f"image={word}: no picture there ({', '.join(SUFFIXES)}).")
    return files


def result_folders(images: Sequence[Path], out: Path) -> list[Path]:
    """Return a folder for the results of each image: its name, longer where two share it.

    Example:
        >>> [path.name for path in result_folders([Path("a/me.jpg"), Path("you.png")], Path("o"))]
        ['me', 'you']
    """
    # Some file systems do not tell upper from lower case.
    count = Counter(image.stem.casefold() for image in images)
    return [
        out / (image.stem if count[image.stem.casefold()] == 1 else f"{image.stem}-{_mark(image)}")
        for image in images
    ]


def _mark(image: Path) -> str:
    return hashlib.sha256(str(image.resolve()).encode()).hexdigest()[:6]
