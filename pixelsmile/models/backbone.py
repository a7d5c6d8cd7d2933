"""The MMDiT with the LoRA adapter that is trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from accelerate import init_empty_weights
from diffusers import QwenImageTransformer2DModel
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn

from pixelsmile.errors import UserError
from pixelsmile.lora import Adapter, Layer, read_adapter, write_adapter
from pixelsmile.models.denoiser import Denoiser
from pixelsmile.models.eight_bit import EightBitLinear, quantise, to_eight_bit
from pixelsmile.models.first_weights import TensorFolder, first_adapter, is_adapter, stock_name
from pixelsmile.models.targets import LORA_TARGETS, check_targets, freeze_unreached
from pixelsmile.weights import how_to_get, need_weights, reading


class Backbone(Denoiser):
    """A frozen denoiser and the adapter that learns.

    Args:
        transformer: A stock transformer; it is frozen in place.
        rank: LoRA rank.
        alpha: LoRA alpha; the adapter's output is scaled by alpha / rank.
        dropout: Dropout on the adapter's input.
        targets: Names of the modules that get an adapter.
        gradient_checkpointing: Trade time for activation memory.
        compile: Back end of `torch.compile` for each block; None does not compile.
        eight_bit: Keep the frozen blocks in 8 bits a weight, see `pixelsmile.models.eight_bit`.
        seed: Of the adapter's first weights, which depend on it and on their names alone.
    """

    def __init__(
        self,
        transformer: QwenImageTransformer2DModel,
        *,
        rank: int = 64,
        alpha: int = 128,
        dropout: float = 0.0,
        targets: Sequence[str] = LORA_TARGETS,
        gradient_checkpointing: bool = False,
        compile: str | None = None,
        eight_bit: bool = False,
        seed: int = 0,
    ) -> None:
        if eight_bit:
            to_eight_bit(transformer.transformer_blocks)
        super().__init__(transformer)
        self.seed = seed
        self.source: TensorFolder | None = None  # of a base whose weights are read later
        self.lora_config = LoraConfig(
            r=rank,
            lora_alpha=alpha,
            lora_dropout=dropout,
            target_modules=list(targets),
            init_lora_weights="gaussian",
        )
        transformer.add_adapter(self.lora_config)
        check_targets(transformer, targets)
        freeze_unreached(transformer)
        if compile:
            for block in transformer.transformer_blocks:
                block.compile(fullgraph=True, backend=compile)
        if gradient_checkpointing:
            transformer.enable_gradient_checkpointing()
        with torch.no_grad():
            for name, parameter in transformer.named_parameters():
                if is_adapter(name) and not parameter.is_meta:
                    parameter.data = self.initial(name, parameter.shape).to(parameter.device)

    @classmethod
    def without_weights(
        cls, folder: str | Path, *, dtype: torch.dtype | str = torch.float32, **kwargs: object
    ) -> Self:
        """Build from the `transformer` folder of a diffusers pipeline, and leave the weights there.

        All parameters are on the meta device. Whoever gives them memory fills them by `initial`,
        as `pixelsmile.parallel` does: each process its own rows.

        Args:
            folder: The folder.
            dtype: Of the frozen base, a torch dtype or its name; adapters are float32.
            kwargs: Passed on to `Backbone`.

        Raises:
            UserError: If the folder is missing or damaged; it says how to get it.
        """
        source = TensorFolder(folder)
        backbone = cls.of_shape(source.folder, dtype=dtype, **kwargs)
        backbone.source = source
        parameters = backbone.transformer.named_parameters()
        own = {stock_name(name) for name, _ in parameters if not is_adapter(name)}
        if different := sorted(own ^ source.names):
            raise UserError(
                f"{source.folder} differs from its config.json in {len(different)} tensors, e.g. "
                f"{different[0]!r}: {how_to_get(source.folder)}"
            )
        return backbone

    @classmethod
    def of_shape(
        cls, folder: str | Path, *, dtype: torch.dtype | str = torch.float32, **kwargs: object
    ) -> Self:
        """Build from a folder's `config.json` alone, as `without_weights` does from all of it."""
        path = need_weights(folder)
        with reading(path, "transformer"), init_empty_weights():
            settings = QwenImageTransformer2DModel.load_config(path)
            base: Any = QwenImageTransformer2DModel.from_config(settings)  # pyright: ignore[reportArgumentType]
        with init_empty_weights():
            return cls(base.to(_dtype(dtype)), **kwargs)  # pyright: ignore[reportArgumentType]

    def initial(self, name: str, shape: torch.Size, rows: slice | None = None) -> Tensor:
        """Return some rows of a parameter as they are before training.

        Args:
            name: Of the parameter within the transformer.
            shape: Of the whole parameter.
            rows: Along its first dimension; None for all.
        """
        rows = rows or slice(None)
        if is_adapter(name):
            return first_adapter(name, shape, rows, rank=self.lora_config.r, seed=self.seed)
        assert self.source is not None
        layer = self.transformer.get_submodule(name.rpartition(".")[0])
        if not isinstance(layer, EightBitLinear) or name.endswith(".bias"):
            return self.source.read(stock_name(name), rows, shape)
        full = torch.Size([layer.out_features, layer.in_features])
        numbers, scale = quantise(self.source.read(stock_name(name), rows, full))
        return scale if name.endswith(".scale") else numbers

    def adapter_parameters(self) -> list[nn.Parameter]:
        """Return the adapter's parameters that a loss can reach."""
        return [parameter for parameter in self.transformer.parameters() if parameter.requires_grad]

    def adapter_state(self) -> dict[str, Tensor]:
        """Return the adapter's weights under peft's names, without the base."""
        return get_peft_model_state_dict(self.transformer)

    def load_adapter_state(self, state: dict[str, Tensor]) -> None:
        """Load what `adapter_state` returned.

        Raises:
            ValueError: If a key is missing or unknown.
        """
        expected = set(self.adapter_state())
        if expected != set(state):
            different = sorted(expected ^ set(state))
            raise ValueError(
                f"The adapter differs from this model in {len(different)} keys, e.g. "
                f"{different[0]!r}: use the model and LoRA targets it was trained with."
            )
        set_peft_model_state_dict(self.transformer, state)

    def adapter(
        self, facts: Mapping[str, str] | None = None, state: Mapping[str, Tensor] | None = None
    ) -> Adapter:
        """Return the adapter as a LoRA file holds it.

        Args:
            facts: What the file says about the training, see `pixelsmile.lora.facts`.
            state: The adapter's weights, see `adapter_state`; None takes them as they are here.
        """
        state = self.adapter_state() if state is None else state
        state = {name: value.detach().cpu() for name, value in state.items()}
        modules = sorted(
            name.removesuffix(".lora_A.weight") for name in state if name.endswith("lora_A.weight")
        )
        layers = {
            module: Layer(
                state[f"{module}.lora_A.weight"],
                state[f"{module}.lora_B.weight"],
                self.lora_config.lora_alpha,
            )
            for module in modules
        }
        return Adapter(layers, facts or {})

    def save_adapter(
        self,
        folder: str | Path,
        facts: Mapping[str, str] | None = None,
        state: Mapping[str, Tensor] | None = None,
    ) -> Path:
        """Write `pytorch_lora_weights.safetensors` as diffusers loads it: with rank and alpha.

        Args:
            folder: Is made if missing; the file is there whole or not at all.
            facts: Go into the file's metadata.
            state: The adapter's weights, see `adapter_state`; None takes them as they are here.
        """
        return write_adapter(self.adapter(facts, state), Path(folder))

    def load_adapter(self, file: str | Path, *, scale: float | None = None) -> None:
        """Load a LoRA file of any dialect; the result is what the file means at its scale.

        Args:
            file: Of the same rank and modules as this adapter; its alpha may differ.
            scale: Alpha / rank to apply; None takes what the file says, and 1 if it says nothing.

        Raises:
            UserError: If the file is damaged or made for other modules or another rank.
        """
        adapter = read_adapter(file, scale=scale)
        own = self.lora_config.lora_alpha / self.lora_config.r
        state: dict[str, Tensor] = {}
        for module, layer in adapter.map(lambda x: x.folded(own)).layers.items():
            state[f"{module}.lora_A.weight"] = layer.down
            state[f"{module}.lora_B.weight"] = layer.up
        expected = self.adapter_state()
        wrong = sorted(
            name
            for name in expected.keys() | state.keys()
            if name not in expected
            or name not in state
            or expected[name].shape != state[name].shape
        )
        if wrong:
            raise UserError(
                f"{file} does not fit this model in {len(wrong)} tensors, e.g. {wrong[0]!r}: use "
                f"the base, rank and targets it was trained with (here rank {self.lora_config.r})."
            )
        set_peft_model_state_dict(self.transformer, state)


def _dtype(dtype: torch.dtype | str) -> torch.dtype:
    return getattr(torch, dtype) if isinstance(dtype, str) else dtype
