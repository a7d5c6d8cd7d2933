"""Read MEAD as it unpacks: `<subject>/video/front/<emotion>/level_<1..3>/<clip>.mp4`.

Frames are taken from the clips once. Levels become strengths; landmarks and boxes are unknown.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelsmile.data.annotations import is_inside
from pixelsmile.data.faults import BadItemError, Faults, UnusableSetError
from pixelsmile.data.ffe import read_side
from pixelsmile.data.frames import FrameCache
from pixelsmile.data.samples import Sample
from pixelsmile.data.splits import Faces, pair_up, split_by_identity
from pixelsmile.data.triplets import Pair, every_pair
from pixelsmile.data.verify import Verifier, num_workers
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS, NEUTRAL, canonical

LEVELS = {"level_1": 0.5, "level_2": 0.75, "level_3": 1.0}
"""Folder names and the strength that each stands for."""

_FRONT = Path("video") / "front"


@dataclass(frozen=True)
class Clip:
    """One video of one person."""

    path: Path
    subject: str
    category: str
    strength: float


def read_mead(
    root: str | Path,
    *,
    domain: str,
    cache: str | Path,
    frames: int = 3,
    clips: int | None = None,
    val_share: float = 0.1,
    val: Any = None,
    pairs: Sequence[Sequence[str]] | None = None,
    on_error: str = "stop",
    follow_links: bool = False,
    workers: int | str = "auto",
    verifier: Verifier | None = None,
) -> Faces:
    """Read the front views of MEAD.

    Args:
        root: The folder of the subjects.
        domain: Must be `human`.
        cache: Receives the frames.
        frames: Taken from each clip, evenly over its length.
        clips: Of each emotion and level, the first so many; None takes all.
        val_share: Share of the subjects to hold out.
        val: Annotations of other people to validate on, as `data=ffe` reads them; every subject is
            then trained on, and the numbers are comparable with those of another training set.
        pairs: Confusing pairs; None contrasts any two emotions that are there (App. C.2): MEAD has
            no soft labels to mine.
        on_error: `stop` or `skip`, see `Faults`.
        follow_links: Allow links that lead out of `root`.
        workers: Processes that decode; `auto` is one per core.
        verifier: Decodes every image of `val`; None trusts them. Frames of videos are whole.

    Raises:
        UserError: If nothing is there, or an item is bad and `on_error` stops.
    """
    _check(domain, frames, clips)
    faults = Faults(on_error)
    root = Path(root)
    found = list(find_clips(root, faults, clips=clips, follow_links=follow_links))
    store = FrameCache(Path(cache), frames, num_workers(workers))
    stills = store.frames([clip.path for clip in found], root, faults)
    samples = [_sample(clip, image) for clip in found for image in stills.get(clip.path, [])]
    if not samples:
        raise UnusableSetError(
            f"No MEAD video can be used below {root}: data.root must hold folders such as "
            "M003/video/front/happy/level_1.",
            faults,
        )
    if val is None:
        train, held_out = split_by_identity(samples, val_share, faults)
    else:
        train = samples
        held_out = read_side(
            val,
            "val",
            key="data.val",
            domain=domain,
            faults=faults,
            follow_links=follow_links,
            verifier=verifier,
        )
    chosen = _any_two(train, root, faults) if pairs is None else pairs
    return pair_up(train, held_out, chosen, faults)


def _check(domain: str, frames: Any, clips: Any) -> None:
    if domain != "human":
        raise UserError(f"data=mead shows people, and domain={domain}: say domain=human.")
    for key, value in (("frames", frames), ("clips", clips)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise UserError(f"data.{key}={value}: give a number from 1 up.")


def find_clips(
    root: Path, faults: Faults, *, clips: int | None = None, follow_links: bool = False
) -> Iterator[Clip]:
    """Yield the clips of the front views, in a fixed order.

    Args:
        root: The folder of the subjects.
        faults: Receives folders of unknown emotion or level, and links that lead out of `root`.
        clips: Of each emotion and level, the first so many; None takes all.
        follow_links: Allow links that lead out of `root`.

    Raises:
        UserError: If there is no such folder.
    """
    if not root.is_dir():
        raise UserError(f"No folder {root}: data.root must be the unpacked MEAD.")
    for subject in _entries(root):
        for emotion in _entries(subject / _FRONT):
            for level in _entries(emotion):
                with faults.item():
                    category, strength = _meaning(emotion, level)
                    videos = [path for path in _entries(level) if _is_video(path)][:clips]
                    for path in videos:
                        with faults.item():
                            _stay_inside(path, root, follow_links)
                            yield Clip(path, subject.name, category, strength)


def _any_two(samples: Sequence[Sample], root: Path, faults: Faults) -> list[Pair]:
    """Return every pair of emotions.

    Raises:
        UnusableSetError: If there is none.
    """
    pairs = every_pair(samples)
    if not pairs:
        shown = sorted({sample.category for sample in samples})
        raise UnusableSetError(
            f"The subjects to train on below {root} show {shown}: two emotions beside neutral are "
            "needed, to be contrasted.",
            faults,
        )
    return pairs


def _entries(folder: Path) -> list[Path]:
    """Return what is in a folder, numbers in their own order, without hidden files."""
    if not folder.is_dir():
        return []
    names = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(names, key=lambda path: [_rank(part) for part in re.split(r"(\d+)", path.name)])


def _rank(part: str) -> tuple[int, str]:
    return (int(part), "") if part.isdecimal() else (-1, part)


def _is_video(path: Path) -> bool:
    return path.suffix.lower() == ".mp4"


def _meaning(emotion: Path, level: Path) -> tuple[str, float]:
    """Return category and strength of a folder.

    Raises:
        BadItemError: If its name is unknown.
    """
    try:
        category = canonical(emotion.name)
    except UserError as error:
        raise BadItemError("line", f"{emotion}: {error}") from None
    if level.name not in LEVELS:
        raise BadItemError("line", f"{level}: expected one of {', '.join(LEVELS)}.")
    return category, LEVELS[level.name]


def _stay_inside(path: Path, root: Path, follow_links: bool) -> None:
    if not follow_links and not is_inside(path, root):
        raise BadItemError(
            "link",
            f"Video {path} is a link that leads out of {root}: move the file there, or say "
            "data.follow_links=true if you trust it.",
        )


def _sample(clip: Clip, image: Path) -> Sample:
    shown = 0.0 if clip.category == NEUTRAL else clip.strength
    return Sample(
        image=image,
        identity=clip.subject,
        domain="human",
        category=clip.category,
        scores=tuple(shown if name == clip.category else 0.0 for name in EXPRESSIONS),
    )
