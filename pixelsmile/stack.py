"""Build the parts of a run from its config. A variant is another config, never a branch here."""

import importlib.resources
import importlib.util
import logging
import warnings
from pathlib import Path
from typing import Any

import diffusers
import transformers
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from pixelsmile.building import build
from pixelsmile.data.cache import TensorCache, folder_fingerprint
from pixelsmile.data.crops import Resize
from pixelsmile.data.datamodule import TripletDataModule
from pixelsmile.data.encoded import EncodedSet
from pixelsmile.data.images import Sizes
from pixelsmile.data.memory import FileMemory, file_digest
from pixelsmile.data.splits import Faces
from pixelsmile.errors import UserError
from pixelsmile.models.sampler import sigma_schedule
from pixelsmile.module import PixelSmile
from pixelsmile.needed import need_all, weights_given
from pixelsmile.ranks import own_place

OmegaConf.register_new_resolver(
    "package_folder", lambda name: str(importlib.resources.files(name)), replace=True
)


def quiet() -> None:
    """Keep the libraries' notes about themselves out of the user's terminal."""
    warnings.filterwarnings("ignore", module="(lightning|torch|diffusers|transformers)")
    warnings.filterwarnings("ignore", message=".*(num_workers|pin_memory|lr_scheduler).*")
    logging.getLogger().setLevel(logging.WARNING)  # open_clip speaks through the root logger
    for name in ("lightning.pytorch", "lightning.fabric", "diffusers", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.disable_progress_bar()


def encoded_set(config: DictConfig) -> EncodedSet:
    """Return the reader of encoded samples; its keys cover data, sizes and weights."""
    model, cache = config.model, TensorCache(config.paths.cache)
    autoencoder = _settings(model.autoencoder)
    text = _settings(model.text_encoder, "text_encoder", "processor")
    return EncodedSet(
        cache=cache,
        sizes=Sizes(
            image=model.sizes.image,
            text=model.sizes.text,
            condition=model.sizes.condition,
            resize=Resize(config.data.resize, config.data.vertical_bias),
        ),
        image_fingerprint=repr((autoencoder, _settings(model.encoder))),
        face_fingerprint=repr((autoencoder, _settings(model.recogniser))),
        prompt_fingerprint=repr(text),
        locator=build(model.detector),
        faces_required=bool(config.loss.identity_weight),
        digest=FileMemory(file_digest, cache.folder / "digests.json"),
    )


def _settings(node: DictConfig, *subfolders: str) -> tuple[Any, ...]:
    """Return a part's settings and the fingerprint of its weights, which may have moved."""
    with weights_given():
        settings = OmegaConf.to_container(node, resolve=True)
    assert isinstance(settings, dict)
    place = Path(settings.pop("folder", None) or settings.pop("file"))
    weights = [folder_fingerprint(place / name) for name in subfolders or ("",)]
    return (weights, sorted(settings.items(), key=str))


def build_datamodule(config: DictConfig, faces: Faces, encoded: EncodedSet) -> TripletDataModule:
    """Return the datamodule of prepared samples; `prepare` has counted those without a face.

    Raises:
        UserError: If every triplet has a target without a face.
    """
    targets = [target for triplet in faces.triplets for target in triplet[1:]]
    faceless = set(encoded.faceless(targets)) if encoded.faces_required else set()
    triplets = [triplet for triplet in faces.triplets if not faceless & set(triplet[1:])]
    if not triplets:
        raise UserError(
            f"No triplet is left: of each of {len(faces.triplets)} a target has no face that the "
            "identity loss could compare. Say loss.identity_weight=null, or add 'landmarks'."
        )
    return TripletDataModule(
        triplets,
        faces.val,
        encoded,
        batch_size=config.data.batch_size,
        val_batch_size=config.data.val_batch_size,
        num_workers=config.data.num_workers,
        seed=config.seed,
        place=own_place(),
    )


def check_parts(config: DictConfig) -> None:
    """Refuse what no module can be built of, before hours of preparation.

    Raises:
        UserError: If weights or a package are missing, or a loss makes no sense.
    """
    need_all(config)
    encoded_set(config)
    build(config.loss.triplet)
    build(config.loss.identity)
    _optimizer(config.model.optimizer)


def build_module(config: DictConfig) -> PixelSmile:
    """Return the module with all its frozen parts.

    Raises:
        UserError: If weights or a package are missing, or a setting of a part makes no sense.
    """
    model, loss = config.model, config.loss
    noise_levels = build(model.noise_levels)
    tokens = (model.sizes.image // 16) ** 2
    return PixelSmile(
        backbone=build(model.backbone),
        autoencoder=build(model.autoencoder).without_encoder().in_parts(**model.decoding),
        encoder=build(model.encoder),
        recogniser=build(model.recogniser),
        scorer=build(model.scorer),
        triplet=build(loss.triplet),
        identity=build(loss.identity),
        triplet_weight=loss.triplet_weight,
        identity_weight=loss.identity_weight,
        optimizer=_optimizer(model.optimizer),
        scheduler=build(model.scheduler),
        sigmas=sigma_schedule(noise_levels, model.num_steps, tokens),
        strengths=tuple(model.strengths),
        seed=config.seed,
    )


def _optimizer(node: DictConfig) -> Any:
    """Return the optimizer's constructor, or say which package it lives in."""
    try:
        return build(node)
    except InstantiationException as error:
        package = node._target_.partition(".")[0]
        if importlib.util.find_spec(package) is not None:
            raise
        raise UserError(
            f"The optimizer {node._target_} needs {package}, which is not installed: "
            f"pip install {package}, or leave out optimizer=."
        ) from error
