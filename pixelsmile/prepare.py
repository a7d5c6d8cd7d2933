"""Encode everything a run reads, once: `python -m pixelsmile.prepare domain=anime`.

Also run by `pixelsmile.train`. What is already in the cache is not encoded again; a run that was
stopped goes on where it was. Under torchrun each process encodes its share:
`torchrun --nproc-per-node 8 -m pixelsmile.prepare domain=anime`.

`prepare status` says what is cached, and `prepare prune` removes what no configuration uses.
"""

import gc
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain

import torch
from omegaconf import DictConfig
from rich.console import Console

from pixelsmile.building import build
from pixelsmile.command import command
from pixelsmile.data.cache import TensorCache
from pixelsmile.data.encoded import EncodedSet
from pixelsmile.data.encoding import (
    BATCH,
    Entry,
    encode_faces,
    encode_images,
    encode_prompts,
    encode_source,
    reconstruct,
)
from pixelsmile.data.faults import BadItemError, summary
from pixelsmile.data.memory import FileMemory
from pixelsmile.data.reading import read_data
from pixelsmile.data.samples import Sample
from pixelsmile.errors import UserError
from pixelsmile.inventory import Needs, manifest_of, prune, readable, take_stock
from pixelsmile.progress import progress
from pixelsmile.ranks import own_place
from pixelsmile.stack import encoded_set, quiet

PATIENCE = 1800.0
"""Seconds without a new entry after which a process no longer waits for the others."""


@dataclass(frozen=True)
class Share:
    """Which keys this process encodes.

    Attributes:
        rank: Of the process, from 0.
        world: Number of processes.
    """

    rank: int = 0
    world: int = 1

    def __contains__(self, key: str) -> bool:
        return int(key[:8], 16) % self.world == self.rank


def own_share() -> Share:
    """Return this process's share, as torchrun's or SLURM's environment says.

    Raises:
        UserError: If that makes no sense.
    """
    place = own_place()
    return Share(place.rank, place.world)


def prepare(
    config: DictConfig,
    train: Sequence[Sample],
    val: Sequence[Sample],
    *,
    share: Share | None = None,
    wait: bool = True,
) -> EncodedSet:
    """Encode what is missing of both sets, and return the reader of all of it.

    Of the validation set only the neutral images are needed: the rest is made by editing.

    Args:
        config: Of the run.
        train: Samples to train on, those of its triplets.
        val: Samples of other identities.
        share: Of the work, by default as torchrun says.
        wait: Return when every process has done its share, and not only this one.

    Raises:
        UserError: If an image is missing or broken, an identity has no neutral image, or a face
            that the identity loss needs was not found.
    """
    share = own_share() if share is None else share
    encoded = encoded_set(config)
    needs = Needs.of(encoded, train, val)
    keys = needs.keys(encoded)
    with encoded.cache.in_use():
        if share.rank == 0:
            manifest_of(config, keys).write(encoded.cache.folder)
        encode_pictures(config, encoded, needs, share)
        encode_sources(config, encoded, needs, share)
        encode_words(config, encoded, needs, share)
        gc.collect()  # the encoders have to go before a backbone of 40 GB comes
        if wait:
            wait_for_others(encoded.cache, chain(*keys.values()))
        _remember(encoded)
    if wait or share.world == 1:
        refuse_faceless(config, encoded, needs)
    return encoded


def encode_pictures(config: DictConfig, encoded: EncodedSet, needs: Needs, share: Share) -> None:
    """Encode this process's share of the images, and of the faces in them.

    Both come of one decoded image, so they are shared out by the key of the image.
    """
    cache, sizes, device = encoded.cache, encoded.sizes, _device()
    images = {key: s for s in needs.images() if (key := encoded.image_key(s)) in share}
    lacking = dict(encoded.missing_images(images.values()))
    faces: dict[str, list[tuple[str, Sample]]] = {}
    for key, sample in encoded.missing_faces(needs.faces()):
        if (image_key := encoded.image_key(sample)) in share:
            faces.setdefault(image_key, []).append((key, sample))
    work = sorted({*lacking, *faces})
    if not work:
        return
    autoencoder, encoder, recogniser = (
        build(config.model[name]).to(device) for name in ("autoencoder", "encoder", "recogniser")
    )
    done = len(images) - len(work)
    with progress("Encoding images", len(images), done=done) as advance:
        for keys in (work[i : i + BATCH] for i in range(0, len(work), BATCH)):
            samples = [images[key] for key in keys]
            latents, decoded = reconstruct(samples, sizes, autoencoder, device)
            seen = [(row, *face) for row, key in enumerate(keys) for face in faces.get(key, ())]
            if seen:
                rows, names, owners = map(list, zip(*seen, strict=True))
                found = encode_faces(owners, sizes, decoded[rows], recogniser, encoded.locator)
                _write(cache, names, found)
            rows = [row for row, key in enumerate(keys) if key in lacking]
            if rows:
                entries = encode_images(latents[rows], decoded[rows], encoder)
                _write(cache, [keys[row] for row in rows], entries)
            advance(len(keys))


def _write(cache: TensorCache, keys: Sequence[str], entries: Sequence[Entry]) -> None:
    for key, entry in zip(keys, entries, strict=True):
        cache.write(key, entry)


def encode_sources(config: DictConfig, encoded: EncodedSet, needs: Needs, share: Share) -> None:
    """Encode this process's share of the sources, unless their images say it all."""
    own = [sample for sample in needs.prompts() if encoded.source_key(sample) in share]
    missing = encoded.missing_sources(own)
    if not missing:
        return
    device = _device()
    autoencoder = build(config.model.autoencoder).to(device)
    with progress("Encoding sources", len(own), done=len(own) - len(missing)) as advance:
        for key, sample in missing:
            entry = encode_source(sample, encoded.sizes, autoencoder, device)
            encoded.cache.write(key, entry)
            advance(1)


def encode_words(config: DictConfig, encoded: EncodedSet, needs: Needs, share: Share) -> None:
    """Encode this process's share of the prompts."""
    own = [sample for sample in needs.prompts() if encoded.prompt_key(sample) in share]
    missing = encoded.missing_prompts(own)
    if not missing:
        return
    text_encoder = build(config.model.text_encoder).to(_device())
    with progress("Encoding prompts", len(own), done=len(own) - len(missing)) as advance:
        for key, sample in missing:
            encoded.cache.write(key, encode_prompts(sample, encoded.sizes, text_encoder))
            advance(1)


def wait_for_others(cache: TensorCache, keys: Iterable[str]) -> None:
    """Wait until every process has written its share.

    Raises:
        UserError: If nothing new appears for `PATIENCE` seconds.
    """
    missing = [key for key in keys if key not in cache]
    if not missing:
        return
    with progress("Waiting for the other processes", len(missing)) as advance:
        changed = time.monotonic()
        while missing:
            if time.monotonic() - changed > PATIENCE:
                raise UserError(
                    f"{len(missing)} entries of other processes have not come for "
                    f"{PATIENCE / 60:.0f} minutes: run the same command again."
                )
            time.sleep(0.2)
            left = [key for key in missing if key not in cache]
            if len(left) < len(missing):
                changed = time.monotonic()
            advance(len(missing) - len(left))
            missing = left


def refuse_faceless(config: DictConfig, encoded: EncodedSet, needs: Needs) -> None:
    """Stop where a face that is compared was not found, or count it with `data.on_error=skip`.

    A source is only skipped as a target: validation cannot do without the face of its sources.

    Raises:
        UserError: If there is one that cannot be skipped.
    """
    faceless = encoded.faceless(needs.faces())
    if not faceless:
        return
    if config.data.on_error != "skip" or encoded.faceless(needs.held_out):
        names = ", ".join(str(sample.image) for sample in faceless[:3])
        more = f" and {len(faceless) - 3} more" if len(faceless) > 3 else ""
        raise UserError(
            f"No face found in {len(faceless)} of {len(needs.faces())} images: {names}{more}. Add "
            "'landmarks' or 'box' to their annotations, remove their lines, or choose another "
            "model.detector."
        )
    faults = [BadItemError("face", f"No face found in {s.image}.") for s in faceless]
    _say(summary(faults) or "")


def _device() -> torch.device:
    """Return this process's GPU, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", own_place().local_rank)


def _remember(encoded: EncodedSet) -> None:
    """Keep what is known about files for the next start."""
    encoded.cache.remember()
    if isinstance(encoded.digest, FileMemory):
        encoded.digest.save()


def _say(text: str) -> None:
    Console(soft_wrap=True).print(text, markup=False, highlight=False)


def status(config: DictConfig) -> None:
    """Show what of a configuration is cached."""
    encoded = encoded_set(config)
    needs = Needs.of(encoded, *read_data(config).needed)
    stock = take_stock(encoded.cache, manifest_of(config, needs.keys(encoded)))
    _remember(encoded)
    Console().print(stock.table(encoded.cache))


def prune_cache(config: DictConfig) -> None:
    """Remove what no configuration uses."""
    count, num_bytes = prune(TensorCache(config.paths.cache), dry_run=config.dry_run)
    did = "Would remove" if config.dry_run else "Removed"
    _say(f"{did} {count} entries, {readable(num_bytes)}, that no configuration uses.")


@command("prepare", verbs={"status": status, "prune": prune_cache})
def main(config: DictConfig) -> None:
    """Prepare both sets of a configuration."""
    quiet()
    share = own_share()
    # The first process draws faces or takes frames of videos, the others find them.
    with TensorCache(config.paths.cache).in_turn() if share.world > 1 else nullcontext():
        faces = read_data(config)
    prepare(config, *faces.needed, share=share, wait=False)


if __name__ == "__main__":
    main()
