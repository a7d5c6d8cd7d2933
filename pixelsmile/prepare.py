"""Encode everything a run reads, once: `python -m pixelsmile.prepare domain=anime`.

Also run by `pixelsmile.train`. What is already in the cache is not encoded again; a run that was
stopped goes on where it was.
"""

from collections.abc import Sequence

from hydra.utils import instantiate
from omegaconf import DictConfig

from pixelsmile.command import command
from pixelsmile.data.encoded import EncodedSet, encode_images, encode_prompts
from pixelsmile.data.samples import Sample, by_identity, neutral_of
from pixelsmile.progress import progress
from pixelsmile.stack import encoded_set, read_samples

_BATCH = 16


def prepare(config: DictConfig, train: Sequence[Sample], val: Sequence[Sample]) -> EncodedSet:
    """Encode what is missing of both sets, and return the reader of all of it.

    Of the validation set only the neutral images are needed: the rest is made by editing.

    Raises:
        UserError: If an image is missing or broken, or an identity has no neutral image.
    """
    encoded = encoded_set(config)
    sources = {
        id(samples): [neutral_of(name, group) for name, group in by_identity(samples).items()]
        for samples in (train, val)
    }
    val_sources = sources[id(val)]
    _encode_images(config, encoded, [*train, *val_sources])
    _encode_prompts(config, encoded, [*sources[id(train)], *val_sources])
    return encoded


def _encode_images(config: DictConfig, encoded: EncodedSet, samples: Sequence[Sample]) -> None:
    missing = encoded.missing_images(samples)
    if not missing:
        return
    sizes = encoded.sizes
    parts = [instantiate(config.model[k]) for k in ("autoencoder", "encoder", "recogniser")]
    done = len(samples) - len(missing)
    with progress("Encoding images", len(samples), done=done) as advance:
        for start in range(0, len(missing), _BATCH):
            keys, batch = zip(*missing[start : start + _BATCH], strict=True)
            for key, entry in zip(
                keys, encode_images(batch, sizes.image, *parts, resize=sizes.resize), strict=True
            ):
                encoded.cache.write(key, entry)
            advance(len(batch))


def _encode_prompts(config: DictConfig, encoded: EncodedSet, sources: Sequence[Sample]) -> None:
    missing = encoded.missing_prompts(sources)
    if not missing:
        return
    text_encoder = instantiate(config.model.text_encoder)
    done = len(sources) - len(missing)
    with progress("Encoding prompts", len(sources), done=done) as advance:
        for key, sample in missing:
            encoded.cache.write(key, encode_prompts(sample, encoded.sizes, text_encoder))
            advance(1)


@command("train")
def main(config: DictConfig) -> None:
    """Prepare both sets of a configuration."""
    prepare(config, *read_samples(config))


if __name__ == "__main__":
    main()
