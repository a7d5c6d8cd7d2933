"""What stock diffusers makes of a LoRA file, found out by letting it load the file.

The transformer has its real structure and no memory (meta tensors), so this takes the memory of
the file alone, at any size of the model.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
from accelerate import init_empty_weights
from diffusers import QwenImageEditPlusPipeline, QwenImageTransformer2DModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from pixelsmile.errors import UserError
from pixelsmile.lora.files import Scan


def empty_transformer(place: str | Path | None) -> QwenImageTransformer2DModel:
    """Return a transformer without memory.

    Args:
        place: Its folder, that of its pipeline, or its `config.json`; None for the sizes of
            Qwen-Image.

    Raises:
        UserError: If there is no config of a Qwen-Image transformer.
    """
    settings = {} if place is None else _settings(Path(place))
    with init_empty_weights():
        try:
            model = QwenImageTransformer2DModel.from_config(settings)
        except (TypeError, ValueError, ZeroDivisionError) as error:
            raise UserError(f"transformer={place}: no transformer has this config: {error}.") from (
                error
            )
    assert isinstance(model, QwenImageTransformer2DModel)
    return model


def _settings(place: Path) -> dict[str, object]:
    tried = [place, place / "config.json", place / "transformer" / "config.json"]
    file = next((path for path in tried if path.is_file()), None)
    if file is None:
        raise UserError(
            f"transformer={place}: no config.json there; give the transformer's folder."
        )
    try:
        settings = json.loads(file.read_text())
        name = settings["_class_name"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(
            f"transformer={file} is no config of a diffusers transformer: give its folder."
        ) from error
    if name != "QwenImageTransformer2DModel":
        raise UserError(f"transformer={file} describes a {name}: give a Qwen-Image transformer.")
    return settings


def linear_shapes(transformer: nn.Module) -> dict[str, tuple[int, int]]:
    """Return the modules that can be adapted, with (out, in)."""
    return {
        name: (module.out_features, module.in_features)
        for name, module in transformer.named_modules()
        if isinstance(module, nn.Linear)
    }


def stock_scales(found: Scan, transformer: QwenImageTransformer2DModel) -> dict[str, float]:
    """Let stock diffusers load a file and return the scale it applies to each module.

    Args:
        found: The file as we read it.
        transformer: From `empty_transformer`; it has the adapter afterwards.

    Returns:
        The modules whose weights arrived. The scale is the factor on the file's own `up @ down`,
        wherever diffusers puts it.

    Raises:
        UserError: If diffusers refuses the file.
    """
    parts = dict.fromkeys(("scheduler", "vae", "text_encoder", "tokenizer", "processor"))
    pipeline = QwenImageEditPlusPipeline(transformer=transformer, **parts)  # pyright: ignore[reportArgumentType]
    try:
        with _quiet(), _arrivals(transformer) as arrived:
            pipeline.load_lora_weights(
                str(found.file.parent),
                weight_name=found.file.name,
                local_files_only=True,
                low_cpu_mem_usage=True,
            )
    except Exception as error:  # whatever it is, the user will meet the same
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"stock diffusers refuses {found.file}: {reason[0]}") from error
    scales = {}
    for module, adapted in transformer.named_modules():
        if isinstance(adapted, LoraLayer) and module in found.parts:
            (name,) = adapted.scaling
            down = arrived.get(f"{module}.lora_A.{name}.weight")
            up = arrived.get(f"{module}.lora_B.{name}.weight")
            file = found.parts[module]
            if down is not None and up is not None and "down" in file and "up" in file:
                gain = _gain(down, file["down"]) * _gain(up, file["up"])
                scales[module] = adapted.scaling[name] * gain
    return scales


@contextmanager
def _arrivals(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Note the tensors that are loaded into a model; without memory it cannot keep them."""
    arrived: dict[str, Tensor] = {}
    load = model.load_state_dict

    def note(state: dict[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        arrived.update(state)
        return load(state, *args, **kwargs)

    model.load_state_dict = note  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield arrived
    finally:
        del model.load_state_dict


def _gain(loaded: Tensor, original: Tensor) -> float:
    norm = original.float().norm()
    return float(loaded.float().norm() / norm) if norm > 0 else 1.0


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' warnings away: the report says it better."""
    level = diffusers.utils.logging.get_verbosity()
    diffusers.utils.logging.set_verbosity(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        diffusers.utils.logging.set_verbosity(level)
