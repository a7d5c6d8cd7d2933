"""Read and write LoRA files (safetensors)."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pixelsmile.errors import UserError
from pixelsmile.files import whole_file
from pixelsmile.lora.adapter import Adapter, Layer
from pixelsmile.lora.keys import Part, comfyui_key, diffusers_key, kohya_key, parse_key

WEIGHT_NAME = "pytorch_lora_weights.safetensors"
"""The name that stock diffusers looks for in a folder."""

CONFIG_KEY = "lora_adapter_metadata"
"""Where diffusers keeps peft's settings in a file's metadata, as JSON."""

FACTS_PREFIX = "pixelsmile."

FORMATS: dict[str, Callable[[str, Part], str]] = {
    "diffusers": diffusers_key,
    "comfyui": comfyui_key,
    "kohya": kohya_key,
}


@dataclass
class Scan:
    """Everything in a file, understood or not.

    Args:
        file: Where it was read.
        parts: Down, up and alpha of each module, as far as they are there.
        unmatched: Keys that belong to no module of a Qwen-Image transformer.
        repeated: Keys that say again what another key said.
        config: peft's settings for the transformer, None without metadata.
        facts: The metadata of this package.
    """

    file: Path
    parts: dict[str, dict[Part, Tensor]] = field(default_factory=dict)
    unmatched: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    config: Mapping[str, Any] | None = None
    facts: dict[str, str] = field(default_factory=dict)

    def whole_modules(self) -> list[str]:
        """Return the modules that have both matrices, of shapes that fit each other."""
        return [module for module, parts in self.parts.items() if _is_whole(parts)]

    def halves(self) -> list[str]:
        """Return the modules whose matrices are not both there or do not fit each other."""
        whole = set(self.whole_modules())
        return [module for module in self.parts if module not in whole]

    def layer(self, module: str) -> Layer:
        """Return the adapter of a whole module, with the alpha that the file names for it.

        Raises:
            UserError: If that alpha is no positive number.
        """
        parts = self.parts[module]
        if "alpha" in parts:
            alpha = _alpha(parts["alpha"])
        else:
            alpha = _configured_alpha(self.config, module, parts["down"].shape[0])
        if alpha is not None and not (math.isfinite(alpha) and alpha > 0):
            raise UserError(
                f"{self.file}: alpha of {module} is {alpha}, which is no positive number: give the "
                "scale yourself with scale=, or get the file again."
            )
        return Layer(parts["down"], parts["up"], alpha)


def find_file(path: str | Path) -> Path:
    """Return the LoRA file of a path, which may be the folder it is in.

    Raises:
        UserError: If there is none.
    """
    path = Path(path)
    if path.is_dir():
        if (path / WEIGHT_NAME).is_file():
            return path / WEIGHT_NAME
        found = sorted(path.glob("*.safetensors"))
        if len(found) == 1:
            return found[0]
        raise UserError(
            f"{path} holds {len(found)} .safetensors files and no {WEIGHT_NAME}: name the file."
        )
    if not path.is_file():
        raise UserError(f"No LoRA file at {path}: give the path of a .safetensors file.")
    return path


def scan(path: str | Path) -> Scan:
    """Read a file, without judging it.

    Raises:
        UserError: If it is missing or no whole safetensors file.
    """
    file = find_file(path)
    tensors, metadata = _read(file)
    found = Scan(file, config=_config(file, metadata))
    found.facts = {k: v for k, v in metadata.items() if k.startswith(FACTS_PREFIX)}
    for name, tensor in tensors.items():
        key = parse_key(name)
        if key is None:
            found.unmatched.append(name)
        elif key.part in (parts := found.parts.setdefault(key.module, {})):
            found.repeated.append(name)
        else:
            parts[key.part] = tensor
    return found


def read_adapter(path: str | Path, *, scale: float | None = None) -> Adapter:
    """Read a LoRA in any dialect or mixture of them; every tensor of the file is in the result.

    Args:
        path: A safetensors file, or the folder with `pytorch_lora_weights.safetensors`.
        scale: What to multiply `up @ down` by. None takes what the file says; a file without alpha
            then counts as scale 1, as in every loader.

    Raises:
        UserError: If the file is damaged or has tensors that cannot be used.
    """
    found = scan(path)
    complaint = _complaint(found)
    if complaint:
        raise UserError(
            f"{found.file}: {complaint}. `python -m pixelsmile.lora verify file={found.file}` "
            "lists what is in it."
        )
    if scale is not None:
        if not (math.isfinite(scale) and scale > 0):
            raise UserError(f"scale={scale}: give a positive number, such as scale=2.0.")
        for parts in found.parts.values():
            parts["alpha"] = torch.tensor(float(scale) * parts["down"].shape[0])
    layers = {module: found.layer(module) for module in sorted(found.parts)}
    return Adapter(layers, found.facts)


def write_adapter(adapter: Adapter, file: str | Path, dialect: str = "diffusers") -> Path:
    """Write a LoRA; the file is there whole or not at all.

    diffusers reads alpha from metadata; the other two read a tensor per module and get no such
    metadata, because stock diffusers would apply both.

    Args:
        adapter: What to write.
        file: With the suffix `.safetensors`; anything else is a folder for `WEIGHT_NAME`.
        dialect: One of `FORMATS`.

    Returns:
        The path of the file.
    """
    if dialect not in FORMATS:
        raise UserError(f"format={dialect}: choose one of {', '.join(FORMATS)}.")
    path = Path(file)
    if path.suffix != ".safetensors":
        path = path / WEIGHT_NAME
    name = FORMATS[dialect]
    tensors: dict[str, Tensor] = {}
    for module, layer in adapter.layers.items():
        tensors[name(module, "down")] = layer.down.detach().cpu().contiguous()
        tensors[name(module, "up")] = layer.up.detach().cpu().contiguous()
        if dialect != "diffusers" and layer.alpha is not None:
            tensors[name(module, "alpha")] = torch.tensor(layer.alpha, dtype=torch.float32)
    metadata = {"format": "pt", **adapter.facts}
    config = adapter.lora_config()
    if dialect == "diffusers" and config is not None:
        named = {f"transformer.{key}": value for key, value in config.items()}
        metadata[CONFIG_KEY] = json.dumps(named, indent=2, sort_keys=True)
    with whole_file(path) as stream:
        stream.write(_ordered(save(tensors, metadata=metadata)))
    return path


def _ordered(data: bytes) -> bytes:
    """Sort the metadata of a safetensors file, which come in another order in every process.

    So the same adapter is the same file, byte for byte.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[start:]


def _read(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(file, "pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            return tensors, opened.metadata() or {}
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError) as error:
        raise UserError(
            f"{file} is no whole safetensors file ({str(error).splitlines()[0]}): it is truncated "
            "or of another kind; get it again."
        ) from error


def _config(file: Path, metadata: Mapping[str, str]) -> dict[str, Any] | None:
    """Return peft's settings for the transformer from a file's metadata."""
    text = metadata.get(CONFIG_KEY)
    if text is None:
        return None
    try:
        settings = json.loads(text)
        named = {key.removeprefix("transformer."): value for key, value in settings.items()}
        rank, alpha = int(named["r"]), float(named["lora_alpha"])
        patterns = [named.get(key) or {} for key in ("rank_pattern", "alpha_pattern")]
        usable = rank > 0 and all(isinstance(pattern, dict) for pattern in patterns)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{file}: the metadata {CONFIG_KEY!r} is no JSON with transformer.r and "
            f"transformer.lora_alpha ({type(error).__name__}): get the file again."
        ) from error
    if not usable or math.isnan(alpha):
        raise UserError(f"{file}: the metadata {CONFIG_KEY!r} has r={rank}, lora_alpha={alpha}.")
    return named


def _configured_alpha(config: Mapping[str, Any] | None, module: str, rank: int) -> float | None:
    """Return a module's alpha from peft's settings, such that alpha / rank is the scale."""
    if config is None:
        return None
    alpha = float(_by_pattern(config.get("alpha_pattern"), module, config["lora_alpha"]))
    configured = int(_by_pattern(config.get("rank_pattern"), module, config["r"]))
    divisor = math.sqrt(configured) if config.get("use_rslora") else configured
    return alpha if divisor == rank else alpha / divisor * rank


def _by_pattern(pattern: Mapping[str, Any] | None, module: str, otherwise: Any) -> Any:
    """Look a module up as peft does: a pattern is a regular expression for the name's end."""
    for expression, value in (pattern or {}).items():
        if re.match(rf"(.*\.)?({expression})$", module):
            return value
    return otherwise


def _alpha(tensor: Tensor) -> float:
    return float(tensor) if tensor.numel() == 1 else math.nan


def _is_whole(parts: Mapping[Part, Tensor]) -> bool:
    down, up = parts.get("down"), parts.get("up")
    if down is None or up is None or down.dim() != 2 or up.dim() != 2:
        return False
    return down.shape[0] == up.shape[1] > 0 and down.is_floating_point() and up.is_floating_point()


def _complaint(found: Scan) -> str | None:
    """Return what keeps a file from being read whole."""
    if not found.parts:
        return "no tensor in it is a LoRA of a Qwen-Image transformer"
    for keys, what in (
        (found.unmatched, "tensors that belong to no module of a Qwen-Image transformer"),
        (found.repeated, "tensors that repeat another"),
        (found.halves(), "modules without two matrices that fit each other"),
    ):
        if keys:
            return f"it has {len(keys)} {what}, e.g. {keys[0]!r}"
    return None
