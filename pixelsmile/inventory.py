"""What is in the cache and who uses it: needs of a configuration, status, pruning."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from pixelsmile.data.cache import TensorCache, content_key
from pixelsmile.data.encoded import EncodedSet
from pixelsmile.data.manifests import Manifest, read_manifests
from pixelsmile.data.samples import Sample, by_identity, neutral_of

_HOW_READ = frozenset(
    {"batch_size", "val_batch_size", "num_workers", "workers", "on_error", "follow_links"}
    | {"verifier", "check", "reader"}  # the reader's own settings are references to the others
)
"""Settings of `data` that say how it is read and not what is read."""

_ENCODING = ("sizes", "autoencoder", "encoder", "recogniser", "detector", "text_encoder")


@dataclass(frozen=True)
class Needs:
    """Which samples need which entries.

    Attributes:
        train: Samples to train on.
        sources: Their neutral images, one an identity.
        held_out: Neutral images of other identities; the rest of those is made by editing.
        compared: Whether training compares faces, which only the identity loss does. Validation
            compares every source with its edits.
    """

    train: Sequence[Sample]
    sources: Sequence[Sample]
    held_out: Sequence[Sample]
    compared: bool

    @classmethod
    def of(cls, encoded: EncodedSet, train: Sequence[Sample], val: Sequence[Sample]) -> "Needs":
        """Return what a run on two sets reads.

        Raises:
            UserError: If an identity has no neutral image.
        """
        sources, held_out = (
            [neutral_of(name, group) for name, group in by_identity(samples).items()]
            for samples in (train, val)
        )
        return cls(train, sources, held_out, encoded.faces_required)

    def images(self) -> list[Sample]:
        """Return whose latents and features are read."""
        return _distinct([*self.train, *self.held_out])

    def faces(self) -> list[Sample]:
        """Return whose faces are compared."""
        return _distinct([*(self.train if self.compared else ()), *self.held_out])

    def prompts(self) -> list[Sample]:
        """Return which sources are edited."""
        return _distinct([*self.sources, *self.held_out])

    def keys(self, encoded: EncodedSet) -> dict[str, list[str]]:
        """Return the keys of all entries by kind, sorted."""
        kinds = {
            "image": map(encoded.image_key, self.images()),
            "face": map(encoded.face_key, self.faces()),
            "prompts": map(encoded.prompt_key, self.prompts()),
        }
        if encoded.sizes.of_source != encoded.sizes.image:
            kinds["source"] = map(encoded.source_key, self.prompts())
        return {kind: sorted(set(keys)) for kind, keys in kinds.items()}


def _distinct(samples: Iterable[Sample]) -> list[Sample]:
    return list(dict.fromkeys(samples))


def manifest_of(config: DictConfig, keys: dict[str, list[str]]) -> Manifest:
    """Return the manifest of a configuration, named by its data and what encodes them."""
    data = OmegaConf.to_container(config.data, resolve=True)
    assert isinstance(data, dict)
    what = {key: _absolute(value) for key, value in data.items() if key not in _HOW_READ}
    models = [
        _absolute(OmegaConf.to_container(config.model[part], resolve=True)) for part in _ENCODING
    ]
    compared = bool(config.loss.identity_weight)
    digest = content_key(sorted(what.items(), key=str), models, compared)[:12]
    name = f"{config.domain.name}-{digest}"
    sizes = ", ".join(f"{key} {value}" for key, value in config.model.sizes.items())
    return Manifest(name, f"{config.domain.name}, {sizes}, models of {config.model.folder}", keys)


def _absolute(value: Any) -> Any:
    """Return a setting with every path in it absolute.

    The same relative path of two projects that share a cache names two files.
    """
    if isinstance(value, dict):
        return {key: _absolute(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_absolute(item) for item in value]
    named = isinstance(value, str) and os.path.exists(value)
    return os.path.abspath(value) if named else value


@dataclass(frozen=True)
class Row:
    """One kind of entries.

    Attributes:
        kind: Name of the kind.
        cached: Whole entries.
        missing: Entries that are not there.
        damaged: Entries that are there and cannot be read; they are encoded again.
        num_bytes: Of all files of the kind.
    """

    kind: str
    cached: int
    missing: int
    damaged: int
    num_bytes: int


@dataclass(frozen=True)
class Stock:
    """What a cache holds, as one configuration sees it.

    Attributes:
        rows: Of the configuration's kinds.
        others: Entries that other configurations alone use.
        stale: Keys that nobody uses any more: of replaced images, prompts, models or sizes.
        num_bytes: Of `others` and of `stale`.
    """

    rows: list[Row]
    others: list[str]
    stale: list[str]
    num_bytes: tuple[int, int]

    def table(self, cache: TensorCache) -> Table:
        """Return the stock for people."""
        table = Table(title=f"Cache {cache.folder}")
        table.add_column("")
        for name in ("cached", "missing", "damaged", "stale", "size"):
            table.add_column(name, justify="right")
        for row in self.rows:
            counts = (row.cached, row.missing, row.damaged)
            table.add_row(row.kind, *map(str, counts), "", readable(row.num_bytes))
        of_others, of_stale = map(readable, self.num_bytes)
        table.add_row("of other configurations", str(len(self.others)), "", "", "", of_others)
        table.add_row("used by nobody", "", "", "", str(len(self.stale)), of_stale)
        return table


def take_stock(cache: TensorCache, manifest: Manifest) -> Stock:
    """Look at a cache.

    Args:
        cache: To look at; only its memory of what was found whole changes.
        manifest: What the configuration needs now; its earlier one does not count.

    Raises:
        UserError: If a manifest cannot be read.
    """
    rows = []
    for kind, keys in manifest.keys.items():
        sizes = {key: cache.size(key) for key in keys if cache.path(key).is_file()}
        whole = sum(key in cache for key in sizes)
        rows.append(
            Row(kind, whole, len(keys) - len(sizes), len(sizes) - whole, sum(sizes.values()))
        )
    cache.remember()
    own = manifest.all_keys()
    used = {
        key
        for other in read_manifests(cache.folder)
        if other.name != manifest.name
        for key in other.all_keys()
    }
    rest = [key for key in cache.stored() if key not in own]
    others = [key for key in rest if key in used]
    stale = [key for key in rest if key not in used]
    sizes = (sum(map(cache.size, others)), sum(map(cache.size, stale)))
    return Stock(rows, others, stale, sizes)


def prune(cache: TensorCache, *, dry_run: bool = False) -> tuple[int, int]:
    """Remove the entries that no manifest names, and return how many and how many bytes.

    Args:
        cache: To remove from.
        dry_run: Count, and remove nothing.

    Raises:
        UserError: If entries are being added or read, or a manifest cannot be read.
    """
    with cache.unused():
        used = {key for manifest in read_manifests(cache.folder) for key in manifest.all_keys()}
        unused = [key for key in cache.stored() if key not in used]
        num_bytes = sum(map(cache.size, unused))
        if not dry_run:
            for key in unused:
                cache.remove(key)
            for piece in cache.pieces():
                piece.unlink(missing_ok=True)
            cache.tidy()
    return len(unused), num_bytes


def readable(num_bytes: int) -> str:
    """Return a number of bytes for people.

    Example:
        >>> readable(999), readable(1_500_000)
        ('999 B', '1.5 MB')
    """
    size = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
