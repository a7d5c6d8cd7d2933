"""Find and check what an editor is made of."""

from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from pixelsmile.command import CONFIG_FOLDER
from pixelsmile.data.cache import content_key, folder_fingerprint
from pixelsmile.errors import UserError
from pixelsmile.lora import read_adapter
from pixelsmile.lora.files import find_file
from pixelsmile.models.denoiser import Denoiser

DTYPES = ("float32", "bfloat16", "float16")

_AS_MODEL = "qwen_image_edit_2511"
"""The config that a pipeline of one's own follows."""


def choose(group: str, name: str) -> Any:
    """Return what a file of a folder in `configs/editing` describes.

    They are no groups of Hydra, so that `speed=` stays a key, which each call may change.

    Raises:
        UserError: If there is no such file.
    """
    folder = CONFIG_FOLDER / "editing" / group
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in names:
        raise UserError(f"Unknown {group} {name!r}: choose one of {', '.join(names)}.")
    return instantiate(OmegaConf.load(folder / f"{name}.yaml"), _convert_="all")


def model_config(
    model: str | Path, domain: str, weights: str | Path | None, settings: dict[str, Any]
) -> DictConfig:
    """Return the composed config of a model.

    Args:
        model: Name of a file in `configs/model`, or folder of a diffusers pipeline.
        domain: Name of a file in `configs/domain`.
        weights: Folder of the real model's weights.
        settings: Values by their dotted key below `model`; None leaves what the config says.

    Raises:
        UserError: If the model is neither.
    """
    overrides = [f"domain={domain}"]
    names = sorted(path.stem for path in (CONFIG_FOLDER / "model").glob("*.yaml"))
    folder = Path(model)
    if str(model) in names:
        overrides.append(f"model={model}")
    elif (folder / "model_index.json").is_file():
        overrides.append(f"model={_AS_MODEL}")
        settings = {**settings, "folder": str(folder.resolve()), "base": folder.resolve().name}
    else:
        raise UserError(
            f"No model {str(model)!r}: choose one of {', '.join(names)}, or give the folder of a "
            "diffusers pipeline, which holds model_index.json."
        )
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = compose("editor", overrides)
    for key, value in settings.items():
        if value is not None:
            OmegaConf.update(config.model, key, value)
    if weights is not None:
        config.paths.weights = str(weights)
    return config


def load_denoiser(model: DictConfig, lora: str | Path | None, dtype: str | None) -> Denoiser:
    """Return the transformer with its LoRA.

    In float32 the LoRA is added to the weights; in less it stays beside them, so that nothing is
    rounded that a stock loader does not round.
    """
    adapter = None if lora is None else read_adapter(lora)
    denoiser = Denoiser.from_pretrained(
        model.backbone.folder, dtype=dtype or str(model.backbone.dtype)
    )
    if adapter is not None:
        denoiser.add_lora(adapter, fuse=denoiser.dtype == torch.float32)
    return denoiser


def checked_device(device: str | torch.device | None) -> torch.device:
    """Return a device, a GPU where there is one and none was named.

    Raises:
        UserError: If there is no such device.
    """
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(name)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"device={device}: {reason}. Say device=cpu.") from error
    return place


def checked_dtype(dtype: str | torch.dtype | None) -> str | None:
    """Return the name of a dtype.

    Raises:
        UserError: If it is none that networks run in.
    """
    if dtype is None:
        return None
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise UserError(f"dtype={name}: choose one of {', '.join(DTYPES)}.")
    return name


def weights_identity(model: DictConfig, lora: str | Path | None) -> str:
    """Return a hash of every weight that decides about pictures.

    Raises:
        UserError: If one is missing.
    """
    text = Path(model.text_encoder.folder)
    places = [
        model.backbone.folder,
        model.autoencoder.folder,
        text / "text_encoder",
        text / "processor",
        *([] if lora is None else [find_file(lora)]),
    ]
    return content_key(*(folder_fingerprint(place) for place in places))[:16]
