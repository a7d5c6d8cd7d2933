"""Build the parts of a run from its config. A variant is another config, never a branch here."""

import importlib.resources
import importlib.util
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from pixelsmile.data.cache import TensorCache, folder_fingerprint
from pixelsmile.data.datamodule import TripletDataModule
from pixelsmile.data.encoded import EncodedSet, Sizes
from pixelsmile.data.ffe import read_ffe
from pixelsmile.data.samples import Sample
from pixelsmile.errors import UserError
from pixelsmile.models.sampler import sigma_schedule
from pixelsmile.module import PixelSmile

OmegaConf.register_new_resolver(
    "package_folder", lambda name: str(importlib.resources.files(name)), replace=True
)


def read_samples(config: DictConfig) -> tuple[list[Sample], list[Sample]]:
    """Return the training and validation samples, drawing synthetic faces where asked to."""
    files = instantiate(config.data.files)
    return tuple(  # pyright: ignore[reportReturnType]
        read_ffe(*_as_list(files[split]), domain=config.domain.name) for split in ("train", "val")
    )


def _as_list(value: Any) -> list[Any]:
    return list(value) if OmegaConf.is_list(value) or isinstance(value, list) else [value]


def encoded_set(config: DictConfig) -> EncodedSet:
    """Return the reader of encoded samples; its keys cover data, sizes and weights."""
    model = config.model
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
        sizes=Sizes(image=model.sizes.image, text=model.sizes.text),
        image_fingerprint=repr(image_parts),
        prompt_fingerprint=repr(prompt_parts),
    )


def _settings(node: DictConfig) -> tuple[Any, ...]:
    """Return a part's settings and the fingerprint of its weights."""
    settings = OmegaConf.to_container(node, resolve=True)
    assert isinstance(settings, dict)
    place = settings.pop("folder", None) or settings.pop("file")
    return (folder_fingerprint(place), sorted(settings.items(), key=str))


def build_datamodule(
    config: DictConfig, train: list[Sample], val: list[Sample], encoded: EncodedSet
) -> TripletDataModule:
    """Return the datamodule of prepared samples."""
    pairs = config.data.pairs
    return TripletDataModule(
        train,
        val,
        encoded,
        pairs=None if pairs is None else [tuple(pair) for pair in pairs],
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
        optimizer=_optimizer(model.optimizer),
        scheduler=instantiate(model.scheduler),
        sigmas=sigma_schedule(noise_levels, model.num_steps, tokens),
        strengths=tuple(model.strengths),
        seed=config.seed,
    )


def _optimizer(node: DictConfig) -> Any:
    """Return the optimizer's constructor, or say which package it lives in."""
    try:
        return instantiate(node)
    except InstantiationException as error:
        package = node._target_.partition(".")[0]
        if importlib.util.find_spec(package) is not None:
            raise
        raise UserError(
            f"The optimizer {node._target_} needs {package}, which is not installed: "
            f"pip install {package}, or leave out optimizer=."
        ) from error
