"""Read the triplets of the release: JSONL, a neutral source and two edited targets a line.

`{"src": {"image", "boxes"?}, "dst": [{"image", "category", "scores", "boxes"?}, {...}]}`, paths
relative to the file. The layout names no identity: each source image stands for one.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelsmile.data import annotations
from pixelsmile.data.annotations import Row, as_object, image_file, read_rows, require
from pixelsmile.data.faults import BadItemError, Faults, UnusableSetError, shown
from pixelsmile.data.ffe import as_list
from pixelsmile.data.samples import Sample, check_disjoint
from pixelsmile.data.splits import Faces, refuse_empty, split_by_identity
from pixelsmile.data.triplets import Triplet, samples_of
from pixelsmile.data.verify import Verifier, bad_images
from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS, NEUTRAL

Rescale = Callable[[float], float]

_TARGETS = 2


def release_rescale(score: float) -> float:
    """Return the release's piecewise-linear stretch of a score.

    0.5 x up to 0.6, x - 0.3 up to 0.8, 3 x - 1.9 up to 0.9, 2 x - 1 above: continuous, increasing,
    0 to 0 and 1 to 1. It spreads the upper scores, where the annotators crowd.

    Example:
        >>> [round(release_rescale(x), 2) for x in (0.0, 0.6, 0.8, 0.9, 1.0)]
        [0.0, 0.3, 0.5, 0.8, 1.0]
    """
    if score <= 0.6:
        return 0.5 * score
    if score <= 0.8:
        return score - 0.3
    if score <= 0.9:
        return 3 * score - 1.9
    return 2 * score - 1


RESCALES: dict[str, Rescale] = {"release": release_rescale}
"""What `data.rescale` may be, beside null."""


class Names:
    """Names of identities: the path of the source as its file writes it.

    A source has one name however many files or spellings lead to it, links included. Where two
    folders hold sources of one such path, the later one goes by its whole path.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()

    def of(self, image: Path, folder: Path) -> str:
        """Return the name of a source.

        Args:
            image: Its path.
            folder: Of the file that names it.
        """
        real = os.path.realpath(image)
        if real not in self._names:
            written = Path(os.path.normpath(image))
            short = Path(os.path.relpath(written, folder)).as_posix()
            free = (n for n in (short, written.as_posix(), real) if n not in self._taken)
            self._names[real] = next(free, real)
            self._taken.add(self._names[real])
        return self._names[real]


def read_triplet_faces(
    files: Mapping[str, Any],
    *,
    domain: str,
    val_share: float = 0.1,
    rescale: str | None = None,
    on_error: str = "stop",
    follow_links: bool = False,
    verifier: Verifier | None = None,
) -> Faces:
    """Read training triplets and held-out ones, or divide one set by source.

    Args:
        files: Under `train` the triplet files, under `val` those of other sources; None there
            holds out some of `train`. Of held-out triplets the sources are edited.
        domain: Of all images; the layout does not say.
        val_share: Share of the sources to hold out, where `val` is None.
        rescale: Name of a stretch of the scores, one of `RESCALES`; None keeps them.
        on_error: `stop` or `skip`, see `Faults`.
        follow_links: Allow paths that lead out of the folder of their file.
        verifier: Decodes every image; None trusts them.

    Raises:
        UserError: If a file is missing, nothing is left, or an item is bad and `on_error` stops.
    """
    if rescale is not None and rescale not in RESCALES:
        raise UserError(f"data.rescale={rescale}: choose {', '.join(RESCALES)} or null.")
    faults, names = Faults(on_error), Names()

    def read(split: str) -> list[Triplet]:
        triplets = read_triplets(
            *as_list(files[split]),
            domain=domain,
            names=names,
            rescale=RESCALES[rescale] if rescale else None,
            faults=faults,
            follow_links=follow_links,
        )
        bad = bad_images(samples_of(triplets), verifier, faults)
        return [triplet for triplet in triplets if not bad & {s.image for s in triplet}]

    train = read("train")
    if files.get("val") is None:
        sources = [triplet.source for triplet in train]
        held_out = {s.identity for s in split_by_identity(sources, val_share, faults)[1]}
        val = [triplet for triplet in train if triplet.source.identity in held_out]
        train = [triplet for triplet in train if triplet.source.identity not in held_out]
    else:
        val = read("val")
    refuse_empty(train, val, faults)
    sides = samples_of(train), samples_of(val)
    check_disjoint(*sides)
    return Faces(*sides, train, tuple(faults.found))


def read_triplets(
    *files: str | Path,
    domain: str,
    names: Names | None = None,
    rescale: Rescale | None = None,
    faults: Faults | None = None,
    follow_links: bool = False,
) -> list[Triplet]:
    """Read triplet files, in their order and as often as a triplet is there.

    Args:
        files: JSONL files.
        domain: Of all images; the layout does not say.
        names: Of the identities in files that were read before; None begins anew.
        rescale: Applied to every score, such as `release_rescale`.
        faults: Receives bad lines; None refuses the first.
        follow_links: Allow paths that lead out of the folder of their file.

    Raises:
        UserError: If a file is missing, a line is broken, or there is no usable line.
    """
    faults = Faults() if faults is None else faults
    names = Names() if names is None else names
    triplets = []
    for file in map(Path, files):
        read = _LineReader(file.parent, domain, rescale, names, follow_links)
        for row, where in read_rows(file, faults):
            with faults.item():
                triplets.append(read.triplet(row, where))
    if not triplets:
        where = ", ".join(map(str, files))
        raise UnusableSetError(f"The set is empty: no triplet in {where} can be used.", faults)
    return triplets


@dataclass(frozen=True)
class _LineReader:
    """Reads the lines of one file."""

    folder: Path
    domain: str
    rescale: Rescale | None
    names: Names
    follow_links: bool

    def triplet(self, row: Row, where: str) -> Triplet:
        """Return the triplet of a line.

        Raises:
            BadItemError: If it is none.
        """
        require(row, "src", "dst", where=where)
        place = f"{where}: 'src'"
        source = as_object(row["src"], place)
        targets = row["dst"]
        if not isinstance(targets, list) or len(targets) != _TARGETS:
            raise BadItemError("line", f"{where}: 'dst' must be two objects, got {shown(targets)}.")
        require(source, "image", where=place)
        image = self._image(source["image"], place)
        box = _first_box(source.get("boxes"), place)
        neutral = Sample(
            image=image,
            identity=self.names.of(image, self.folder),
            domain=self.domain,
            category=NEUTRAL,
            scores=(0.0,) * len(EXPRESSIONS),
            box=box,
            crop_box=box,
        )
        place = f"{where}: 'dst'"
        first, second = (self._target(as_object(t, place), neutral, place) for t in targets)
        if first.category == second.category:
            raise BadItemError(
                "line", f"{where}: both targets show {first.category!r}, two expressions needed."
            )
        return Triplet(neutral, first, second)

    def _target(self, row: Row, neutral: Sample, where: str) -> Sample:
        require(row, "image", "category", "scores", where=where)
        category = annotations.category(row["category"], where)
        if category == NEUTRAL:
            raise BadItemError(
                "line", f"{where}: a target shows 'neutral', choose one of the expressions."
            )
        scores = annotations.scores_of(category, row["scores"], where)
        return Sample(
            image=self._image(row["image"], where),
            identity=neutral.identity,
            domain=neutral.domain,
            category=category,
            scores=tuple(map(self.rescale, scores)) if self.rescale else scores,
            box=_first_box(row.get("boxes"), where),
            crop_box=neutral.crop_box,
        )

    def _image(self, value: Any, where: str) -> Path:
        return image_file(value, self.folder, where, follow_links=self.follow_links)


def _first_box(value: Any, where: str) -> tuple[float, ...] | None:
    """Read `boxes`: one box, or a list of boxes of which the first is the face that is edited."""
    if isinstance(value, list) and value and isinstance(value[0], list):
        value = value[0]
    return annotations.box(value or None, where, key="boxes")
