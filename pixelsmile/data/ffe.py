"""Read the FFE annotation layout: JSONL, one image a line, paths relative to the file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pixelsmile.data import annotations
from pixelsmile.data.annotations import Row, image_file, read_rows, require
from pixelsmile.data.faults import BadItemError, Faults, UnusableSetError, shown
from pixelsmile.data.samples import Sample, share_crop
from pixelsmile.data.splits import Faces, pair_up, split_by_identity
from pixelsmile.data.verify import Verifier, bad_images
from pixelsmile.expressions import DOMAINS


def read_faces(
    files: Mapping[str, Any],
    *,
    domain: str,
    val_share: float = 0.1,
    pairs: Sequence[Sequence[str]] | None = None,
    on_error: str = "stop",
    follow_links: bool = False,
    verifier: Verifier | None = None,
) -> Faces:
    """Read a training and a validation set, or divide one set by identity.

    Args:
        files: Under `train` the annotation files or folders, under `val` those of other people;
            None there divides those of `train`. Of two sets each gives the lines that are annotated
            as its own or not at all, so that both may name the same files.
        domain: Keep this domain only; the files may hold both.
        val_share: Share of the identities to hold out, where neither `val` nor the annotations say.
        pairs: Confusing pairs; None mines them from the soft labels.
        on_error: `stop` or `skip`, see `Faults`.
        follow_links: Allow paths that lead out of the folder of their annotations.
        verifier: Decodes every image; None trusts them.

    Raises:
        UserError: If a file is missing, nothing is left, or an item is bad and `on_error` stops.
    """
    faults = Faults(on_error)

    def read(side: str, split: str | None) -> list[Sample]:
        return read_side(
            files[side],
            split,
            key=f"data.files.{side}",
            domain=domain,
            faults=faults,
            follow_links=follow_links,
            verifier=verifier,
        )

    if files.get("val") is None:
        train, val = split_by_identity(read("train", None), val_share, faults)
    else:
        train, val = read("train", "train"), read("val", "val")
    return pair_up(train, val, pairs, faults)


def read_side(
    files: Any,
    split: str | None,
    *,
    key: str,
    domain: str,
    faults: Faults,
    follow_links: bool = False,
    verifier: Verifier | None = None,
) -> list[Sample]:
    """Read the usable samples of one side of a run, with the crop of each identity.

    Args:
        files: One annotation file or folder, or a list of them.
        split: Lines that are annotated as another one are left out; None keeps all.
        key: Of the config, which a refusal names.
        domain: Keep this domain only.
        faults: Receives bad lines and bad images.
        follow_links: Allow paths that lead out of the folder of their annotations.
        verifier: Decodes every image; None trusts them.

    Raises:
        UserError: If a file is missing, nothing is left, or an item is bad and `faults` stops.
    """
    names = as_list(files)
    samples = read_ffe(*names, domain=domain, faults=faults, follow_links=follow_links)
    kept = [sample for sample in samples if split is None or sample.split in (None, split)]
    if not kept:
        found = " and ".join(sorted({str(sample.split) for sample in samples}))
        raise UnusableSetError(
            f"{key} has no line for {split}: all {len(samples)} in {', '.join(map(str, names))} "
            f"are annotated as {found}. Correct 'split' there, or name other files.",
            faults,
        )
    bad = bad_images(kept, verifier, faults)
    return share_crop(sample for sample in kept if sample.image not in bad)


def as_list(value: Any) -> list[Any]:
    """Return one file or a list of them as a list."""
    return [value] if isinstance(value, str | Path) else list(value)


def read_ffe(
    *files: str | Path,
    domain: str | None = None,
    faults: Faults | None = None,
    follow_links: bool = False,
) -> list[Sample]:
    """Read annotation files.

    Args:
        files: JSONL files; a folder stands for the `annotations.jsonl` in it.
        domain: Keep this domain only, without a look at the rest of other lines; None keeps all.
        faults: Receives bad lines; None refuses the first.
        follow_links: Allow paths that lead out of the folder of their annotations.

    Raises:
        UserError: If a file is missing, a line is broken, or nothing is left. The sentence names
            the file, the line, the value and the way out.
    """
    faults = Faults() if faults is None else faults
    samples: dict[Path, Sample] = {}
    places: dict[Path, str] = {}
    num_lines = 0
    for file in files:
        path = Path(file)
        path = path / "annotations.jsonl" if path.is_dir() else path
        for row, where in read_rows(path, faults):
            num_lines += 1
            other = row.get("domain") in DOMAINS and row["domain"] != domain
            if domain is not None and other:
                continue
            with faults.item():
                sample = _sample(row, path, where, follow_links=follow_links)
                _refuse_repeat(sample, where, places)
                samples[sample.image] = sample
    if not samples:
        wanted = f" of domain {domain!r}" if domain else ""
        raise UnusableSetError(
            f"The set is empty: {num_lines} images in {', '.join(map(str, files))}, "
            f"none{wanted} can be used. Check the paths and the domain.",
            faults,
        )
    return list(samples.values())


def _refuse_repeat(sample: Sample, where: str, places: dict[Path, str]) -> None:
    """Refuse an image that an earlier line has named.

    Raises:
        BadItemError: If one has.
    """
    first = places.setdefault(sample.image, where)
    if first != where:
        raise BadItemError(
            "duplicate", f"{where}: image {sample.image} was named at {first}: keep one line."
        )


def _sample(row: Row, path: Path, where: str, *, follow_links: bool) -> Sample:
    require(row, "image", "identity", "domain", "category", "scores", where=where)
    if row["domain"] not in DOMAINS:
        raise BadItemError(
            "line",
            f"{where}: unknown domain {shown(row['domain'])}, choose one of {', '.join(DOMAINS)}.",
        )
    category = annotations.category(row["category"], where)
    return Sample(
        image=image_file(row["image"], path.parent, where, follow_links=follow_links),
        identity=annotations.name(row["identity"], "identity", where),
        domain=row["domain"],
        category=category,
        scores=annotations.scores_of(category, row["scores"], where),
        box=annotations.box(row.get("box"), where),
        landmarks=annotations.landmarks(row.get("landmarks"), where),
        split=annotations.split(row.get("split"), where),
    )
