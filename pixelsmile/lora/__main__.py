"""LoRA files of every dialect.

`python -m pixelsmile.lora export file=... out=... format=diffusers|comfyui|kohya [--bake]`
`python -m pixelsmile.lora verify file=... [transformer=...]`
"""

import sys

import torch
from omegaconf import DictConfig
from rich.console import Console

from pixelsmile.arguments import quoted
from pixelsmile.command import command
from pixelsmile.errors import UserError, friendly
from pixelsmile.lora.files import read_adapter, write_adapter
from pixelsmile.lora.verify import show, verify

_USAGE = (
    "say `python -m pixelsmile.lora export file=<file> out=<file> format=comfyui` or "
    "`python -m pixelsmile.lora verify file=<file> transformer=<folder>`."
)
_PATHS = ("file", "out", "transformer")


@command("lora_file/export")
def export(config: DictConfig) -> None:
    """Write a LoRA file in another dialect, scale or precision."""
    _need(config, "file", "out")
    adapter = read_adapter(config.file, scale=_number(config, "scale"))
    if _flag(config, "bake"):
        adapter = adapter.baked()
    if config.dtype is not None:
        adapter = adapter.to(_dtype(config.dtype))
    path = write_adapter(adapter, config.out, config.format)
    unknown = sum(layer.alpha is None for layer in adapter.layers.values())
    scales = sorted({layer.scale for layer in adapter.layers.values()})
    note = " (the file names no alpha, so loaders apply 1; scale= writes one)" if unknown else ""
    text = f"{len(adapter.layers)} modules at scale {', '.join(f'{x:g}' for x in scales)} in {path}"
    Console(soft_wrap=True).print(text + note, highlight=False, markup=False)


@command("lora_file/verify")
def check(config: DictConfig) -> None:
    """Say what is in a LoRA file and what stock diffusers makes of it; exit code 1 if not fine."""
    _need(config, "file")
    verdict = verify(config.file, config.transformer)
    show(verdict, Console(soft_wrap=True))
    if not verdict.fine:
        raise SystemExit(1)


def _need(config: DictConfig, *keys: str) -> None:
    for key in keys:
        if not config[key]:
            raise UserError(f"{key}= is missing: {_USAGE}")


def _flag(config: DictConfig, key: str) -> bool:
    if type(config[key]) is not bool:
        raise UserError(f"{key}={config[key]}: say {key}=true or {key}=false.")
    return config[key]


def _number(config: DictConfig, key: str) -> float | None:
    value = config[key]
    if value is not None and type(value) not in (int, float):
        raise UserError(f"{key}={value} is no number: say {key}=2.0.")
    return value


def _dtype(name: str) -> torch.dtype:
    choices = ("float32", "bfloat16", "float16")
    if name not in choices:
        raise UserError(f"dtype={name}: choose one of {', '.join(choices)}.")
    return getattr(torch, name)


_COMMANDS = {"export": export, "verify": check}


def override(word: str) -> str:
    """Return a word of the command line as Hydra reads it: paths quoted, flags as keys.

    Example:
        >>> override("file=my loras/a (1).safetensors"), override("--bake")
        ("file='my loras/a (1).safetensors'", 'bake=true')
    """
    if word == "--bake":
        return "bake=true"
    return quoted(word, _PATHS)


@friendly()
def main() -> None:
    """Run the command that the first word names."""
    word = sys.argv[1] if len(sys.argv) > 1 else None
    if word in ("--help", "-h"):
        Console(soft_wrap=True).print(f"LoRA files: {_USAGE}", markup=False, highlight=False)
        return
    if word not in _COMMANDS:
        raise UserError(f"No LoRA command {word!r}: {_USAGE}")
    del sys.argv[1]
    sys.argv[1:] = [override(argument) for argument in sys.argv[1:]]
    _COMMANDS[word]()


if __name__ == "__main__":
    main()
