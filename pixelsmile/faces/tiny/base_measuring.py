"""Measure the base as a run measures it before training: edits of reserved people, scored."""

from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from pixelsmile.callbacks import StepBar
from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.data.reading import read_data
from pixelsmile.prepare import prepare
from pixelsmile.scoring import Measured
from pixelsmile.stack import build_datamodule, build_module
from pixelsmile.train import validate


def measure_base(weights: Path, domain: str, identities: int, folder: Path) -> dict[str, Measured]:
    """Edit reserved people with the base alone and return every metric of FFE-Bench.

    Args:
        weights: Folder of the tiny weights.
        domain: "human" or "anime".
        identities: How many people, from seed 9000 up.
        folder: Receives the faces and their encodings.
    """
    config = _config(
        f"domain={domain}",
        f"model.weights={weights.absolute()}",
        f"paths.data={folder.absolute() / 'data'}",
        f"paths.cache={folder.absolute() / 'cache'}",
        "data.files.train_identities=1",
        f"data.files.val_identities={identities}",
    )
    faces = read_data(config)
    data = build_datamodule(config, faces, prepare(config, *faces.needed))
    trainer = instantiate(
        config.trainer, logger=False, enable_checkpointing=False, callbacks=[StepBar()]
    )
    return validate(trainer, build_module(config), data)


def _config(*overrides: str) -> DictConfig:
    """Compose the configuration of a training, from within any other command."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return compose("train", list(overrides))
