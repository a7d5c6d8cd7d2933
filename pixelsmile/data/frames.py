"""Still frames of videos, decoded once and kept on disk.

Each video gets a folder in the cache, named by its relative path, size, time of change and the
settings. A record is written after the frames: without it the video counts as not yet decoded.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import av.error
import numpy as np
from PIL import Image

from pixelsmile.data.faults import BadItemError, Faults
from pixelsmile.files import whole_file
from pixelsmile.progress import progress
from pixelsmile.workers import run_parallel

VERSION = 1
"""Raised when frames are taken or stored differently."""

_QUALITY = 95
_RECORD = "frames.json"
_WORTH_PROCESSES = 16
"""Videos from which on it pays to start processes."""


@dataclass(frozen=True)
class FrameCache:
    """Takes frames out of videos.

    Attributes:
        folder: Of the cache.
        count: Frames of each video, at the middles of as many equal parts.
        workers: Processes.
    """

    folder: Path
    count: int
    workers: int

    def frames(self, videos: Sequence[Path], root: Path, faults: Faults) -> dict[Path, list[Path]]:
        """Return the frames of each video in order of time; decode what is not there yet.

        Args:
            videos: Below `root`.
            root: Of the data set; it may move without losing the cache.
            faults: Receives videos that cannot be used.
        """
        folders = {}
        for video in videos:
            with faults.item():
                folders[video] = self.folder / _key(video, root, self.count)
        done = {video for video, folder in folders.items() if self._known(folder)}
        missing = [(video, folders[video]) for video in folders if video not in done]
        bad = set()
        if missing:
            task = partial(_extract, self.count)
            workers = self.workers if len(missing) >= _WORTH_PROCESSES else 1
            with (
                progress("Taking frames from videos", len(folders), done=len(done)) as advance,
                closing(run_parallel(task, missing, workers)) as finished,
            ):
                for (video, _), problem in finished:
                    advance(1)
                    if problem is not None:
                        bad.add(video)
                        faults.add(BadItemError("video", problem))
        return {
            video: [folder / _name(i) for i in range(self.count)]
            for video, folder in folders.items()
            if video not in bad
        }

    def _known(self, folder: Path) -> bool:
        """Tell whether a video was decoded to the end and its frames are still there."""
        try:
            sizes = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
            return sizes == [(folder / _name(i)).stat().st_size for i in range(self.count)]
        except (OSError, ValueError):
            return False


def _name(position: int) -> str:
    return f"{position:03d}.jpg"


def _key(video: Path, root: Path, count: int) -> str:
    """Return a name for the frames of a video.

    Raises:
        BadItemError: If the video is empty or no file.
    """
    if not video.is_file():
        raise BadItemError("video", f"Video {video} is no file: restore or remove it.")
    status = video.stat()
    if status.st_size == 0:
        raise BadItemError("video", f"Video {video} is empty (0 bytes): restore or remove it.")
    name = video.relative_to(root).as_posix()
    parts = (VERSION, name, status.st_size, status.st_mtime_ns, count, _QUALITY)
    digest = hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{digest[:2]}/{digest[2:32]}"


def _extract(count: int, item: tuple[Path, Path], check: Callable[[], None]) -> str | None:
    """Write the frames of one video; return what is wrong with it, if anything."""
    video, folder = item
    try:
        images = decode_uniformly(video, count, check)
    except BadItemError as error:
        return str(error)
    sizes = []
    for position, image in enumerate(images):
        path = folder / _name(position)
        with whole_file(path) as file:
            Image.fromarray(image).save(file, "JPEG", quality=_QUALITY, subsampling=0)
        sizes.append(path.stat().st_size)
    with whole_file(folder / _RECORD) as file:
        file.write(json.dumps(sizes).encode())
    return None


def uniform_positions(num_frames: int, count: int) -> list[int]:
    """Return the frames at the middles of `count` equal parts; of few frames some come twice.

    Example:
        >>> uniform_positions(90, 3)
        [15, 45, 75]
    """
    return [int((i + 0.5) * num_frames / count) for i in range(count)]


def decode_uniformly(
    video: Path, count: int, check: Callable[[], None] = lambda: None
) -> list[np.ndarray]:
    """Return frames of a video, each (H, W, 3), uint8.

    The frames are counted before they are decoded, without trust in what the header says of their
    number, and decoding ends with the last one that is wanted.

    Args:
        video: The file.
        count: How many.
        check: Called between frames; raises once the work is called off.

    Raises:
        BadItemError: If the file is damaged, cut short, or has no picture.
    """
    try:
        num_frames = _count_frames(video)
        wanted = uniform_positions(num_frames, count)
        found: dict[int, np.ndarray] = {}
        with av.open(str(video)) as container:
            for position, frame in enumerate(container.decode(container.streams.video[0])):
                check()
                if position in wanted:
                    found[position] = frame.to_ndarray(format="rgb24")
                if position >= wanted[-1]:
                    break
    except (av.error.FFmpegError, OSError, ValueError, MemoryError) as error:
        raise _damaged(video, getattr(error, "strerror", None) or str(error)) from None
    if set(found) != set(wanted):
        raise _damaged(video, f"frame {wanted[-1] + 1} of {num_frames} cannot be decoded")
    return [found[position] for position in wanted]


def _count_frames(video: Path) -> int:
    """Return how many packets of picture a video holds.

    Raises:
        BadItemError: If it has none, or fewer than its header says.
    """
    with av.open(str(video)) as container:
        if not container.streams.video:
            kinds = sorted({stream.type for stream in container.streams})
            raise BadItemError(
                "video",
                f"Video {video} has no picture, only {', '.join(kinds) or 'nothing'}: "
                "restore or remove it.",
            )
        stream = container.streams.video[0]
        number = sum(1 for packet in container.demux(stream) if packet.size)
        if not number:
            raise _damaged(video, "it holds no frame")
        if stream.frames > number:
            raise _damaged(video, f"cut short after {number} of {stream.frames} frames")
    return number


def _damaged(video: Path, reason: str) -> BadItemError:
    return BadItemError("video", f"Video {video} cannot be read ({reason}): restore or remove it.")
