"""Write faces as MEAD unpacks: `<subject>/video/front/<emotion>/level_<1..3>/001.mp4`.

What is poorer here than in a face set is what the paper says of MEAD: few people, seven emotions,
three levels. Drawing, size and people are the same.
"""

import functools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import numpy as np

from pixelsmile.errors import UserError
from pixelsmile.expressions import NEUTRAL
from pixelsmile.faces.base import FaceGenerator
from pixelsmile.faces.dataset import check_size, check_workers
from pixelsmile.faces.fingerprint import fingerprint
from pixelsmile.faces.seeds import check_seeds, seed_range
from pixelsmile.files import whole_file
from pixelsmile.progress import progress
from pixelsmile.workers import run_parallel

LEVELS = {1: 0.5, 2: 0.75, 3: 1.0}
"""Strength of each level (paper, App. C.1)."""

EMOTIONS = {
    "angry": "angry",
    "contempt": "contempt",
    "disgusted": "disgust",
    "fear": "fear",
    "happy": "happy",
    "sad": "sad",
    "surprised": "surprised",
}
"""Folder names of MEAD and the expressions that they show."""

_FRAMES = 5
_RATE = 25
_SETTINGS = "settings.json"


def write_mead(
    generator: FaceGenerator,
    folder: str | Path,
    *,
    subjects: int,
    size: int = 128,
    workers: int | None = None,
) -> Path:
    """Write a set of videos, or find it already there, and return its root.

    A set that was stopped is continued. Faces hold still: a video is one picture, of seeds 0 up.

    Args:
        generator: Draws the faces.
        folder: Receives a folder named by number, size and the version of the generator.
        subjects: People.
        size: Edge of the frames in pixels, even.
        workers: Number of processes, by default one per core.

    Raises:
        UserError: If an argument is out of range.
        OSError: If a file cannot be written.
    """
    check_size(size)
    if size % 2:
        raise UserError(f"size={size} is odd, and videos need an even one: say {size + 1}.")
    workers = check_workers(workers)
    seeds = seed_range(0, subjects)
    check_seeds(seeds)
    settings = {"subjects": subjects, "size": size, "generator": fingerprint(generator)}
    root = Path(folder) / f"mead-{size}px-{subjects}-{settings['generator'][:8]}"
    if (root / _SETTINGS).is_file():
        return root
    partial = root.with_name(f"{root.name}.partial")
    task = functools.partial(_write_subject, generator, size)
    items = [(partial, seed) for seed in seeds]
    with (
        progress(f"Filming {generator.domain} faces", len(seeds)) as advance,
        closing(run_parallel(task, items, workers)) as finished,
    ):
        for _ in finished:
            advance(1)
    with whole_file(partial / _SETTINGS) as file:
        file.write(json.dumps(settings).encode())
    if root.exists():
        shutil.rmtree(root)  # a set without its last file was none of ours that is whole
    partial.rename(root)
    return root


def clips(seed: int) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Yield path and mix of every clip of a subject.

    Example:
        >>> [path for path, _ in clips(3)][1]
        'M003/video/front/angry/level_1/001.mp4'
    """
    front = f"M{seed:03d}/video/front"
    yield f"{front}/{NEUTRAL}/level_1/001.mp4", {}
    for emotion, expression in EMOTIONS.items():
        for level, strength in LEVELS.items():
            yield f"{front}/{emotion}/level_{level}/001.mp4", {expression: strength}


def _write_subject(
    generator: FaceGenerator, size: int, item: tuple[Path, int], check: Callable[[], None]
) -> None:
    """Write the clips of one subject that are not there yet: the task of a worker."""
    partial, seed = item
    for name, mix in clips(seed):
        check()
        if not (partial / name).exists():
            write_video(partial / name, generator.render(seed, mix, size=size).image)


def write_video(path: Path, image: np.ndarray) -> None:
    """Write a still as an MPEG-4 video of best quality.

    Args:
        path: Of the video; it appears whole or not at all.
        image: (H, W, 3), uint8, even sides.
    """
    with whole_file(path) as file, av.open(file, "w", format="mp4") as container:
        stream: Any = container.add_stream("mpeg4", rate=_RATE)
        stream.height, stream.width = image.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.qmin = stream.codec_context.qmax = 1
        for _ in range(_FRAMES):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
