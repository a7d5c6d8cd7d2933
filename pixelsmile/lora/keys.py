"""Names of LoRA tensors in the dialects of diffusers, ComfyUI and kohya.

A key is a prefix, the module it adapts, and the part of the adapter. The dialects differ in all
three; `parse_key` understands any mixture, because files in the wild are mixtures.

| dialect | prefix | module | parts |
|---|---|---|---|
| diffusers | `transformer.` | dotted | `.lora_A.weight`, `.lora_B.weight` |
| ComfyUI | `diffusion_model.` | dotted | `.lora_down.weight`, `.lora_up.weight`, `.alpha` |
| kohya | `lora_unet_` | underscores | `.lora_down.weight`, `.lora_up.weight`, `.alpha` |

ComfyUI reads every prefix below for Qwen-Image (`comfy/lora.py`, `model_lora_keys_unet`); kohya's
musubi-tuner writes the flat names (`networks/lora_qwen_image.py`).
"""

import re
from typing import Literal, NamedTuple

Part = Literal["down", "up", "alpha"]

BLOCK_MODULES = (
    "attn.to_q",
    "attn.to_k",
    "attn.to_v",
    "attn.add_q_proj",
    "attn.add_k_proj",
    "attn.add_v_proj",
    "attn.to_out.0",
    "attn.to_add_out",
    "img_mlp.net.0.proj",
    "img_mlp.net.2",
    "txt_mlp.net.0.proj",
    "txt_mlp.net.2",
    "img_mod.1",
    "txt_mod.1",
)
"""The linear modules of one block of `QwenImageTransformer2DModel`."""

TOP_MODULES = (
    "img_in",
    "txt_in",
    "time_text_embed.timestep_embedder.linear_1",
    "time_text_embed.timestep_embedder.linear_2",
    "norm_out.linear",
    "proj_out",
)
"""Its linear modules outside of the blocks."""

_DOTTED_PREFIXES = (
    "base_model.model.",
    "model.diffusion_model.",
    "diffusion_model.",
    "transformer.",
)
_FLAT_PREFIXES = ("lora_unet_", "lora_transformer_", "lycoris_")

_PART = re.compile(
    r"""(?P<module>.+?)
    (?: \.lora_(?P<peft>[AB])(?:\.(?!weight$)[^.]+)?(?:\.weight)?   # peft, with or without a name
      | [._]lora[._](?P<side>down|up)\.weight                       # kohya, and old diffusers
      | \.lora_linear_layer\.(?P<linear>down|up)\.weight
      | (?P<alpha>\.alpha)
    )""",
    re.VERBOSE,
)
_BLOCK = re.compile(r"transformer_blocks[._](?P<number>\d+)[._](?P<rest>.+)")
_FLAT_BLOCK_MODULES = {name.replace(".", "_"): name for name in BLOCK_MODULES}
_FLAT_TOP_MODULES = {name.replace(".", "_"): name for name in TOP_MODULES}


class Key(NamedTuple):
    """What a tensor is: the adapted module, under its dotted name, and the part of the adapter."""

    module: str
    part: Part


def parse_key(key: str) -> Key | None:
    """Return what a tensor's name says, or None if it is no LoRA of a Qwen-Image transformer.

    Example:
        >>> parse_key("lora_unet_transformer_blocks_7_attn_to_out_0.lora_up.weight")
        Key(module='transformer_blocks.7.attn.to_out.0', part='up')
        >>> parse_key("transformer.transformer_blocks.7.attn.to_q.lora.down.weight")
        Key(module='transformer_blocks.7.attn.to_q', part='down')
        >>> parse_key("text_model.encoder.layers.0.mlp.fc1.lora_A.weight") is None
        True
    """
    match = _PART.fullmatch(key)
    if match is None:
        return None
    module = _module(match["module"])
    if module is None:
        return None
    if match["alpha"]:
        return Key(module, "alpha")
    side = match["side"] or match["linear"] or {"A": "down", "B": "up"}[match["peft"]]
    return Key(module, side)  # pyright: ignore[reportArgumentType]


def _module(name: str) -> str | None:
    """Return the dotted name of a module, without prefixes, or None for an unknown one."""
    for prefix in _FLAT_PREFIXES:
        if name.startswith(prefix):
            return _from_flat(name.removeprefix(prefix))
    for prefix in _DOTTED_PREFIXES:
        name = name.removeprefix(prefix)
    block = _BLOCK.fullmatch(name)
    known = name in TOP_MODULES if block is None else block["rest"] in BLOCK_MODULES
    return name if known else None


def _from_flat(name: str) -> str | None:
    """Return the dotted name for one whose dots are underscores.

    Underscores are ambiguous (`to_q`, `img_mlp`), hence the lists of names above.
    """
    block = _BLOCK.fullmatch(name)
    if block is None:
        return _FLAT_TOP_MODULES.get(name)
    rest = _FLAT_BLOCK_MODULES.get(block["rest"])
    return None if rest is None else f"transformer_blocks.{block['number']}.{rest}"


def module_type(module: str) -> str:
    """Return a module's name without its block and `attn.`, as LoRA targets are called.

    Example:
        >>> module_type("transformer_blocks.7.attn.to_out.0"), module_type("norm_out.linear")
        ('to_out.0', 'norm_out.linear')
    """
    block = _BLOCK.fullmatch(module)
    return module if block is None else block["rest"].removeprefix("attn.")


def block_number(module: str) -> int | None:
    """Return the number of the block that a module is in, None outside of the blocks."""
    block = _BLOCK.fullmatch(module)
    return None if block is None else int(block["number"])


def diffusers_key(module: str, part: Part) -> str:
    """Return the name that stock diffusers saves; alpha is in the metadata there."""
    return f"transformer.{module}.lora_{'A' if part == 'down' else 'B'}.weight"


def comfyui_key(module: str, part: Part) -> str:
    """Return the name under ComfyUI's own prefix."""
    return f"diffusion_model.{module}{_SUFFIX[part]}"


def kohya_key(module: str, part: Part) -> str:
    """Return the flat name that kohya's trainers write."""
    return f"lora_unet_{module.replace('.', '_')}{_SUFFIX[part]}"


_SUFFIX = {"down": ".lora_down.weight", "up": ".lora_up.weight", "alpha": ".alpha"}
