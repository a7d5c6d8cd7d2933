"""Build the parts of a run from its config. A variant is another config, never a branch here."""

import importlib.resources
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from pixelsmile.data.cache import TensorCache, folder_fingerprint
from pixelsmile.data.crops import Resize
from pixelsmile.data.datamodule import TripletDataModule
from pixelsmile.data.encoded import EncodedSet
from pixelsmile.data.images import Sizes
from pixelsmile.data.reading import read_data
from pixelsmile.data.samples import Sample
from pixelsmile.data.splits import Faces
from pixelsmile.data.triplets import samples_of
from pixelsmile.errors import UserError
from pixelsmile.models.sampler import sigma_schedule
from pixelsmile.module import PixelSmile

OmegaConf.register_new_resolver(
    "package_folder", lambda name: str(importlib.resources.files(name)), replace=True
)


def read_samples(config: DictConfig) -> tuple[list[Sample], list[Sample]]:
    """Return the samples that a run encodes: those of its triplets, and the held-out ones."""
    faces = read_data(config)
    return samples_of(faces.triplets), faces.val


def encoded_set(config: DictConfig) -> EncodedSet:
    """Return the reader of encoded samples; its keys cover data, sizes and weights."""
    model = config.model
    if model.sizes.condition != model.sizes.image:
        raise UserError(
            f"model.sizes.condition={model.sizes.condition} differs from model.sizes.image="
            f"{model.sizes.image}: sources of another size are not encoded yet, make them equal."
        )
    image_parts = (
        folder_fingerprint(model.autoencoder.folder),
        _settings(model.encoder),
        _settings(model.recogniser),
    )
    prompt_parts = (
        folder_fingerprint(f"{model.folder}/text_encoder"),
        folder_fingerprint(f"{model.folder}/processor"),
        bool(model.text_encoder.stock_positions),
    )
    return EncodedSet(
        cache=TensorCache(config.paths.cache),
        sizes=Sizes(
            image=model.sizes.image,
            text=model.sizes.text,
            condition=model.sizes.condition,
            resize=Resize(config.data.resize, config.data.vertical_bias),
        ),
        image_fingerprint=repr(image_parts),
        prompt_fingerprint=repr(prompt_parts),
    )


def _settings(node: DictConfig) -> tuple[Any, ...]:
    """Return a part's settings and the fingerprint of its weights."""
    settings = OmegaConf.to_container(node, resolve=True)
    assert isinstance(settings, dict)
    place = settings.pop("folder", None) or settings.pop("file")
    return (folder_fingerprint(place), sorted(settings.items(), key=str))


def build_datamodule(config: DictConfig, faces: Faces, encoded: EncodedSet) -> TripletDataModule:
    """Return the datamodule of prepared samples."""
    return TripletDataModule(
        faces.train,
        faces.val,
        encoded,
        triplets=faces.triplets,
        batch_size=config.data.batch_size,
        val_batch_size=config.data.val_batch_size,
        num_workers=config.data.num_workers,
        seed=config.seed,
    )


def build_module(config: DictConfig) -> PixelSmile:
    """Return the module with all its frozen parts."""
    model, loss = config.model, config.loss
    noise_levels = instantiate(model.noise_levels)
    tokens = (model.sizes.image // 16) ** 2
    return PixelSmile(
        backbone=instantiate(model.backbone),
        autoencoder=instantiate(model.autoencoder),
        encoder=instantiate(model.encoder),
        recogniser=instantiate(model.recogniser),
        scorer=instantiate(model.scorer),
        triplet=instantiate(loss.triplet),
        identity=instantiate(loss.identity),
        triplet_weight=loss.triplet_weight,
        identity_weight=loss.identity_weight,
        optimizer=instantiate(model.optimizer),
        scheduler=instantiate(model.scheduler),
        sigmas=sigma_schedule(noise_levels, model.num_steps, tokens),
        strengths=tuple(model.strengths),
        seed=config.seed,
    )
