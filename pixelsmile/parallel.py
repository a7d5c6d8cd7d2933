"""Spread the backbone over processes with FSDP2. No other module knows about it.

Each block of the frozen base is one unit, with the adapters inside it: gathered when the block
runs, in the data type it computes in, and let go afterwards. Adapters are float32 at rest and in
the sums of gradients. Everything that leaves the processes, checkpoints and LoRA files, is gathered
first and looks as if one process had made it; so a run goes on with any number of them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.utilities.optimizer import _optimizers_to_device
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.strategies.strategy import Strategy
from lightning.pytorch.trainer.states import TrainerFn
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
)
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset
from torch.optim import Optimizer
from torch.utils._pytree import tree_map

from pixelsmile.errors import UserError
from pixelsmile.models.backbone import Backbone
from pixelsmile.ranks import from_first

# ---- tensors that may be spread -------------------------------------------------------------


def whole(value: Any) -> Any:
    """Return a tensor in one piece, on the CPU if it was spread; anything else as it is.

    Every process has to call this for a tensor that is spread.
    """
    return value.full_tensor().detach().cpu() if isinstance(value, DTensor) else value


def spread_like(value: Tensor, reference: Tensor) -> Tensor:
    """Return a whole tensor as `reference` is: this process's part of it, or a copy on its device.

    Nothing is sent: every process has the whole.
    """
    value = value.detach()
    if not isinstance(reference, DTensor):
        return value.to(reference.device, copy=True)
    local = reference.to_local()
    part = value[own_rows(reference)].to(local.device, copy=True)
    return DTensor.from_local(
        part,
        reference.device_mesh,
        reference.placements,
        run_check=False,
        shape=reference.shape,
        stride=reference.stride(),
    )


def own_rows(tensor: DTensor) -> slice:
    """Return which rows of a tensor that is spread along its first dimension are here."""
    shape, offset = compute_local_shape_and_global_offset(
        tensor.shape, tensor.device_mesh, tensor.placements
    )
    return slice(offset[0], offset[0] + shape[0])


def norm_of(gradients: Sequence[Tensor]) -> Tensor:
    """Return the norm, (), of all gradients together, those of other processes included."""
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def check_optimizer(config: DictConfig) -> None:
    """Refuse an optimizer that cannot work on a backbone that is spread.

    The 8-bit optimizers of bitsandbytes hand their kernels the whole of a parameter, of which a
    process has a part: an illegal memory access on the GPU (bitsandbytes issue 1633).

    Raises:
        UserError: If the configuration has one with `trainer=fsdp`.
    """
    optimizer = str(config.model.optimizer.get("_target_"))
    strategy = config.trainer.get("strategy") or {}
    spread_out = strategy.get("_target_") == f"{__name__}.{ShardedStrategy.__name__}"
    if spread_out and optimizer.startswith("bitsandbytes."):
        raise UserError(
            f"model.optimizer is {optimizer}, which cannot work on weights that trainer=fsdp "
            "spreads: leave out optimizer=adamw_8bit, as fsdp spreads the optimizer's state too, "
            "or take trainer=ddp."
        )


# ---- the backbone ---------------------------------------------------------------------------


def shard(
    backbone: Backbone,
    mesh: DeviceMesh,
    *,
    param_dtype: torch.dtype,
    device: torch.device,
    cpu_offload: bool = False,
) -> None:
    """Spread a backbone that has no weights yet over a mesh, and fill it; in place, once.

    Args:
        backbone: As `Backbone.without_weights` makes it.
        mesh: Of one dimension, over all processes.
        param_dtype: That blocks compute in.
        device: Where weights are at rest.
        cpu_offload: Keep them in the memory of the host between uses.
    """
    if isinstance(backbone.transformer, FSDPModule):
        return  # validation and fitting set up the same module
    spread(backbone, mesh, param_dtype=param_dtype, cpu_offload=cpu_offload)
    backbone.transformer.to_empty(device=torch.device("cpu") if cpu_offload else device)
    fill(backbone)


def spread(
    backbone: Backbone, mesh: DeviceMesh, *, param_dtype: torch.dtype, cpu_offload: bool = False
) -> None:
    """Cut a backbone's parameters into one part per process of a mesh; in place, see `shard`."""
    transformer = backbone.transformer
    pinned = mesh.device_type == "cuda"
    offload = CPUOffloadPolicy(pin_memory=pinned) if cpu_offload else OffloadPolicy()
    precision = MixedPrecisionPolicy(param_dtype=param_dtype, reduce_dtype=torch.float32)
    for block in transformer.transformer_blocks:
        fully_shard(block, mesh=mesh, mp_policy=precision, offload_policy=offload)
    # Only what leaves the model is float32: between blocks it stays as it is.
    outer = MixedPrecisionPolicy(
        param_dtype=param_dtype, reduce_dtype=torch.float32, output_dtype=torch.float32
    )
    fully_shard(transformer, mesh=mesh, mp_policy=outer, offload_policy=offload)


@torch.no_grad()
def fill(backbone: Backbone) -> None:
    """Write the first weights into a backbone that is spread; every process reads its own rows."""
    for name, parameter in backbone.transformer.named_parameters():
        assert isinstance(parameter, DTensor)
        rows = own_rows(parameter)
        local = parameter.to_local()
        if local.numel():
            local.copy_(backbone.initial(name, parameter.shape, rows))


def save_adapter(backbone: Backbone, folder: Path, facts: Mapping[str, str]) -> None:
    """Write a backbone's adapter as a LoRA file; all processes take part, and one writes."""
    state = {name: whole(value) for name, value in backbone.adapter_state().items()}
    from_first(lambda: backbone.save_adapter(folder, facts, state) and None)


# ---- Lightning ------------------------------------------------------------------------------


class ShardedStrategy(ModelParallelStrategy):
    """Train with the backbone spread over all processes and the rest of the module in each.

    A checkpoint is what one process would write: one file with adapter and optimizer, that goes on
    with any number of processes and any strategy.

    Args:
        param_dtype: That blocks compute in, by name.
        cpu_offload: Keep the backbone's weights, gradients and optimizer state in host memory.
    """

    def __init__(self, *, param_dtype: str = "float32", cpu_offload: bool = False) -> None:
        super().__init__(save_distributed_checkpoint=False)
        self.param_dtype = getattr(torch, param_dtype)
        self.cpu_offload = cpu_offload

    def setup_environment(self) -> None:
        """Make one mesh of all processes."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        self._tensor_parallel_size = 1
        super().setup_environment()

    def setup(self, trainer: Trainer) -> None:
        """Spread the backbone, move the rest to the device, and make the optimizer."""
        assert self.accelerator is not None
        self.accelerator.setup(trainer)
        shard(
            self._backbone,
            self.device_mesh["data_parallel"],
            param_dtype=self.param_dtype,
            device=self.root_device,
            cpu_offload=self.cpu_offload,
        )
        self.model_to_device()
        self.barrier()
        fitting = trainer.state.fn == TrainerFn.FITTING
        if fitting:
            self.setup_optimizers(trainer)
        self.setup_precision_plugin()
        if fitting and not self.cpu_offload:
            _optimizers_to_device(self.optimizers, self.root_device)

    def model_to_device(self) -> None:
        """Move the module, but not a backbone that stays in host memory."""
        if not self.cpu_offload:
            super().model_to_device()
            return
        module = self.lightning_module
        assert module is not None
        for child in module.children():
            if child is not self._backbone:
                child.to(self.root_device)
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(self.root_device))
        module._device = self.root_device

    @property
    def _backbone(self) -> Backbone:
        backbone = getattr(self.lightning_module, "backbone", None)
        assert isinstance(backbone, Backbone)
        return backbone

    # ---- checkpoints ----

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Let Lightning hand the optimizer's state to `load_optimizer_state_dict`."""
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return what the module keeps, gathered."""
        assert self.lightning_module is not None
        return {name: whole(value) for name, value in self.lightning_module.state_dict().items()}

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return the optimizer's state as one process would have it, gathered."""
        return tree_map(whole, Strategy.optimizer_state(self, optimizer))

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: _PATH, storage_options: Any | None = None
    ) -> None:
        """Write one file, in the first process."""
        Strategy.save_checkpoint(self, checkpoint, filepath, storage_options)

    def load_checkpoint(
        self, checkpoint_path: _PATH, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read the file, in every process."""
        return Strategy.load_checkpoint(self, checkpoint_path, weights_only=weights_only)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Give the module its part of a checkpoint's weights, which it checks."""
        module = self.lightning_module
        assert module is not None
        own = module.state_dict()
        state = {
            name: spread_like(value, own[name])
            if name in own and value.shape == own[name].shape
            else value
            for name, value in checkpoint["state_dict"].items()
        }
        module.load_state_dict(state, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Give the optimizers their part of a checkpoint's state."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            entries = {
                number: {
                    name: _spread_entry(value, parameters[number]) for name, value in entry.items()
                }
                for number, entry in state["state"].items()
            }
            optimizer.load_state_dict({**state, "state": entries})


def _spread_entry(value: Any, parameter: nn.Parameter) -> Any:
    """Spread what the optimizer keeps of each weight; counters and the like stay whole."""
    if isinstance(value, Tensor) and value.shape == parameter.shape:
        return spread_like(value, parameter)
    return value
