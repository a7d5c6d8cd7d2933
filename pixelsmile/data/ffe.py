"""Read the FFE annotation layout: JSONL, one image a line, paths relative to the file."""

from pathlib import Path

from pixelsmile.data import annotations
from pixelsmile.data.annotations import Row, image_file, read_rows, require
from pixelsmile.data.samples import Sample
from pixelsmile.errors import UserError
from pixelsmile.expressions import DOMAINS


def read_ffe(*files: str | Path, domain: str | None = None) -> list[Sample]:
    """Read annotation files.

    Args:
        files: JSONL files; a folder stands for the `annotations.jsonl` in it.
        domain: Keep this domain only; None keeps all.

    Raises:
        UserError: If a file is missing, a line is broken, or nothing is left. The sentence names
            the file, the line, the value and the way out.
    """
    samples = []
    for file in files:
        path = Path(file)
        path = path / "annotations.jsonl" if path.is_dir() else path
        samples += [_sample(row, path, where) for row, where in read_rows(path)]
    kept = [sample for sample in samples if domain is None or sample.domain == domain]
    if not kept:
        wanted = f" of domain {domain!r}" if domain else ""
        raise UserError(
            f"The set is empty: {len(samples)} images in {', '.join(map(str, files))}, "
            f"none{wanted}. Check the paths and the domain."
        )
    return kept


def _sample(row: Row, path: Path, where: str) -> Sample:
    require(row, "image", "identity", "domain", "category", "scores", where=where)
    if row["domain"] not in DOMAINS:
        raise UserError(
            f"{where}: unknown domain {row['domain']!r}, choose one of {', '.join(DOMAINS)}."
        )
    return Sample(
        image=image_file(row["image"], path.parent, where),
        identity=str(row["identity"]),
        domain=row["domain"],
        category=annotations.category(row["category"], where),
        scores=annotations.scores(row["scores"], where),
        box=annotations.box(row.get("box"), where),
        landmarks=annotations.landmarks(row.get("landmarks"), where),
        split=row.get("split"),
    )
